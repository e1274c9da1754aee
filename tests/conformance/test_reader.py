"""An independent reader agrees with xtrace on real runs, and notices when xtrace departs from the format."""

from __future__ import annotations

import shutil

import pyarrow as pa
import pytest
from tests.conformance import reader

from xtrace.capture import digests
from xtrace.capture.reader import Run
from xtrace.capture.verify import verify
from xtrace.scenarios.loader import load
from xtrace.scenarios.record import record


def recorded(name, folder, **options):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("xtrace.capture.writer.BLOCK_MIN_ROWS", 50)
        patch.setattr("xtrace.capture.writer.BLOCK_MAX_ROWS", 150)
        return record(load(name, **options), folder)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The smoke scenario, and two seconds of machine_monitoring with its ONNX model, in several blocks."""
    folder = tmp_path_factory.mktemp("runs")
    recorded("smoke", folder / "smoke")
    recorded("machine_monitoring", folder / "machine_monitoring", duration="2s")
    return folder


@pytest.mark.parametrize("name", ["smoke", "machine_monitoring"])
def test_two_readers_agree(runs, name):
    """Rows, numbers, causes, fingerprint and the digests of every node: recomputed by other code, from other words."""
    found, run = reader.check(runs / name), Run.open(runs / name)
    assert [] == verify(run.path)
    assert (run.fingerprint, run.events, len(run.blocks)) == (found.fingerprint, len(found.rows), len(found.blocks))
    expected = [{"seq": each.seq, **each.row._asdict(), "cause": list(each.cause)} for each in run.rows()]
    assert expected == found.rows
    assert {each.node: (each.inputs, each.outputs) for each in run.node_records} == found.node_digests
    assert [each[1:] for each in run.blocks] == [tuple(each) for each in found.blocks]
    assert "machine_monitoring" != name or len(run.blocks) > 2


def test_a_recording_is_the_same_bytes_every_time(runs, tmp_path):
    """Two recordings of a scenario share every byte of the log and of its indexes."""
    again = recorded("machine_monitoring", tmp_path / "again", duration="2s")
    assert again.fingerprint == Run.open(runs / "machine_monitoring").fingerprint
    for name in ("events.arrow", "events.index", "nodes.index"):
        assert (runs / "machine_monitoring" / name).read_bytes() == (tmp_path / "again" / name).read_bytes()
    other = recorded("machine_monitoring", tmp_path / "other", duration="2s", seed=7)
    assert again.fingerprint != other.fingerprint


def test_another_canonical_form_is_noticed(monkeypatch, tmp_path):
    """Planted: a writer that digests dst before src makes runs that xtrace itself finds consistent."""
    real, other = digests.canonical_rows, {"src": "dst", "dst": "src"}
    monkeypatch.setattr(
        digests,
        "canonical_rows",
        lambda batch: real(batch.rename_columns([other.get(name, name) for name in batch.schema.names])),
    )
    recorded("smoke", tmp_path / "run")
    assert [] == verify(tmp_path / "run")
    with pytest.raises(reader.Broken, match="the running digest after block 0"):
        reader.check(tmp_path / "run")


def test_another_order_of_rows_is_noticed(monkeypatch, tmp_path):
    """Planted: digests made of the rows in another order."""
    real = digests.canonical_rows
    monkeypatch.setattr(digests, "canonical_rows", lambda batch: real(batch).take(pa.array(range(len(batch))[::-1])))
    recorded("smoke", tmp_path / "run")
    with pytest.raises(reader.Broken, match="the running digest after block 0"):
        reader.check(tmp_path / "run")


@pytest.mark.parametrize(
    ("name", "offset", "reason"),
    [
        ("SEAL", 40, "SEAL"),
        ("manifest.json", 40, "SEAL"),
        ("events.arrow", 3_000, "events.arrow"),
        ("events.index", 70, "events.index"),
        ("nodes.index", 70, "nodes.index"),
    ],
)
def test_the_other_reader_finds_flipped_bits_too(runs, tmp_path, name, offset, reason):
    """The chain of trust can be followed without xtrace."""
    copy = shutil.copytree(runs / "smoke", tmp_path / "copy")
    data = bytearray((copy / name).read_bytes())
    data[offset] ^= 4
    (copy / name).write_bytes(data)
    with pytest.raises(reader.Broken, match=reason):
        reader.check(copy)
