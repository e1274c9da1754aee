"""Replays one node of a run alone, from the run alone: no other node, no network, no scenario file is needed."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from xtrace.capture.environment import platform_class, versions
from xtrace.capture.layout import MANIFEST
from xtrace.capture.reader import Run
from xtrace.capture.secrets import Secrets
from xtrace.capture.shape import REPLAYABLE, misfit
from xtrace.capture.trust import trust_digest
from xtrace.capture.writer import RunWriter
from xtrace.engine.coordinator import never
from xtrace.engine.errors import CorruptionError, InputError, NodeFailure
from xtrace.engine.node import Node, Setup, Workspace, keep_in_place
from xtrace.engine.recorder import NETWORK, Row
from xtrace.engine.registry import NODES, load, unknown
from xtrace.engine.watchdog import Watchdog
from xtrace.golden.divergence import Divergence
from xtrace.replay.network import replay_network
from xtrace.replay.node import IsolatedNode
from xtrace.replay.payloads import Given, without_secrets
from xtrace.replay.restored import Restored, restored
from xtrace.replay.steps import ReplayedStep, Tally, within
from xtrace.scenarios.loader import from_document
from xtrace.scenarios.overrides import apply_override
from xtrace.scenarios.record import build_network, setup_of
from xtrace.scenarios.scenario import Scenario
from xtrace.scenarios.secrets import find_values, redact_failure, told
from xtrace.scenarios.yaml_file import parse_value

PLACE = "the working directory or the run"
"""Where a replay looks for files."""
UNKNOWN_SECRET = "its placeholder is used, with which a node may do something else"


@dataclass(frozen=True)
class Replayed:
    """What a replay found. `failure` is how the node failed now; `expected_failure` says that it did when recorded.

    `warnings` say what was not as when it was recorded, in this place.
    """

    node: str
    identical: bool
    steps: int
    inputs: int
    outputs: int
    divergence: Divergence | None
    failure: NodeFailure | None
    expected_failure: bool
    warnings: tuple[str, ...] = ()


def replay_node(
    run: Run,
    node: str,
    *,
    changes: Sequence[str] = (),
    changes_folder: Path = Path(),
    out: Path | None = None,
    from_us: int | None = None,
    to_us: int | None = None,
) -> Replayed:
    """Run `node` of `run` again on its recorded inputs and compare what it does with what it did.

    `changes` (`config.window=3`, `model=other.py:Class`) give it something else first; files that they name lie in
    `changes_folder`, and those that secrets come from. `out` takes what it was given and did as a run of its own;
    without it the replay ends soon after the first divergence. Only steps that end after `from_us` are compared, and
    the replay ends with the first that ends at `to_us` or later: what comes after is not even read. Raises InputError
    for an unknown node or a change that can't be, CorruptionError.
    """
    _check_node(run, node)
    tally = Tally(run.payload)
    with restored(run, node) as files:
        alone = _network_scenario if node == NETWORK else _node_scenario
        scenario = alone(run, node, changes, files.folder)
        found = find_values(scenario, folder=changes_folder)
        if found.exposed:
            raise InputError(str(run.path), [f"secrets.{name}: {problem}" for name, problem in found.exposed.items()])
        secrets = Secrets(found.values) if found.values else None
        writer = _writer(run, node, out, secrets) if out is not None else None

        def follow(steps: Iterator[ReplayedStep]) -> None:
            bounded = within(without_secrets(steps, secrets), from_us=from_us, to_us=to_us)
            written = _written(bounded, writer, run)
            tally.follow(written, to_the_end=writer is not None)

        given = Given(run, secrets)
        failure = None
        if node == NETWORK:
            follow(replay_network(run, build_network(scenario.network, seed=run.seed), given))
        else:
            located = {**files.located, **_located(run, node, files, _named_files(changes, changes_folder))}
            workspace = _workspace(files.folder, located, writer, node, secrets)
            with _built(told(scenario, found), workspace, seed=run.seed) as (built, setup):
                isolated = IsolatedNode(run, node, built, given)
                with Watchdog(isolated, should_stop=never):
                    isolated.init(setup)
                    follow(isolated.steps())
                failure = isolated.failure
    redact_failure(failure, secrets)
    if writer is not None:
        _close(writer, _status(run, failure, whole=to_us is None))
    return Replayed(
        node=node,
        identical=tally.divergence is None,
        steps=tally.steps,
        inputs=tally.inputs,
        outputs=tally.outputs,
        divergence=tally.divergence,
        failure=failure,
        expected_failure=failure is not None and tally.divergence is None,
        warnings=tuple(f"secret {name!r}: {why}; {UNKNOWN_SECRET}" for name, why in found.missing.items()),
    )


def _check_node(run: Run, node: str) -> None:
    if node not in run.nodes:
        raise InputError(str(run.path), unknown(node, run.nodes, "node"))
    alone = run.manifest.get("replayed", node)
    if alone != node:
        raise InputError(str(run.path), f"is a replay of node {alone!r} alone: no other node can be replayed from it")
    place = misfit(run.manifest, REPLAYABLE)
    if place:
        raise CorruptionError(run.path / MANIFEST, f"what a replay needs is missing or wrong: {place[1:]}")


def _close(writer: RunWriter, status: str) -> None:
    writer.close(status, versions=versions(), self_contained=True, programs={}, packages={})
    with suppress(OSError):  # then a replay of this replay asks for --trust
        trust_digest(writer.manifest_digest)


def _status(run: Run, failure: NodeFailure | None, *, whole: bool) -> str:
    """Return how a replay ended: with a failure of its own, or where the record ends."""
    if failure is not None:
        return "failed"
    return "complete" if run.status == "complete" and whole else "interrupted"


def _node_scenario(run: Run, node: str, changes: Sequence[str], folder: Path) -> Scenario:
    """Return the recorded scenario with `node` alone in it, and with `changes`."""
    document = run.manifest["scenario"]
    found = [each for each in document["nodes"] if each["id"] == node]
    if not found:
        raise CorruptionError(run.path / MANIFEST, f"the scenario has no node {node!r}")
    entry: dict[str, Any] = found[0]
    for change in changes:
        if change.partition("=")[0].strip() == "implementation":  # its options are not those of the one before
            entry = {key: entry[key] for key in ("id", "type", "config") if key in entry}
        entry = apply_override(entry, change, option="--with")
    if entry["id"] != node:
        raise InputError("--with", "the id of a node can't be changed in a replay")
    alone = {**document, "network": {"model": "direct"}, "step": f"{run.manifest['step_us']}us", "nodes": [entry]}
    ids = [each["id"] for each in document["nodes"]]
    return from_document(alone, folder=folder, where=f"{run.path}: node {node!r}", known_nodes=ids)


def _network_scenario(run: Run, node: str, changes: Sequence[str], folder: Path) -> Scenario:
    """Return the recorded scenario with its network, changed by `changes`, and stand-ins for the nodes."""
    document = run.manifest["scenario"]
    network: dict[str, Any] = document["network"]
    for change in changes:
        network = apply_override(network, change, option="--with")
    nodes = [
        {"id": each["id"], "type": each["type"], "implementation": "python_model", "model": "absent.py:Absent"}
        for each in document["nodes"]
    ]
    alone = {**document, "network": network, "nodes": nodes}
    return from_document(alone, folder=folder, where=f"{run.path}: {node}")


def _workspace(
    folder: Path, located: Mapping[str, Path], writer: RunWriter | None, node: str, secrets: Secrets | None
) -> Workspace:
    return Workspace(
        folder,
        logs=folder.parent / "logs" if writer is None else writer.logs,
        keep=keep_in_place if writer is None else writer.keep(node),
        located=located,
        place=PLACE,
        log_filter=None if secrets is None else secrets.log_filter,
    )


@contextmanager
def _built(scenario: Scenario, workspace: Workspace, *, seed: int) -> Iterator[tuple[Node, Setup]]:
    """Give the one node of `scenario` and what it learns at INIT, and shut it down in the end."""
    (spec,) = scenario.nodes
    node: Node = load(NODES, spec.implementation)(spec, workspace)
    try:
        yield node, setup_of(spec, seed=seed)
    finally:
        node.shutdown()


def _named_files(changes: Sequence[str], folder: Path) -> dict[str, Path]:
    """Return the files that changes name, such as `model=other.py:Class`, and where they lie."""
    named: dict[str, Path] = {}
    for change in changes:
        value = parse_value(change.partition("=")[2], where=f"--with {change}")
        for text in value if isinstance(value, list) else [value]:
            for name in (str(text), str(text).rpartition(":")[0]):
                if name and (folder / name).is_file():
                    named[name] = (folder / name).absolute()
    return named


def _located(run: Run, node: str, files: Restored, named: Mapping[str, Path]) -> dict[str, Path]:
    """Return where files lie that changes name, and for Python files what they may import from beside them.

    That is what lies there, else the files that were recorded beside the model that is replaced.
    """
    found: dict[str, Path] = {}
    recorded = [name for name in run.manifest["artefacts"].get(node, {}) if name.endswith(".py")]
    for name, file in named.items():
        if file.suffix == ".py":
            beside = {PurePosixPath(each).name: files.folder / each for each in recorded}
            beside |= {path.name: path for path in sorted(file.parent.glob("*.py"))}
            found |= {posixpath.join(posixpath.dirname(name), sibling): path for sibling, path in beside.items()}
    return {**found, **named}


def _writer(run: Run, node: str, out: Path, secrets: Secrets | None) -> RunWriter:
    kept = ("scenario", "seed", "step_us", "duration_us", "nodes")
    about = {key: run.manifest[key] for key in kept}
    about |= {"platform": platform_class(), "replay_of": run.fingerprint, "replayed": node}
    return RunWriter(out, node_ids=sorted(run.manifest["nodes"]), about=about, secrets=secrets)


def _written(steps: Iterator[ReplayedStep], writer: RunWriter | None, run: Run) -> Iterator[ReplayedStep]:
    """Pass `steps` on, each written to `writer` first, with payloads that are objects of `run`."""
    for step in steps:
        if writer is not None:
            rows = [*step.given, *step.actual]
            for kind in ("input", "output", "drop", "abort"):
                chosen = [row for row in rows if row.kind == kind]
                _append(writer, step.step, kind, chosen, [run.payload(row) for row in chosen])
            writer.end_step(step.step, step.time_us)
        yield step


def _append(writer: RunWriter, step: int, kind: str, rows: Sequence[Row], payloads: Sequence[bytes]) -> None:
    if rows:
        writer.append(
            step,
            kind,
            time_us=[row.time_us for row in rows],
            node=[row.node for row in rows],
            src=[row.src for row in rows],
            dst=[row.dst for row in rows],
            type=[row.type for row in rows],
            late_us=[row.late_us for row in rows],
            payload=payloads,
            cause=[()] * len(rows),
        )
