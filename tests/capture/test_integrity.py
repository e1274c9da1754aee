"""One flipped bit anywhere in a run is found, named, and never read as something else."""

from __future__ import annotations

import contextlib
import json
import random
import shutil

import pytest
from tests.capture.runs import NODES, busy_rows, small_blocks, write

from xtrace.capture import blocks, index, manifest, objects, reader
from xtrace.capture.manifest import write_manifest, write_seal
from xtrace.capture.reader import Run
from xtrace.capture.verify import verify
from xtrace.capture.writer import RunWriter
from xtrace.engine.errors import CorruptionError, InputError, XtraceError

FATAL = ("events.arrow", "events.index", "nodes.index", "manifest.json", "SEAL", "objects/")


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """A run of several blocks with an object and a log, to be copied."""
    folder = tmp_path_factory.mktemp("runs") / "original"
    with pytest.MonkeyPatch.context() as patch:
        small_blocks(patch, 28)
        (folder.parent / "model.py").write_text("class Model: ...\n" * 5)
        writer = RunWriter(folder, node_ids=NODES, about={"seed": 1, "scenario": {}, "nodes": {}})
        writer.keep("a")("model.py", folder.parent / "model.py")
        (writer.logs / "a.log").write_text("a line in the log\n")
        write(writer, busy_rows(34))
        writer.close("complete")
    assert len(Run.open(folder).blocks) >= 4
    return folder


@pytest.fixture
def run(original, tmp_path):
    """A copy of the run, to be damaged."""
    return shutil.copytree(original, tmp_path / "run")


def files_of(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def flips(data, *, seed):
    """Yield every offset of `data` with the data in which one bit of it is flipped, each with another bit."""
    chosen = random.Random(seed)
    for offset in range(len(data)):
        flipped = bytearray(data)
        flipped[offset] ^= 1 << chosen.randrange(8)
        yield offset, bytes(flipped)


def covers(problem, name, offset):
    """Return whether `problem` names the byte at `offset` of the file `name`."""
    if problem.file != name:
        return False
    return problem.offset <= offset and (problem.length is None or offset < problem.offset + problem.length)


def read_all(folder):
    """Return everything that a reader can get of a run, None if it refuses."""
    try:
        run = Run.open(folder)
        objects = [run.objects.verified_path(each).read_bytes() for each in run.manifest["objects"]]
        return run.manifest, list(run.rows()), list(run.node_records), objects
    except XtraceError:
        return None


def undetected(folder, name, whole):
    """Flip a bit at each byte of a file, and return the offsets at which that stays unnoticed or reads differently."""
    path, missed = folder / name, []
    data = path.read_bytes()
    for offset, flipped in flips(data, seed=name):
        path.write_bytes(flipped)
        found = [problem.fatal for problem in verify(folder, rows=False) if covers(problem, name, offset)]
        if found != [name.startswith(FATAL)] or (offset % 16 == 0 and read_all(folder) not in (None, whole)):
            missed.append(offset)
    path.write_bytes(data)
    return missed


# `objects` stands for the one object of the run, whose name is a hash.
FILES = ["SEAL", "events.index", "nodes.index", "logs/a.log", "timing.arrow", "manifest.json", "objects"]


def test_the_files_are_all_tried(original):
    """No file of a run is missing in these tests."""
    tried = {name.partition("/")[0] for name in [*FILES, "events.arrow"]}
    assert tried == {name.partition("/")[0] for name in files_of(original)}


@pytest.mark.parametrize("name", FILES)
def test_a_flipped_bit_is_found_and_named(original, run, name):
    """One bit in each byte of each file: verify names the file and a range that holds it; nobody reads other rows."""
    whole = read_all(original)
    assert [] == verify(run)
    for each in [each for each in files_of(run) if each.startswith(name)]:
        assert [] == undetected(run, each, whole)


@pytest.mark.parametrize("part", range(2))
def test_a_flipped_bit_of_the_event_log_is_found_and_named(original, run, part):
    """The same for each byte of `events.arrow`, with the block that it is in."""
    whole, name = read_all(original), "events.arrow"
    path, opened = run / name, Run.open(run)
    data, footer = path.read_bytes(), opened.manifest["footer"]["offset"]
    assert len(data) > 8_000
    for offset, flipped in flips(data, seed=5):
        if offset % 2 != part:
            continue
        path.write_bytes(flipped)
        (problem,) = verify(run, rows=False)
        block = next((each.block for each in opened.blocks if each.offset <= offset < each.offset + each.length), None)
        assert (True, block) == (problem.fatal, problem.block)
        assert covers(problem, name, offset)
        if offset % 64 == part:
            assert read_all(run) in (None, whole)
    assert footer < len(data)


def without_checks(patch):
    """Plant the fault: nothing is compared with its checksum any more."""

    class Anything(bytes):
        def __eq__(self, other):
            return True

        def __ne__(self, other):
            return False

        __hash__ = bytes.__hash__

    class Anytext(str):
        __slots__ = ()
        __eq__ = Anything.__eq__
        __ne__ = Anything.__ne__
        __hash__ = str.__hash__

    class Blind:
        def update(self, data):
            pass

        def digest(self):
            return Anything()

        def hexdigest(self):
            return Anytext()

    for module in (reader, manifest, objects):
        patch.setattr(module.hashlib, "sha256", lambda data=b"": Blind())
    patch.setattr(reader.hashlib, "file_digest", lambda file, name: Blind())


def test_without_checksums_flipped_bits_would_be_read_as_rows(original, run, monkeypatch):
    """Planted: with the comparison away, the test above fails, and Arrow hands out rows that nobody recorded."""
    whole = read_all(original)
    data = (run / "events.arrow").read_bytes()
    different = 0
    with monkeypatch.context() as patch:
        without_checks(patch)
        for offset in range(2_000, 6_000, 97):
            (run / "events.arrow").write_bytes(data[:offset] + bytes([data[offset] ^ 16]) + data[offset + 1 :])
            assert [] == verify(run, rows=False), "the planted fault is in force"
            with contextlib.suppress(Exception):
                different += read_all(run) != whole
    assert different > 0
    assert [] != verify(run)


@pytest.mark.parametrize("name", [*FILES, "events.arrow"])
@pytest.mark.parametrize("change", ["cut by one", "cut in half", "empty", "longer"])
def test_a_file_of_another_length_is_found(original, run, name, change):
    """A file that ends early, or goes on, is a problem of that file."""
    name = next(each for each in files_of(run) if each.startswith(name))
    data = (run / name).read_bytes()
    half = data[: len(data) // 2]
    changed = {"cut by one": data[:-1], "cut in half": half, "empty": b"", "longer": data + b"\0"}
    (run / name).write_bytes(changed[change])
    problems = verify(run)
    assert [(name, name.startswith(FATAL))] == [(problem.file, problem.fatal) for problem in problems]
    assert read_all(run) in (None, read_all(original))
    if name == "events.arrow":
        assert read_all(run) is None


@pytest.mark.parametrize("name", sorted({*FILES, "events.arrow"} - {"SEAL", "manifest.json"}))
def test_a_missing_file_is_found(run, name):
    """It is named, and fatal where replay and comparison need it."""
    name = next(each for each in files_of(run) if each.startswith(name))
    (run / name).unlink()
    (problem,) = verify(run)
    assert (name, name.startswith(FATAL)) == (problem.file, problem.fatal)
    assert problem.reason.endswith("is missing")


@pytest.mark.parametrize("name", ["SEAL", "manifest.json"])
def test_without_seal_or_manifest_it_is_no_closed_run(run, name):
    """A recording that was killed is not corrupt, it is not closed; the error says so."""
    (run / name).unlink()
    with pytest.raises(InputError, match=f"it has no {name}"):
        verify(run)


def test_files_of_others_are_reported(run):
    """What was put into the folder later is named, and changes nothing."""
    (run / "notes.txt").write_text("hello")
    (run / "objects" / "extra").write_text("hello")
    assert [("notes.txt", False), ("objects/extra", False)] == [(each.file, each.fatal) for each in verify(run)]
    assert read_all(run) is not None


def test_all_problems_are_reported_at_once(run):
    """Where a reader stops at the first, verify goes on."""
    opened = Run.open(run)
    data = bytearray((run / "events.arrow").read_bytes())
    for place in (opened.blocks[1].offset, opened.blocks[3].offset + 5, len(data) - 1, 20):
        data[place] ^= 1
    (run / "events.arrow").write_bytes(data)
    (run / "timing.arrow").write_bytes(b"")
    found = [(each.file, each.block, each.offset) for each in verify(run)]
    places = [(None, 0), (1, opened.blocks[1].offset), (3, opened.blocks[3].offset)]
    places.append((None, opened.manifest["footer"]["offset"]))
    assert [*(("events.arrow", *place) for place in places), ("timing.arrow", None, 0)] == found


def test_corruption_hurts_only_who_needs_the_block(run):
    """The other blocks are read as ever; the error names block, place and steps."""
    opened = Run.open(run)
    record = opened.blocks[2]
    with (run / "events.arrow").open("r+b") as file:
        file.seek(record.offset + 7)
        file.write(b"\xff\xfe")
    assert opened.blocks[1].rows == len(list(opened.rows(1, 2)))
    steps = f"steps {record.first_step} to {record.last_step}"
    with pytest.raises(CorruptionError, match=f"block 2, offset {record.offset} .*{steps}"):
        opened.read_block(2)
    with pytest.raises(CorruptionError, match="block 2"):
        list(opened.rows())
    with pytest.raises(CorruptionError, match="block 2"):
        opened.verify_raw()
    with pytest.raises(CorruptionError, match="block 2"):
        opened.table()


def reseal(folder, change):
    """Change the manifest of a run as somebody would who seals it again."""
    data = json.loads((folder / "manifest.json").read_text())
    change(data)
    write_seal(folder, write_manifest(folder, data))


@pytest.mark.parametrize("key", ["fingerprint", "status", "seed", "totals", "nodes", "files"])
def test_a_sealed_manifest_without_a_field_is_corrupt(run, key):
    """A seal proves that nobody changed the manifest since, not that it makes sense."""
    reseal(run, lambda data: data.pop(key))
    with pytest.raises(CorruptionError, match="a required field is missing"):
        Run.open(run)


def places(value, at=()):
    """Yield the path of everything in a manifest."""
    if at:
        yield at
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, member in members:
        yield from places(member, (*at, key))


@pytest.mark.parametrize("wrong", [None, -1, "x", [[1]], {}, "absent"])
def test_nonsense_under_a_right_seal_is_never_a_traceback(run, wrong):
    """Whatever stands at any place of a manifest, each answer is an XtraceError or an answer."""
    original = json.loads((run / "manifest.json").read_text())
    for *at, key in places(original):
        data = holder = json.loads(json.dumps(original))
        for each in at:
            holder = holder[each]
        if wrong == "absent":
            del holder[key]
        else:
            holder[key] = wrong
        write_seal(run, write_manifest(run, data))
        for question in (
            verify,
            lambda folder: Run.open(folder).verify_raw(),
            lambda folder: list(Run.open(folder).rows()),
        ):
            with contextlib.suppress(XtraceError):
                question(run)


@pytest.mark.parametrize("status", ["done", "recording", None, ["complete"]])
def test_a_status_that_no_closed_run_has_is_corrupt(run, status):
    """Whoever asks for `complete` can trust that every other answer is one of the format's."""
    reseal(run, lambda data: data.update(status=status))
    with pytest.raises(CorruptionError, match="missing or wrong: status"):
        Run.open(run)


def test_a_newer_format_asks_for_an_update(run):
    """Not corrupt, only too new."""
    reseal(run, lambda data: data.update(format=99))
    with pytest.raises(InputError, match=r"format version 99 is newer than \d+: update"):
        Run.open(run)


@pytest.mark.parametrize("text", ["[]", "{}", '{"format": "1"}', "nonsense", "[" * 100_000])
def test_a_sealed_manifest_that_is_none(run, text):
    """Whatever JSON it is, the answer is a CorruptionError and no traceback."""
    (run / "manifest.json").write_text(text)
    write_seal(run, text.encode())
    with pytest.raises(CorruptionError):
        Run.open(run)


@pytest.mark.parametrize("name", ["../manifest.json", "/etc/passwd", "", "a" * 63, "A" * 64, "a" * 65, "a" * 63 + "\n"])
def test_an_object_has_the_name_of_its_content(run, name):
    """Anything else is refused before a path is made of it."""
    with pytest.raises(CorruptionError, match="is not the name of an object"):
        Run.open(run).objects.verified_path(name)


def test_blocks_of_other_columns_are_refused(run):
    """Bytes with a right checksum that are no block of this schema raise, they don't decode to something."""
    opened = Run.open(run)
    for data in (b"", b"\0" * 100, opened._head):
        with pytest.raises(CorruptionError):
            blocks.decode_block(run / "events.arrow", 0, opened._head, data)


def test_an_index_that_skips_bytes_is_refused(run):
    """Records with right checksums must still follow one another."""
    header, records = index.read_events_index(run / "events.index")
    moved = records[0]._replace(offset=records[0].offset + 8)
    head = index.pack_header(index.EVENTS_MAGIC, head_length=header.head_length, head_checksum=header.head_checksum)
    (run / "events.index").write_bytes(head + index.pack_block(moved))
    with pytest.raises(CorruptionError, match="does not follow the one before it"):
        index.read_events_index(run / "events.index")


@pytest.mark.parametrize("node", [{}, [], 7, None])
def test_a_replay_of_no_node_is_refused(run, node):
    """Whoever sealed the manifest can write anything; a comparison looks the node up."""
    reseal(run, lambda data: data.update(replayed=node))
    with pytest.raises(CorruptionError, match="replayed"):
        Run.open(run)
