"""`xtrace import` of an exported run: the same run again, or an error."""

from __future__ import annotations

import json
import resource
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from mcap.writer import Writer
from tests.tools.recordings import same_content, write_foreign

from xtrace.capture.reader import Run
from xtrace.capture.verify import verify
from xtrace.engine.errors import InputError
from xtrace.scenarios.loader import load
from xtrace.scenarios.record import record
from xtrace.tools import mcap_file
from xtrace.tools.cli import main
from xtrace.tools.import_place import arriving

ODD = [float("nan"), float("inf"), -0.0, 1e300, b"\x00\xff", 2**64 - 1, -(2**63), "é\x00\u2028", {"$bytes": 1, "": []}]
ECHO = """\
from xtrace.engine.model import Model


class Sayer(Model):
    def on_init(self):
        for number, value in enumerate(self.config["values"]):
            self.schedule(1000 * number, self.send, "hearer", "said", value)
        self.schedule(0, self.observe, "odd", VALUES)


class Hearer(Model):
    def on_event(self, event):
        self.observe("heard", event.payload)
"""
SCENARIO = """\
seed: 3
duration: 60ms
step: 1ms
network: {model: latency, base: 2ms, jitter: 5ms, loss: 0.3}
nodes:
  - {id: sayer, type: a, implementation: python_model, model: "echo.py:Sayer", config: {values: []}}
  - {id: hearer, type: b, implementation: python_model, model: "echo.py:Hearer"}
"""
START_NS = 1_700_000_000_123_456_789


def record_echo(folder, values, *, out):
    """Record a run over a lossy network in which any values are sent."""
    folder.mkdir(parents=True, exist_ok=True)
    names = "nan, inf = float('nan'), float('inf')\n"
    (folder / "echo.py").write_text(f"{names}VALUES = {values!r}\n{ECHO}")
    (folder / "echo.yaml").write_text(SCENARIO)
    scenario = load(folder / "echo.yaml", overrides=["nodes.sayer.config.values=[1, a, null, 2.5, [], {}, 7, 8, 9, 0]"])
    return record(scenario, out, force=True)


@pytest.fixture(scope="session")
def lossy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lossy")
    record_echo(folder, ODD, out=folder / "run")
    return folder / "run"


@pytest.mark.parametrize("name", ["recorded", "wrong", "failed", "lossy", "smoke"])
def test_mcap_out_and_in_again_is_the_same_run(xtrace, name, request, tmp_path):
    """Also of a failed run, of messages that are lost, and of every odd value."""
    if name == "smoke":
        original = tmp_path / name
        xtrace("record", "smoke", "-o", original)
    else:
        original = request.getfixturevalue(name)
    assert xtrace("export", original, "-o", "out.mcap").status == 0
    answer = xtrace("import", "out.mcap", "-o", "again", "--json")
    assert answer.status == 0, answer.err
    assert json.loads(answer.out)["fingerprint"] == Run.open(original).fingerprint
    assert same_content(original, "again")
    assert verify(Path("again")) == []
    assert xtrace("diff", original, "again").status == 0


def test_an_imported_run_is_not_trusted_and_replays(xtrace, lossy):
    """It holds code from elsewhere, even if it was recorded on this machine."""
    xtrace("export", lossy, "-o", "out.mcap")
    xtrace("import", "out.mcap", "-o", "again")
    refused = xtrace("replay", "again", "--all")
    assert (refused.status, "--trust" in refused.err) == (2, True)
    replayed = xtrace("replay", "again", "--all", "--trust")
    assert replayed.status == 0, replayed.out
    assert "3 of 3 nodes the same" in replayed.out


def test_a_run_with_large_payloads_comes_back(xtrace, tmp_path):
    (tmp_path / "large.py").write_text(
        "from xtrace.engine.model import Model\n\n\nclass Large(Model):\n    def on_init(self):\n"
        "        for n in range(3):\n            self.observe('frame', {'n': n // 2, 'pixels': bytes(100_000)})\n"
    )
    (tmp_path / "large.yaml").write_text(
        "duration: 5ms\nstep: 1ms\nnodes:\n"
        "  - {id: c, type: c, implementation: python_model, model: 'large.py:Large'}\n"
    )
    xtrace("record", "large.yaml", "-o", "run")
    assert {bool(stored.row.object) for stored in Run.open("run").rows() if stored.row.kind == "output"} == {True}
    xtrace("export", "run", "-o", "out.mcap")
    assert xtrace("import", "out.mcap", "-o", "again").status == 0
    assert same_content("run", "again")


@hypothesis_settings(max_examples=25)
@given(
    values=st.lists(
        st.recursive(
            st.none()
            | st.booleans()
            | st.integers(-(2**63), 2**64 - 1)
            | st.floats()
            | st.text(max_size=6)
            | st.binary(max_size=6),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
            max_leaves=10,
        ),
        max_size=4,
    )
)
def test_any_payload_comes_back(values, tmp_path_factory):
    folder = tmp_path_factory.mktemp("any")
    record_echo(folder, values, out=folder / "run")
    assert main(["export", str(folder / "run"), "-o", str(folder / "out.mcap")]) == 0
    assert main(["import", str(folder / "out.mcap"), "-o", str(folder / "again")]) == 0
    assert same_content(folder / "run", folder / "again")


def test_logs_come_back(xtrace, tmp_path):
    """What nodes in other processes wrote to stderr is attached, and verified like all of the run."""
    code = "import sys; print('hello', file=sys.stderr); sys.exit(3)"
    (tmp_path / "p.yaml").write_text(
        "duration: 5ms\nstep: 1ms\nnodes:\n"
        f'  - {{id: p, type: p, implementation: process, command: [python3, -c, "{code}"]}}\n'
    )
    assert xtrace("record", "p.yaml", "-o", "run").status == 1
    assert (tmp_path / "run/logs/p.log").read_text() == "hello\n"
    xtrace("export", "run", "-o", "out.mcap")
    assert xtrace("import", "out.mcap", "-o", "again").status == 0
    assert same_content("run", "again")
    assert verify(Path("again")) == []


def test_a_part_of_a_run_is_no_run(xtrace, recorded):
    xtrace("export", recorded, "-o", "part.mcap", "--node", "talker")
    answer = xtrace("import", "part.mcap", "-o", "again")
    assert (answer.status, "a part of a run" in answer.err) == (2, True)
    assert not Path("again").exists()


def changed_mcap(source, target, *, message=None, attachment=None):
    """Write an exported file anew, all checksums right, with its messages and attachments changed."""
    with mcap_file.McapFile(source) as mcap, target.open("wb") as file:
        writer = Writer(file)
        writer.start()
        for name, metadata in mcap.metadata.items():
            writer.add_metadata(name, metadata)
        for each in mcap.attachments.values():
            data = b"".join(mcap.pieces(each))
            changed = data if attachment is None else attachment(each.name, data)
            if changed is not None:
                writer.add_attachment(0, 0, each.name, "", changed)
        channel = writer.register_channel("/all", "json", 0)
        for number, each in enumerate(mcap.messages()):
            changed = each.data if message is None else message(number, each.data)
            if changed is not None:
                writer.add_message(channel, each.log_time_ns, changed, each.publish_time_ns)
        writer.finish()


def replaced(old, new, at=5):
    return lambda number, data: data.replace(old, new) if number == at else data


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"message": replaced(b'"value": 1', b'"value": 2', at=1)}, "fingerprint"),
        ({"message": lambda number, data: None if number == 7 else data}, "row 8 is not where it was"),
        ({"message": lambda number, data: None if number > 50 else data}, "there are 51 rows instead of"),
        ({"message": replaced(b'"seq": 5', b'"seq": 6')}, "row 6 is not where it was"),
        ({"message": replaced(b'"seq": 5', b'"seq": -5')}, "a number that is none"),
        ({"message": replaced(b'"step": ', b'"step": 99999999999999999999')}, "64 bits"),
        ({"message": replaced(b'"talker"', b'"nobody"', at=1)}, "not in the vocabulary"),
        ({"message": replaced(b'"kind": "', b'"kind": "x')}, "not in the vocabulary"),
        ({"message": replaced(b'"late_us"', b'"late"')}, "exactly the columns"),
        ({"message": replaced(b'"node": "', b'"node": ["', at=0)}, "no row of a run"),
        ({"message": replaced(b'"object": ""', b'"object": "../../x"', at=0)}, "is missing"),
        ({"message": replaced(b'"cause": [', b'"cause": [-1', at=0)}, "a number that is none"),
        ({"attachment": lambda name, data: data[:-9] if name == "manifest.json" else data}, "no JSON of a run"),
        ({"attachment": lambda name, data: data.replace(b'"xt1:', b'"xt1:0')}, "fingerprint"),
        (
            {"attachment": lambda name, data: data.replace(b'"holes"', b'"_"').replace(b"{", b'{"holes": [1],', 1)},
            "holes",
        ),
        ({"attachment": lambda name, data: b"[]" if name == "manifest.json" else data}, "not that of a run"),
        ({"attachment": lambda name, data: b'{"format": 0}' if name == "manifest.json" else data}, "is missing"),
        ({"attachment": lambda name, data: data + b"#" if name.startswith("objects/") else data}, "is not what it was"),
        ({"attachment": lambda name, data: None if name.startswith("objects/") else data}, "is missing"),
    ],
)
def test_a_file_that_was_changed_is_refused(xtrace, recorded, tmp_path, change, reason):
    """Even if every checksum in it is right: the fingerprint, the hashes and the order of rows are not."""
    xtrace("export", recorded, "-o", "out.mcap")
    changed_mcap(tmp_path / "out.mcap", tmp_path / "bad.mcap", **change)
    answer = xtrace("import", "bad.mcap", "-o", "again")
    assert answer.status == 2
    assert "bad.mcap" in answer.err
    assert reason in answer.err
    assert "internal error" not in answer.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.mcap", "out.mcap"]


def test_what_was_written_anew_unchanged_is_the_same_run(xtrace, recorded, tmp_path):
    """The change, and nothing else about it, is what is refused above."""
    xtrace("export", recorded, "-o", "out.mcap")
    changed_mcap(tmp_path / "out.mcap", tmp_path / "same.mcap")
    assert xtrace("import", "same.mcap", "-o", "again").status == 0
    assert same_content(recorded, "again")


def test_nothing_is_replaced_unasked_and_not_by_a_broken_file(xtrace, recorded, tmp_path):
    """A run gives way to another one with --force, once that is whole; other folders never do."""
    xtrace("export", recorded, "-o", "out.mcap")
    assert xtrace("import", "out.mcap", "-o", "run").status == 0
    assert "--force" in xtrace("import", "out.mcap", "-o", "run").err
    (tmp_path / "cut.mcap").write_bytes((tmp_path / "out.mcap").read_bytes()[:-10])
    assert xtrace("import", "cut.mcap", "-o", "run", "--force").status == 2
    assert same_content(recorded, "run")
    write_foreign(tmp_path / "robot.mcap")
    assert xtrace("import", "robot.mcap", "-o", "run", "--force").status == 0
    assert Run.open("run").fingerprint != Run.open(recorded).fingerprint
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/diary").write_text("dear")
    refused = xtrace("import", "out.mcap", "-o", "mine", "--force")
    assert (refused.status, "never removed" in refused.err) == (2, True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cut.mcap", "mine", "out.mcap", "robot.mcap", "run"]


def test_options_that_do_not_fit_and_files_that_are_not_there(xtrace, recorded, tmp_path):
    xtrace("export", recorded, "-o", "out.mcap")
    assert "for JSON Lines" in xtrace("import", "out.mcap", "-o", "run", "--time", "ts").err
    assert "--scenario-out" in xtrace("import", "out.mcap", "-o", "run", "--scenario-out", "s").err
    assert "no such file" in xtrace("import", "nothing", "-o", "run").err
    assert "no file" in xtrace("import", tmp_path, "-o", "run").err
    (tmp_path / "x.mcap").write_text("hello, this is no MCAP file at all")
    assert "magic bytes" in xtrace("import", "x.mcap", "-o", "run").err


@pytest.mark.parametrize("limit", [1_000, 20_000])
@pytest.mark.parametrize("kind", ["exported", "foreign"])
def test_a_full_disk_is_one_message_and_leaves_nothing(xtrace, xtrace_command, recorded, tmp_path, kind, limit):
    """A limit on the size of files stands in for the disk."""
    if kind == "exported":
        xtrace("export", recorded, "-o", "in.mcap")
    else:
        write_foreign(tmp_path / "in.mcap", messages=1_000)
    done = subprocess.run(
        xtrace_command("import", "in.mcap", "-o", "run"),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    assert done.returncode == 2
    assert "xtrace: run: File too large" in done.stderr
    assert "internal error" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["in.mcap"]


def test_an_import_that_is_interrupted_leaves_nothing(tmp_path):
    def interrupted():
        with arriving(tmp_path / "run", force=False) as folder:
            (folder / "deep").mkdir(parents=True)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []


def test_the_error_of_a_place_that_is_taken_says_what_to_do(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="choose another folder"), arriving(tmp_path / "file", force=True):
        pass
    (tmp_path / "run.importing").mkdir()
    with pytest.raises(InputError, match="remove it"), arriving(tmp_path / "run", force=True):
        pass
