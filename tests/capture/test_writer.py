"""Where a run may be written, what is never removed, and what survives an error."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import threading

import pytest
from tests.capture.runs import ABOUT, NODES, busy_rows, make_run, small_blocks, write

from xtrace.capture.disk import RealDisk, is_locked
from xtrace.capture.log import EventLog
from xtrace.capture.objects import ObjectStore
from xtrace.capture.reader import Run
from xtrace.capture.recover import recover
from xtrace.capture.verify import verify
from xtrace.capture.writer import RunWriter
from xtrace.engine.errors import InputError, LimitExceeded, StorageError


def writer_for(folder, *, force=False):
    return RunWriter(folder, node_ids=NODES, about=ABOUT, force=force)


def test_a_run_goes_into_a_new_or_an_empty_folder(tmp_path):
    """Parents are made; an empty folder is fine."""
    make_run(tmp_path / "deep" / "down" / "run", busy_rows(1))
    (tmp_path / "empty").mkdir()
    make_run(tmp_path / "empty", busy_rows(1))


def test_a_file_in_the_way_is_an_input_error(tmp_path):
    """With or without force, files are left alone."""
    (tmp_path / "run").write_text("mine")
    for force in (False, True):
        with pytest.raises(InputError, match="is a file; choose another folder"):
            writer_for(tmp_path / "run", force=force)
    assert "mine" == (tmp_path / "run").read_text()


def test_a_folder_that_holds_something_else_is_never_removed(tmp_path):
    """Not even with force."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.txt").write_text("mine")
    for force in (False, True):
        with pytest.raises(InputError, match="holds no run, so it is never removed"):
            writer_for(tmp_path / "run", force=force)
    assert "mine" == (tmp_path / "run" / "thesis.txt").read_text()


@pytest.mark.parametrize(
    "text",
    ['{"manifest_version": 3, "name": "an extension"}', '{"format": "esm"}', "[]", "", "{", "\xff", "[" * 99_999],
)
def test_a_manifest_of_others_makes_no_run(tmp_path, text):
    """Many programs have a manifest.json; --force must not take their folders for runs."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "manifest.json").write_text(text, encoding="latin-1")
    with pytest.raises(InputError, match="holds no run, so it is never removed"):
        writer_for(tmp_path / "run", force=True)
    assert (tmp_path / "run" / "manifest.json").is_file()


def test_a_run_is_replaced_only_by_force(tmp_path):
    """Closed or not, a run is kept unless force is given."""
    make_run(tmp_path / "run", busy_rows(2))
    with pytest.raises(InputError, match="holds a run already; choose another folder or give --force"):
        writer_for(tmp_path / "run")
    assert 2 == Run.open(tmp_path / "run").steps
    unclosed = writer_for(tmp_path / "run", force=True)
    write(unclosed, busy_rows(1))
    with pytest.raises(InputError, match="the run is not closed"):
        Run.open(tmp_path / "run")
    with pytest.raises(InputError, match="holds a run already"):
        writer_for(tmp_path / "run")
    unclosed.discard()
    assert not (tmp_path / "run").exists()
    make_run(tmp_path / "run", busy_rows(3))
    assert 3 == Run.open(tmp_path / "run").steps


def test_force_follows_no_link(tmp_path):
    """A link to a run in the way: the run behind it stays."""
    make_run(tmp_path / "run", busy_rows(2))
    (tmp_path / "link").symlink_to("run")
    with pytest.raises((InputError, OSError)):
        writer_for(tmp_path / "link", force=True)
    assert 2 == Run.open(tmp_path / "run").steps


def test_an_unclosed_run_says_what_it_records(tmp_path):
    """The manifest is there from the start, with status `recording`."""
    writer = writer_for(tmp_path / "run")
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert ("recording", ["", "a", "network", "z z", "ö"]) == (manifest["status"], manifest["vocabulary"]["name"])
    writer.discard()


def test_large_payloads_end_a_block(tmp_path, monkeypatch):
    """A block never grows far beyond what is read into memory at once, however few its rows are."""
    monkeypatch.setattr("xtrace.capture.writer.BLOCK_MAX_PAYLOAD_BYTES", 1_000)
    writer = writer_for(tmp_path / "run")
    write(writer, busy_rows(40))
    writer.close("complete")
    run = Run.open(tmp_path / "run")
    sizes = [sum(map(len, batch["payload"].to_pylist())) for batch in run.batches()]
    assert len(sizes) > 1
    assert all(size >= 1_000 for size in sizes[:-1])


def test_a_step_with_too_much_is_refused(tmp_path, monkeypatch):
    """A block has to fit into Arrow's offsets: what does not is an error, and what came before it is kept."""
    monkeypatch.setattr("xtrace.capture.writer.BLOCK_MAX_PAYLOAD_BYTES", 10)
    monkeypatch.setattr("xtrace.capture.writer.STEP_MAX_PAYLOAD_BYTES", 20)
    writer = writer_for(tmp_path / "run")
    try:
        with pytest.raises(LimitExceeded, match=r"bytes of payloads in step \d+ and those before it .* limit of 30"):
            write(writer, busy_rows(40))
        writer.close("failed")
    finally:
        if not (tmp_path / "run" / "SEAL").exists():
            writer.discard()
    assert Run.open(tmp_path / "run").status == "failed"


def test_facts_and_failure_stand_in_the_manifest(tmp_path):
    """What the recorder learned at the end is kept beside what it knew at the start."""
    writer = writer_for(tmp_path / "run")
    write(writer, busy_rows(2))
    writer.close("failed", failure={"node": "a", "reason": "no"}, packages={"a": ["simpy"]})
    run = Run.open(tmp_path / "run")
    assert ("failed", {"node": "a", "reason": "no"}, {"a": ["simpy"]}) == (
        run.status,
        run.manifest["failure"],
        run.manifest["packages"],
    )
    rows = len(busy_rows(2))
    assert {"rows": rows, "steps": 2, "blocks": 1, "last_step": 2} == run.manifest["totals"]
    assert ["a", "network", "z z", "ö"] == run.nodes


def test_equal_files_are_stored_once(tmp_path):
    """Objects are named after their content; a name that was kept is not read again."""
    for name in ("one.py", "same.py", "other.py"):
        (tmp_path / name).write_text("x = 2" if name == "other.py" else "x = 1")
    writer = writer_for(tmp_path / "run")
    keep = writer.keep("a")
    kept = [keep(name, tmp_path / name) for name in ("one.py", "same.py", "other.py")]
    (tmp_path / "one.py").write_text("changed since")
    again = keep("one.py", tmp_path / "one.py")
    writer.close("complete")
    assert kept[0] == kept[1] == again
    assert "x = 1" == again.read_text(), "what the node runs is what the run holds"
    run = Run.open(tmp_path / "run")
    assert sorted(run.manifest["artefacts"]["a"]) == ["one.py", "other.py", "same.py"]
    assert 2 == len(run.manifest["objects"]) == len(list((tmp_path / "run" / "objects").iterdir()))
    assert 5 == run.manifest["objects"][kept[0].name]


def test_an_object_is_verified_before_it_is_used(tmp_path):
    """Its name is the SHA-256 of its bytes."""
    (tmp_path / "file").write_bytes(b"content")
    store = ObjectStore(tmp_path / "objects")
    name = store.put(tmp_path / "file")
    assert b"content" == store.verified_path(name).read_bytes()
    assert [name] == [path.name for path in (tmp_path / "objects").iterdir()], "nothing half-written is left"


def test_a_step_too_large_for_a_block_is_refused_and_the_rest_kept(tmp_path, monkeypatch):
    """What no reader would make room for is not written; the steps before are a valid run."""
    small_blocks(monkeypatch, 10_000)
    monkeypatch.setattr("xtrace.capture.writer.BLOCK_MAX_BYTES", 20_000)
    writer = RunWriter(tmp_path / "run", node_ids=NODES, about=ABOUT)
    rows = busy_rows(5)
    write(writer, rows)
    large = [each._replace(row=each.row._replace(step=6, type="x" * 30_000)) for each in rows[:3]]
    write(writer, large)
    with pytest.raises(LimitExceeded, match="bytes of step 6 and those before it in its block"):
        writer.close("complete")
    writer.close("failed")
    assert [] == verify(tmp_path / "run")
    assert rows == list(Run.open(tmp_path / "run").rows())


@pytest.mark.parametrize(
    ("limit", "what"), [("MAX_BLOCKS", "blocks of the run"), ("MAX_OBJECTS", "objects of the run")]
)
def test_what_no_reader_takes_is_not_written(tmp_path, monkeypatch, limit, what):
    small_blocks(monkeypatch, 20)
    monkeypatch.setattr("xtrace.capture.writer.OBJECT_MIN_BYTES", 6)
    monkeypatch.setattr(f"xtrace.capture.writer.{limit}", 3)
    writer = RunWriter(tmp_path / "run", node_ids=NODES, about=ABOUT)
    with pytest.raises(LimitExceeded, match=what):
        write(writer, busy_rows(100))
    writer.discard()


@pytest.mark.parametrize("name", ["events.arrow", "events.index", "nodes.index", "events.tail"])
def test_a_file_that_is_removed_ends_the_recording(tmp_path, monkeypatch, name):
    """It is not taken for a whole run, and the message names it."""
    small_blocks(monkeypatch, 20)
    writer = writer_for(tmp_path / "run")
    write(writer, busy_rows(5))
    (tmp_path / "run" / name).unlink()
    with pytest.raises(StorageError, match="was removed or replaced"):
        write(writer, busy_rows(100))
    stopped = StorageError(tmp_path / "run", "removed")
    writer.salvage(stopped)
    assert stopped.kept_step is None
    assert not (tmp_path / "run" / "SEAL").exists()


def test_a_file_system_that_can_reserve_nothing_does_without(tmp_path, monkeypatch):
    def unsupported(*_: object) -> None:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(os, "posix_fallocate", unsupported)
    make_run(tmp_path / "run", busy_rows(3))
    assert [] == verify(tmp_path / "run")


def test_a_run_being_recorded_is_not_replaced(tmp_path):
    writer = writer_for(tmp_path / "run")
    with pytest.raises(InputError, match="is being recorded right now"):
        writer_for(tmp_path / "run", force=True)
    writer.close("complete")
    writer_for(tmp_path / "run", force=True).close("complete")


def test_somebody_who_looks_at_the_lock_does_not_stop_a_recorder(tmp_path):
    """The lock is free a moment later."""
    path = tmp_path / "events.tail"
    path.touch()
    looking = os.open(path, os.O_RDONLY)
    fcntl.flock(looking, fcntl.LOCK_SH)
    threading.Timer(0.1, os.close, [looking]).start()
    disk = RealDisk()
    file = disk.create(path)
    disk.lock(file)
    assert is_locked(path)
    disk.close(file)
    assert not is_locked(path)


def test_a_child_does_not_hold_the_lock(tmp_path):
    """A model may fork; when the recorder is killed, its run can be recovered."""
    writer = writer_for(tmp_path / "run")
    ready, go = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        os.write(ready[1], b"x")
        os.read(go[0], 1)
        os._exit(0)
    os.read(ready[0], 1)
    writer._close_files()  # as if the recorder was killed
    locked = is_locked(tmp_path / "run" / "events.tail")
    os.write(go[1], b"x")
    os.waitpid(child, 0)
    for end in (*ready, *go):
        os.close(end)
    assert not locked


def test_what_the_journal_holds_is_not_given_up_for_a_closed_run(tmp_path, monkeypatch):
    """No room for the block of its rows: the run stays open, and has all of them on another disk."""
    writer = writer_for(tmp_path / "run")
    rows = busy_rows(20)
    write(writer, rows)
    writer.flush()

    def full(self: EventLog, batch: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(EventLog, "write", full)
        with pytest.raises(StorageError, match="xtrace recover"):
            writer.close("complete")
    recovery = recover(tmp_path / "run", tmp_path / "recovered")
    assert rows == list(Run.open(recovery.path).rows())
