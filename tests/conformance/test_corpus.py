"""Two readers give the expected answer about every run of the corpus: good ones are read, broken ones are named."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from tests.capture.runs import NODES, busy_rows, small_blocks, write
from tests.capture.test_signature import sign, write_keys
from tests.conformance import reader
from tests.conformance.broken_runs import parts_of
from tests.conformance.corpus import BROKEN, GOOD, Case
from tests.conformance.mutations import Mutation, lay_out

from xtrace.capture.layout import Storage
from xtrace.capture.reader import Run
from xtrace.capture.recover import recover
from xtrace.capture.verify import verify
from xtrace.capture.writer import RunWriter
from xtrace.engine.errors import XtraceError
from xtrace.engine.values import encode
from xtrace.tools.cli import main
from xtrace.tools.verify import _line

FROZEN = Path(__file__).parent / "frozen"
FROZEN_FINGERPRINTS = {
    "version-0": "xt1:sha256:07af46f7c46c187761f885024a492eb12d8f8d60624cc3c5d2e5cae44d86eba9",
    "version-1": "xt1:sha256:30147afd730d9c77d5719223aae1aa6030a0a616068936b08951724d6bfc91b1",
}


def make(folder: Path, storage: Storage | None = None) -> Path:
    """Record a run of seven blocks with an artefact, a large payload and a log."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    (folder.parent / "model.py").write_text("class Model: ...\n")
    nodes = [{"id": node, "type": "test", "implementation": "python_model"} for node in NODES]
    about = {
        "scenario": {"scenario": "busy", "nodes": nodes, "network": {"model": "direct"}},
        "nodes": {node: {"type": "test"} for node in NODES},
        "seed": 1,
        "step_us": 10,
        "duration_us": 450,
    }
    with pytest.MonkeyPatch.context() as patch:
        small_blocks(patch, 28)
        writer = RunWriter(folder, node_ids=NODES, about=about, storage=storage)
        writer.keep("a")("model.py", folder.parent / "model.py")
        (writer.logs / "a.log").write_text("a line in the log\n")
        rows = busy_rows(45)
        rows[5] = rows[5]._replace(row=rows[5].row._replace(payload=encode(b"x" * 70_000)))
        write(writer, rows)
        writer.close("complete")
    return folder


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make(tmp_path_factory.mktemp("corpus") / "run")
    assert len(Run.open(folder).blocks) == 7
    return folder


def laid_out(case: Case, original: Path, folder: Path) -> Path:
    lay_out(Mutation(case.change(parts_of(original)), {}, case.name), folder)
    return folder


def independent(folder: Path) -> str:
    """Return what the other reader says: nothing, or what is broken. It is a test: any exception is a refusal."""
    try:
        reader.check(folder)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return ""


def said(folder: Path) -> str:
    """Return what `verify` says, a line for each problem."""
    try:
        return "\n".join(_line(problem) for problem in verify(folder))
    except XtraceError as error:
        return str(error)


@pytest.mark.parametrize("case", GOOD, ids=lambda case: case.name)
def test_a_good_run_is_read_by_both(case: Case, original: Path, tmp_path: Path) -> None:
    folder = laid_out(case, original, tmp_path / "run")
    assert ("", "") == (said(folder), independent(folder))
    assert list(Run.open(original).rows()) == list(Run.open(folder).rows())
    assert 0 == main(["verify", str(folder)])


@pytest.mark.parametrize("case", BROKEN, ids=lambda case: case.name)
def test_a_broken_run_is_named_by_both(case: Case, original: Path, tmp_path: Path) -> None:
    """The command says file, block and place, and ends as expected; the other reader refuses what it looks at."""
    folder = laid_out(case, original, tmp_path / "run")
    assert re.search(case.expected, said(folder)), said(folder)
    assert case.status == main(["verify", str(folder)])
    found = independent(folder)
    assert (case.other is None) == (found == ""), found
    assert case.other is None or re.search(case.other, found), found


@pytest.mark.parametrize("compression", ["zstd", "lz4", "none"])
def test_every_compression_is_read_by_both(compression: str, original: Path, tmp_path: Path) -> None:
    folder = make(tmp_path / "run", Storage(compression=compression))
    assert ("", "") == (said(folder), independent(folder))
    assert Run.open(original).fingerprint == reader.check(folder).fingerprint


def test_signed_runs_are_read_by_both(original: Path, tmp_path: Path) -> None:
    """By the recorder, or by somebody else afterwards; one that lost its signature is read by neither."""
    write_keys(tmp_path, "ci", 1)
    by_recorder = make(tmp_path / "signed" / "run", Storage(signing_key=tmp_path / "ci.pem"))
    later = shutil.copytree(original, tmp_path / "later")
    sign(later, tmp_path / "ci.pem")
    for folder in (by_recorder, later):
        assert ("", "") == (said(folder), independent(folder))
    (by_recorder / "SEAL").write_text((by_recorder / "SEAL").read_text().splitlines(keepends=True)[0])
    assert "the signature by" in said(by_recorder)
    assert "the signature of" in independent(by_recorder)


def test_a_run_with_a_hole_is_read_by_both(original: Path, tmp_path: Path) -> None:
    """What was recovered from a damaged run verifies, and has neither the rows that were lost nor a fingerprint."""
    damaged = shutil.copytree(original, tmp_path / "damaged")
    record = Run.open(damaged).blocks[2]
    with (damaged / "events.arrow").open("r+b") as file:
        file.seek(record.offset + 40)
        file.write(b"\xff" * 8)
    recover(damaged, tmp_path / "recovered")
    run = Run.open(tmp_path / "recovered")
    assert ("", "") == (said(run.path), independent(run.path))
    assert (None, "recovered", 1) == (run.fingerprint, run.status, len(run.holes))
    lost = range(record.first_seq, record.first_seq + record.rows)
    assert [row for row in Run.open(original).rows() if row.seq not in lost] == list(run.rows())


@pytest.mark.parametrize("version", sorted(path.name for path in FROZEN.iterdir()))
def test_a_frozen_run_is_read_forever(version: str) -> None:
    """A run as the code of that time wrote it."""
    folder = FROZEN / version
    assert ("", "") == (said(folder), independent(folder))
    assert FROZEN_FINGERPRINTS[version] == Run.open(folder).fingerprint == reader.check(folder).fingerprint
    assert reader.check(folder).rows == [
        {"seq": each.seq, **each.row._asdict(), "cause": list(each.cause)} for each in Run.open(folder).rows()
    ]


def test_planted_a_reader_that_looks_at_checksums_alone_is_found_out(
    original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the audit of rows most broken runs of the corpus would pass."""
    passed = [
        case.name
        for number, case in enumerate(BROKEN)
        if not _problems_without_rows(laid_out(case, original, tmp_path / str(number)))
    ]
    assert {"another digest of a node", "a payload in another form", "a cause that comes later"} <= {*passed}


def _problems_without_rows(folder: Path) -> bool:
    try:
        return verify(folder, rows=False) != []
    except XtraceError:
        return True
