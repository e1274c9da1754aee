"""Any node of a run, run again alone: the same to the bit, or the first event that is not."""

from __future__ import annotations

import json
import shutil

import pytest
from tests.capture.runs import small_blocks
from tests.capture.test_integrity import reseal
from tests.replay.systems import HELPER, document, node, recorded, write_system

from xtrace.capture.reader import Run
from xtrace.engine.errors import CorruptionError, InputError
from xtrace.engine.values import decode
from xtrace.golden.compare import compare
from xtrace.replay.isolation import replay_node
from xtrace.scenarios.loader import load
from xtrace.scenarios.record import record

NODES = ("filter", "network", "sink", "source")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A complete run of several blocks, whose scenario is gone."""
    folder = tmp_path_factory.mktemp("replay")
    with pytest.MonkeyPatch.context() as patch:
        small_blocks(patch, 60)
        opened, done = recorded(folder, document())
    assert ("complete", None) == (done.status, done.failure)
    assert len(opened.blocks) > 3
    shutil.rmtree(folder / "system")
    return opened


def rows_of(run, node, kind="output"):
    return [each.row for each in run.rows() if each.row.node == node and each.row.kind == kind]


@pytest.mark.parametrize("node", NODES)
def test_every_node_replays_without_its_scenario(run, node):
    """The run alone is enough, though the folder of the scenario is deleted."""
    again = replay_node(run, node)
    assert (True, None, None, False) == (again.identical, again.divergence, again.failure, again.expected_failure)
    assert again.steps > 20
    if node != "network":
        assert (len(rows_of(run, node, "input")), len(rows_of(run, node))) == (again.inputs, again.outputs)


def test_a_moved_run_replays(run, tmp_path):
    """Nothing in a run depends on where it lies."""
    moved = Run.open(shutil.copytree(run.path, tmp_path / "far" / "away"))
    assert all(replay_node(moved, node).identical for node in NODES)


def test_an_unknown_node_gets_a_suggestion(run):
    with pytest.raises(InputError, match="unknown node 'filtre'; did you mean 'filter'"):
        replay_node(run, "filtre")


def test_a_node_whose_options_name_another_replays_without_it(tmp_path):
    meter = {"id": "meter", "type": "meter", "implementation": "csv", "file": "helper.csv", "send_to": "sink"}
    meter |= {"time_column": "t", "time_format": "ms", "value_columns": ["total"]}
    content = {**document(), "nodes": [meter, node("sink", "parts.py:Sink"), node("other", "parts.py:Sink")]}
    path = write_system(tmp_path / "system", content)
    (path.parent / "helper.csv").write_text("t,total\n0,3\n5,4\n")
    record(load(path), tmp_path / "run")
    run = Run.open(tmp_path / "run")
    assert (True, 2) == (replay_node(run, "meter").identical, replay_node(run, "meter").outputs)
    assert "dst" == replay_node(run, "meter", changes=["send_to=other"]).divergence.field
    with pytest.raises(InputError, match=r"nodes\[0\].send_to: unknown node 'snik'; did you mean 'sink'"):
        replay_node(run, "meter", changes=["send_to=snik"])


def test_a_changed_configuration_diverges_at_the_first_event_it_changes(run):
    """Step, time, event and field: the first sum with a die other than 0."""
    again = replay_node(run, "filter", changes=["config.gain=4"])
    first = next(row for row in rows_of(run, "filter") if decode(row.payload)["total"])
    found = again.divergence
    assert not again.identical
    assert (first.step, first.time_us, "filter", "sum") == (found.step, found.time_us, found.node, found.type)
    assert "value" == found.kind
    total = decode(first.payload)["total"]
    assert ("$.total", total, total // 3 * 4) == (found.field, found.expected, found.actual)


def test_a_part_of_the_time_is_replayed_and_compared(run):
    """What the node does before is not compared, and what comes after is not done."""
    times = [row.time_us for row in rows_of(run, "filter")]
    middle = times[len(times) // 2]
    later = replay_node(run, "filter", changes=["config.gain=4"], from_us=middle)
    assert later.divergence.time_us >= middle
    earlier = replay_node(run, "filter", to_us=middle)
    assert earlier.identical
    assert 0 < earlier.outputs < len(times)
    first = next(row for row in rows_of(run, "filter") if decode(row.payload)["total"])
    before = first.time_us - 2 * run.manifest["step_us"]
    assert replay_node(run, "filter", changes=["config.gain=4"], to_us=before).identical


def test_blocks_behind_the_end_are_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr("xtrace.capture.writer.BLOCK_MIN_ROWS", 20)
    monkeypatch.setattr("xtrace.capture.writer.BLOCK_MAX_ROWS", 20)
    run, _ = recorded(tmp_path, document())
    assert len(run.blocks) > 8
    end_us = run.blocks[2].max_time_us
    before = run.blocks_read
    assert replay_node(run, "filter", to_us=end_us).identical
    assert run.blocks_read - before <= 5, "three, one ahead, and the last one, which says how the run ended"


def test_a_change_of_the_time_is_seen_as_one(run):
    """A delay moves the event."""
    found = replay_node(run, "filter", changes=["config.delay_us=301"]).divergence
    sent_us = rows_of(run, "filter")[0].time_us
    assert ("time", "time_us", sent_us, sent_us + 1) == (found.kind, found.field, found.expected, found.actual)


def test_what_comes_after_the_last_recorded_step_is_seen_too(tmp_path):
    """A node that was silent at the end and now speaks diverges, though no step was recorded there."""
    content = document()
    content["network"] = {"model": "direct"}
    content["nodes"][0]["config"]["until"] = 10
    run, _ = recorded(tmp_path, content)
    last = [each.row for each in run.rows()][-1].step
    found = replay_node(run, "source", changes=["config.until=70"]).divergence
    assert ("extra", 10_000, {"count": 11}) == (found.kind, found.time_us, {"count": found.actual["payload"]["count"]})
    silent = [f"config.{key}" for key in ("period_us=1000", "until=10")]
    assert replay_node(run, "source", changes=silent).identical
    late = replay_node(run, "sink", changes=["model=late.py:Late"], changes_folder=late_model(tmp_path))
    assert last < late.divergence.step
    assert ("extra", 50_000) == (late.divergence.kind, late.divergence.time_us)


def late_model(folder):
    (folder / "late.py").write_text(
        "from xtrace.engine.model import Model\n"
        "class Late(Model):\n"
        "    def on_init(self):\n"
        "        self.schedule(50_000, self.observe, 'late', None)\n"
        "    def on_event(self, event):\n"
        "        self.observe('seen', [event.payload['total'], self.random.random()])\n"
    )
    return folder


def test_another_class_takes_the_place_of_the_recorded_one(run, tmp_path):
    """`model=changed.py:Filter` is looked for in the folder of the change, its own imports in the run."""
    wrong = decode(rows_of(run, "filter")[20].payload)["of"]
    source = (
        "from xtrace.engine.model import Model\n"
        "from helper import scaled\n"
        "class Filter(Model):\n"
        "    def on_init(self):\n"
        "        self.total = 0\n"
        "    def on_event(self, event):\n"
        "        self.total += scaled(event.payload['dice'], self.config['gain'])\n"
        "        lie = self.total + (event.payload['count'] == COUNT)\n"
        "        self.send('sink', 'sum', {'total': lie, 'of': event.payload['count']}, delay_us=300)\n"
    )
    (tmp_path / "changed.py").write_text(source.replace("COUNT", str(wrong)))
    found = replay_node(run, "filter", changes=["model=changed.py:Filter"], changes_folder=tmp_path).divergence
    assert ("$.total", found.expected + 1) == (found.field, found.actual)
    assert rows_of(run, "filter")[20][:2] == (found.step, found.time_us)
    (tmp_path / "changed.py").write_text(source.replace("COUNT", "0"))
    assert replay_node(run, "filter", changes=["model=changed.py:Filter"], changes_folder=tmp_path).identical


@pytest.mark.parametrize("name", ["changed.py", "./changed.py", "new/changed.py"])
def test_what_lies_beside_changed_code_comes_before_what_was_recorded(run, tmp_path, name):
    """However the file is spelt, it imports the helper beside it; without one, the recorded helper."""
    source = run.objects.path(run.manifest["artefacts"]["filter"]["models/parts.py"])
    folder = (tmp_path / name).parent
    folder.mkdir(exist_ok=True)
    (folder / "changed.py").write_bytes(source.read_bytes())
    change = {"changes": [f"model={name}:Filter"], "changes_folder": tmp_path}
    assert replay_node(run, "filter", **change).identical
    (folder / "helper.py").write_text("def scaled(value, gain):\n    return value * gain + 1\n")
    assert not replay_node(run, "filter", **change).identical


def test_a_replay_holds_no_other_node(run, tmp_path):
    """What a replay wrote says that it is one, and of which node."""
    replay_node(run, "filter", out=tmp_path / "alone")
    replayed = Run.open(tmp_path / "alone")
    assert replay_node(replayed, "filter").identical
    with pytest.raises(InputError, match="is a replay of node 'filter' alone"):
        replay_node(replayed, "sink")


def test_a_change_that_can_not_be_is_an_input_error(run):
    """Unknown options, missing files and another id are refused before anything runs."""
    for change in ("modl=x.py:X", "model=missing.py:X", "id=other", "nonsense", "implementation=nope"):
        with pytest.raises(InputError):
            replay_node(run, "filter", changes=[change])


@pytest.mark.parametrize("node", NODES)
def test_a_replay_is_a_run_that_can_be_compared(run, node, tmp_path):
    """-o writes what the node was given and did; compared for this node, both runs are identical."""
    replay_node(run, node, out=tmp_path / "again")
    again = Run.open(tmp_path / "again")
    assert compare(run, again, nodes=[node]).identical
    change = {
        "filter": "config.gain=4",
        "source": "config.period_us=999",
        "network": "loss=0.5",
        "sink": "config={a: 1}",
    }
    replay_node(run, node, out=tmp_path / "changed", changes=[change[node]])
    same = compare(run, Run.open(tmp_path / "changed"), nodes=[node]).identical
    assert (node == "sink") == same, "the sink has no use for its configuration"


@pytest.mark.parametrize("change", ["base=20ms", "jitter=0s", "loss=0.9", "loss=0", "bandwidth=50kbps"])
def test_another_network_diverges_at_the_first_message_it_treats_otherwise(run, change):
    """The network gets the recorded messages; the first delivery or drop that differs is named."""
    again = replay_node(run, "network", changes=[change])
    assert not again.identical
    assert again.divergence.row_kind in (("input", "drop") if "loss" in change else ("input",))
    assert again.divergence.step < 15


@pytest.mark.parametrize("base", ["20ms", "50ms", "2h"])
def test_a_network_change_is_written_to_its_end(tmp_path, base):
    """With -o every message has its end, also where the record has no step any more."""
    content = document()
    content["nodes"][0]["config"]["until"] = 10
    run, _ = recorded(tmp_path, content)
    assert "end_of_run" not in {decode(row.payload)["reason"] for row in rows_of(run, "network", "drop")}
    replay_node(run, "network", changes=[f"base={base}"], out=tmp_path / "slow")
    kinds = [each.row.kind for each in Run.open(tmp_path / "slow").rows()]
    sent = [each for each in run.rows() if each.row.kind == "output" and each.row.dst]
    assert len(sent) == kinds.count("input") + kinds.count("drop")


def damage(folder, block):
    record = Run.open(folder).blocks[block]
    with (folder / "events.arrow").open("r+b") as file:
        file.seek(record.offset + record.length // 2)
        byte = file.read(1)
        file.seek(-1, 1)
        file.write(bytes([byte[0] ^ 1]))


def test_corruption_matters_only_where_the_block_is_needed(tmp_path, monkeypatch):
    """A node that was silent in a damaged block replays; one that was active there is refused, with the block."""
    small_blocks(monkeypatch, 30)
    content = document()
    content["nodes"].append(node("early", "parts.py:Source", period_us=1_000, until=3))
    run, _ = recorded(tmp_path, content)
    active = {record.block for record in run.node_records if record.node == "early"}
    block = next(each for each in range(2, len(run.blocks) - 1) if each not in active)
    damage(run.path, block)
    assert replay_node(Run.open(run.path), "early").identical
    for name in ("filter", "network"):
        with pytest.raises(CorruptionError, match=f"block {block}"):
            replay_node(Run.open(run.path), name)


def test_a_damaged_object_is_never_executed(run, tmp_path):
    """The code of a node is verified before it runs; nodes without it are not concerned."""
    copy = shutil.copytree(run.path, tmp_path / "copy")
    name = run.manifest["artefacts"]["filter"]["helper.py"]
    (copy / "objects" / name).write_text(HELPER.replace("*", "+"))
    with pytest.raises(CorruptionError, match="the content is not what its name says"):
        replay_node(Run.open(copy), "filter")
    assert replay_node(Run.open(copy), "network").identical


HOSTILE = [
    *("../../x", "/etc/x", "a/../../../x", "./../x", "..", "../..", ".", "/", ""),
    *("a\0b", "models", "models/parts.py/x", "x" * 300),
]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_write_nothing_outside(run, tmp_path, monkeypatch, name):
    """Whatever an artefact of a manifest is called, it is written below the temporary folder, or the run is refused."""
    copy = shutil.copytree(run.path, tmp_path / "runs" / "copy")
    temporary = tmp_path / "a" / "b" / "c"
    temporary.mkdir(parents=True)
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr("tempfile.tempdir", None)
    digest = run.manifest["artefacts"]["sink"]["helper.py"]
    reseal(copy, lambda data: data["artefacts"]["sink"].update({name: digest}))
    before = everything(tmp_path)
    try:
        assert replay_node(Run.open(copy), "sink").identical
    except (CorruptionError, InputError):
        pass
    assert before == everything(tmp_path), "nothing new, nothing left"


def everything(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data.pop("step_us"),
        lambda data: data.update(step_us=0),
        lambda data: data.update(duration_us="1s"),
        lambda data: data.update(scenario=None),
        lambda data: data["scenario"].update(nodes=[]),
        lambda data: data["scenario"].update(nodes=[5]),
        lambda data: data["scenario"]["nodes"][0].pop("id"),
        lambda data: data["scenario"].pop("network"),
        lambda data: data["scenario"]["nodes"][1].update(implementation=5),
        lambda data: data["artefacts"].clear(),
    ],
)
def test_a_sealed_manifest_that_makes_no_sense_is_refused(run, tmp_path, change):
    """A clear error and no traceback, whatever somebody wrote and sealed."""
    copy = shutil.copytree(run.path, tmp_path / "copy")
    reseal(copy, change)
    refused = 0
    for name in ("sink", "network"):
        try:
            replay_node(Run.open(copy), name)
        except (CorruptionError, InputError):
            refused += 1
    assert refused > 0


def test_files_that_were_named_outside_of_the_scenario_are_found_again(tmp_path):
    """A model above the scenario's folder is part of the run, under the name that the scenario gave it."""
    content = document()
    content["nodes"][2]["model"] = "../shared.py:Sink"
    (tmp_path / "shared.py").write_text(
        "from xtrace.engine.model import Model\n"
        "class Sink(Model):\n"
        "    def on_event(self, event):\n"
        "        self.observe('n', 1)\n"
    )
    run, _ = recorded(tmp_path, content)
    (tmp_path / "shared.py").unlink()
    shutil.rmtree(tmp_path / "system")
    assert "../shared.py" in run.manifest["artefacts"]["sink"]
    assert replay_node(run, "sink").identical


def test_the_manifest_is_plain_json(run):
    """What replay builds nodes from is readable by anybody."""
    assert json.loads((run.path / "manifest.json").read_text()) == run.manifest
