import math
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xtrace.bridges.csv import MAX_LINE_BYTES, TIME_FORMATS, CsvNode, parse_number
from xtrace.engine.errors import InputError, NodeCrashed
from xtrace.engine.event import NEVER
from xtrace.engine.node import NodeSpec, Setup, Workspace

OPTIONS = {"file": "t.csv", "time_column": "time", "value_columns": ["value"], "send_to": "gateway"}
TEXT = "time,value,unit\n2024-01-01 00:00:00,1,K\n2024-01-01 00:05:00,2.5,K\n2024-01-01 00:10:00,,C\n"


def make(folder: Path, text: str | bytes, **options: Any) -> CsvNode:
    (folder / "t.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    return CsvNode(NodeSpec("meter", "sensor", "csv", {**OPTIONS, **options}), Workspace(folder, logs=folder))


def play(folder: Path, text: str | bytes, **options: Any) -> list[tuple[Any, ...]]:
    """Return all outputs of a node, advanced from one of its times to the next."""
    node = make(folder, text, **options)
    try:
        node.init(Setup("meter", "sensor", 1, {}))
        outputs, reached, until = [], 0, 1
        while reached < NEVER:
            done = node.advance(reached, until, [])
            assert all(reached <= output.time_us < until for output in done.outputs)
            outputs += [tuple(output) for output in done.outputs]
            reached = until if done.next_time_us == until else done.next_time_us
            until = reached + 1
        return outputs
    finally:
        node.shutdown()


def test_rows_become_events(tmp_path: Path) -> None:
    """Times are relative to the first row and sped up; ints stay ints, an empty cell is null."""
    outputs = play(tmp_path, TEXT, speed_up=30000, text_columns=["unit"])
    assert outputs == [
        (0, "gateway", "reading", {"value": 1, "unit": "K"}, ()),
        (10_000, "gateway", "reading", {"value": 2.5, "unit": "K"}, ()),
        (20_000, "gateway", "reading", {"value": None, "unit": "C"}, ()),
    ]


def test_times_do_not_depend_on_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A time without a zone is UTC wherever it is read, also where clocks are set forward that night."""
    monkeypatch.setenv("TZ", "Europe/Berlin")
    text = "time,value\n2024-03-31T01:30:00,1\n2024-03-31T03:30:00,2\n2024-03-31T03:30:00+01:00,3\n"
    assert [output[0] for output in play(tmp_path, text.rpartition("2024")[0])] == [0, 7_200_000_000]


@pytest.mark.parametrize(("format", "second"), [("s", "1.5"), ("ms", "1500"), ("us", "1500000"), ("s", "15e-1")])
def test_epoch_times(tmp_path: Path, format: str, second: str) -> None:
    """Numbers of seconds, milliseconds and microseconds are read exactly."""
    outputs = play(tmp_path, f"time,value\n0,1\n{second},2\n", time_format=format)
    assert [output[0] for output in outputs] == [0, 1_500_000]


def test_byte_order_mark_quotes_and_line_ends(tmp_path: Path) -> None:
    """Files as spreadsheets write them: a byte order mark, CR LF, quotes, spaces in the header, blank lines."""
    text = '\ufefftime;" value "\r\n\r\n"2024-01-01";"7"\r\n'
    assert [output[3] for output in play(tmp_path, text, delimiter=";")] == [{"value": 7}]


@pytest.mark.parametrize(
    ("text", "options", "problem"),
    [
        ("", {}, "the file is empty"),
        ("\n\n", {}, "the file is empty"),
        ("time,value\n", {"time_column": "tme"}, "no column 'tme'; did you mean 'time'?"),
        ("time,a,b\n", {}, "no column 'value'; it has: time, a, b"),
        ("time,value,value\n", {}, "the column 'value' occurs 2 times"),
        ("time,value\n", {"delimiter": "||"}, "the delimiter '||' is not a single character"),
        ("time,value\n", {"speed_up": 0}, "0 is not greater than 0"),
        (b"time,value\xff\n", {}, "line 1: not UTF-8: invalid start byte at byte 10"),
        ("x" * (MAX_LINE_BYTES + 1), {}, "line 1: longer than 1000000 bytes"),
    ],
)
def test_files_that_cannot_be_played(tmp_path: Path, text: str | bytes, options: dict[str, Any], problem: str) -> None:
    """A wrong header or option is found before anything starts."""
    with pytest.raises(InputError) as caught:
        make(tmp_path, text, **options)
    assert problem in str(caught.value)


def test_missing_file(tmp_path: Path) -> None:
    """The file is named as in the scenario, with where it was looked for."""
    with pytest.raises(InputError, match="no such file"):
        CsvNode(NodeSpec("meter", "sensor", "csv", {**OPTIONS, "file": "no.csv"}), Workspace(tmp_path, logs=tmp_path))


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("2024-01-02,abc", "line 3, column 'value': 'abc' is not a number"),
        ("2024-01-02,nan", "line 3, column 'value': 'nan' is not a number"),
        ("2024-01-02,1_000", "line 3, column 'value': '1_000' is not a number"),
        ("2024-01-02,1e999", "is too large"),
        (f"2024-01-02,{2**64}", "does not fit in 64 bits"),
        ("1704153600,1", "line 3, column 'time': '1704153600' is not an ISO 8601 time; for a number of seconds"),
        ("2024-01-02,1,2", "line 3: 3 cells, the header has 2"),
        ('2024-01-02,"1', "line 3: not CSV: unexpected end"),
        ("2023-12-31,1", "line 3: the time is 86400000000 us before that of an earlier row"),
    ],
)
def test_rows_that_cannot_be_played(tmp_path: Path, row: str, problem: str) -> None:
    """The failure names file, line, column and reason."""
    with pytest.raises(NodeCrashed) as caught:
        play(tmp_path, f"time,value\n2024-01-01,1\n{row}\n")
    assert caught.value.reason.startswith("t.csv, line 3")
    assert problem in caught.value.reason


@pytest.mark.parametrize(("disorder", "values"), [("hold", [1, 2, 3, 4]), ("skip", [1, 2, 4])])
def test_clocks_that_were_set_back(tmp_path: Path, disorder: str, values: list[int]) -> None:
    """Rows out of order are held or skipped if so asked, and never silently."""
    text = "time,value\n0,1\n20,2\n15,3\n20,4\n"
    outputs = play(tmp_path, text, time_format="us", disorder=disorder)
    assert values == [output[3]["value"] for output in outputs if output[1] == "gateway"]
    assert [o for o in outputs if o[1] != "gateway"] == [(20, "", "disorder", {"line": 4, "behind_us": 5}, ())]


def test_reads_no_further_than_needed(tmp_path: Path) -> None:
    """A file is read as time goes on: a mistake further down does not matter yet."""
    node = make(tmp_path, "time,value\n0,1\n5,2\n9,wrong\n", time_format="us")
    node.init(Setup("meter", "sensor", 1, {}))
    assert node.advance(0, 5, []).next_time_us == 5
    with pytest.raises(NodeCrashed):
        node.advance(5, 10, [])
    node.shutdown()


@given(st.one_of(st.integers(-(2**63), 2**64 - 1), st.floats(allow_nan=False, allow_infinity=False)))
def test_numbers_survive(number: int | float) -> None:
    """What Python or a JSON library writes is read back as the same number of the same type."""
    back = parse_number(repr(number))
    assert (type(number), number) == (type(back), back)
    if isinstance(back, float) and isinstance(number, float):
        assert math.copysign(1, number) == math.copysign(1, back)


@given(
    st.lists(st.integers(-(10**15), 10**15), min_size=1, max_size=5).map(sorted),
    st.one_of(st.integers(1, 10**6), st.floats(0.001, 1000)),
)
def test_times_are_exact(tmp_path_factory: pytest.TempPathFactory, times: list[int], speed_up: int | float) -> None:
    """The sped-up time is the exact quotient, rounded down to a microsecond."""
    rows = "\n".join(f"{time_us},0" for time_us in times)
    outputs = play(tmp_path_factory.mktemp("t"), f"time,value\n{rows}\n", time_format="us", speed_up=speed_up)
    expected = [math.floor((time_us - times[0]) / Fraction(str(speed_up))) for time_us in times]
    assert expected == [output[0] for output in outputs]


def test_iso_times_with_zones() -> None:
    """A zone in the text counts."""
    assert TIME_FORMATS["iso"]("1970-01-01T01:00:00+01:00") == 0
    assert TIME_FORMATS["iso"]("1970-01-01T00:00:00.000001Z") == 1
