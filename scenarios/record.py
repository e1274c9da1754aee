"""Records a scenario: builds its nodes, runs them in lockstep, and leaves a closed run whatever happens on the way."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xtrace.capture.environment import platform_class, versions
from xtrace.capture.flusher import Flusher
from xtrace.capture.layout import MANIFEST, Storage
from xtrace.capture.secrets import Secrets
from xtrace.capture.trust import trust_digest
from xtrace.capture.writer import RunWriter
from xtrace.engine.coordinator import Coordinator, never
from xtrace.engine.errors import InputError, Interrupted, MissingDependency, NodeFailure, StorageError
from xtrace.engine.network import NetworkModel
from xtrace.engine.node import Node, NodeSpec, Setup, Workspace
from xtrace.engine.recorder import NETWORK
from xtrace.engine.registry import NETWORKS, NODES, load
from xtrace.engine.remote import RemoteNode
from xtrace.engine.seeds import derive_seed
from xtrace.engine.watchdog import Watchdog
from xtrace.scenarios.scenario import NetworkSpec, Scenario
from xtrace.scenarios.secrets import provided, redact_failure

GC_ALLOCATIONS = 100_000


@dataclass(frozen=True)
class Recorded:
    """A closed run at `path`. `failure` says which node ended it, if one did."""

    path: Path
    status: str
    fingerprint: str
    events: int
    steps: int
    failure: NodeFailure | None
    warnings: tuple[str, ...] = ()


def record(
    scenario: Scenario,
    out: Path,
    *,
    force: bool = False,
    storage: Storage | None = None,
    should_stop: Callable[[], bool] = never,
    on_progress: Callable[[int, int], None] | None = None,
) -> Recorded:
    """Record `scenario` into the folder `out`.

    A node that fails ends the run with status `failed`, `should_stop` with `interrupted`; both leave a closed run up to
    there. `on_progress` gets the virtual time reached and the duration. Raises InputError for what is wrong
    with the scenario or `out`, and MissingDependency; then nothing is left of the run. Raises StorageError when
    the disk takes no more; it says what is kept.
    """
    about = _about(scenario)
    scenario, secrets = provided(scenario, about=about)
    if force and (out / MANIFEST).is_file():
        dry_run(scenario)  # before the old run is removed
    writer = RunWriter(
        out,
        node_ids=[node.id for node in scenario.nodes],
        about=about,
        force=force,
        storage=storage,
        secrets=secrets,
    )
    facts: dict[str, Any] = {}
    try:
        # The journal is kept up to date until the last node has ended: that may take some time.
        with _naming(out), Flusher(writer.flush), built_nodes(scenario, writer, secrets) as nodes:
            try:
                status, failure = _run(scenario, nodes, writer, should_stop=should_stop, on_progress=on_progress)
                redact_failure(failure, secrets)
            finally:
                facts = _dependencies(nodes)
    except (InputError, MissingDependency):
        writer.discard()
        raise
    except StorageError as stopped:
        writer.salvage(stopped, **facts)
        raise
    except (KeyboardInterrupt, OSError) as error:
        if writer.steps == 0:
            writer.discard()
        else:
            writer.close("interrupted" if isinstance(error, KeyboardInterrupt) else "failed", **facts)
        raise
    except Exception as error:  # a limit, or a mistake in xtrace or a bridge: what was recorded is kept
        writer.close("failed", failure={"node": "", "error": type(error).__name__, "reason": str(error)}, **facts)
        raise
    fingerprint = writer.close(status, failure=_failure_facts(failure), **facts)
    warnings = [scenario.step_warning] if scenario.step_warning else []
    try:
        trust_digest(writer.manifest_digest)
    except OSError as error:
        warnings.append(f"this run is not marked as recorded here, so that replay asks for --trust: {error}")
    return Recorded(out, status, fingerprint, writer.rows_written, writer.steps, failure, tuple(warnings))


@contextmanager
def _naming(folder: Path) -> Iterator[None]:
    """Name `folder` in errors that know no file, such as that of a full disk."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(folder)
        raise


def dry_run(scenario: Scenario) -> None:
    """Build every node and start none. Raises InputError for all that is wrong with the scenario."""
    scenario, _ = provided(scenario, about=_about(scenario))
    with _built(scenario, lambda _: Workspace(scenario.folder, logs=scenario.folder)):
        build_network(scenario.network, seed=scenario.seed)


def build_network(network: NetworkSpec, *, seed: int) -> NetworkModel:
    """Return the network model of a scenario whose seed is `seed`."""
    model: NetworkModel = load(NETWORKS, network.model)(network.options, seed=derive_seed(seed, NETWORK))
    return model


def setup_of(spec: NodeSpec, *, seed: int) -> Setup:
    """Return what a node learns at INIT in a scenario whose seed is `seed`."""
    return Setup(spec.id, spec.type, derive_seed(seed, spec.id), spec.config)


@contextmanager
def built_nodes(scenario: Scenario, writer: RunWriter, secrets: Secrets | None) -> Iterator[dict[str, Node]]:
    """Give every node of `scenario`, its files kept by `writer`, and shut all of them down in the end.

    No log has any of `secrets` in it. Raises InputError for all that is wrong with any of the nodes.
    """
    log_filter = None if secrets is None else secrets.log_filter

    def workspace(node: str) -> Workspace:
        return Workspace(scenario.folder, logs=writer.logs, keep=writer.keep(node), log_filter=log_filter)

    with _built(scenario, workspace) as nodes:
        yield nodes


@contextmanager
def calm_collector() -> Iterator[None]:
    """Let Python's cyclic garbage collector look less often, and past what is there already.

    Lockstep makes many small tuples that live for a step or two and are in no cycle, which a collector at its usual
    pace looks at again and again. Cycles of the user's models are still found.
    """
    thresholds = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_ALLOCATIONS, *thresholds[1:])
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()


def shut_down(nodes: Mapping[str, Node]) -> None:
    """Shut down all nodes; those in other processes end together."""
    for node in nodes.values():
        if isinstance(node, RemoteNode):
            node.begin_shutdown()
    for node in nodes.values():
        node.shutdown()


@contextmanager
def _built(scenario: Scenario, workspace_of: Callable[[str], Workspace]) -> Iterator[dict[str, Node]]:
    nodes: dict[str, Node] = {}
    refused: list[InputError | MissingDependency] = []
    try:
        for spec in scenario.nodes:
            try:
                nodes[spec.id] = load(NODES, spec.implementation)(spec, workspace_of(spec.id))
            except InputError as error:
                refused.append(_with_node(spec.id, error))
            except MissingDependency as error:
                refused.append(error)
        if refused:
            raise _together(refused, where=scenario.name)
        yield nodes
    finally:
        shut_down(nodes)


def _with_node(node: str, error: InputError) -> InputError:
    about = f"node {node!r}"
    return error if error.where.startswith(about) else InputError(f"{about}: {error.where}", error.problems)


def _together(errors: Sequence[InputError | MissingDependency], *, where: str) -> InputError | MissingDependency:
    """Return one error that says what all of `errors` say."""
    if len(errors) == 1 or all(isinstance(error, MissingDependency) for error in errors):
        return errors[0]
    problems: list[str] = []
    for error in errors:
        if isinstance(error, InputError):
            problems += [f"{error.where}: {problem}" for problem in error.problems]
        else:
            problems.append(str(error))
    return InputError(where, problems)


def _run(
    scenario: Scenario,
    nodes: Mapping[str, Node],
    writer: RunWriter,
    *,
    should_stop: Callable[[], bool],
    on_progress: Callable[[int, int], None] | None,
) -> tuple[str, NodeFailure | None]:
    """Run the nodes to the end; return the status of the run and the failure that ended it."""
    coordinator = Coordinator(
        nodes,
        build_network(scenario.network, seed=scenario.seed),
        writer,
        step_us=scenario.step_us,
        duration_us=scenario.duration_us,
        should_stop=should_stop,
        on_step=None if on_progress is None else lambda time_us: on_progress(time_us, scenario.duration_us),
    )
    writer.timing.spent_ns = coordinator.spent_ns
    try:
        with Watchdog(coordinator, should_stop=should_stop):
            coordinator.init({spec.id: setup_of(spec, seed=scenario.seed) for spec in scenario.nodes})
            writer.flush()
            with calm_collector():
                coordinator.run()
    except NodeFailure as failure:
        return "failed", failure
    except (Interrupted, KeyboardInterrupt):
        return "interrupted", None
    return ("interrupted" if coordinator.stopped else "complete"), None


def _about(scenario: Scenario) -> dict[str, object]:
    return {
        "scenario": scenario.document,
        "seed": scenario.seed,
        "step_us": scenario.step_us,
        "duration_us": scenario.duration_us,
        "nodes": {node.id: {"type": node.type, "implementation": node.implementation} for node in scenario.nodes},
        "platform": platform_class(),
    }


def _dependencies(nodes: Mapping[str, Node]) -> dict[str, object]:
    """Return what the run needs besides itself: packages with their versions, and programs that were not copied."""
    programs = {node_id: sorted(node.programs) for node_id, node in nodes.items() if node.programs}
    return {
        "versions": versions(package for node in nodes.values() for package in node.packages),
        "packages": {node_id: sorted(node.packages) for node_id, node in nodes.items() if node.packages},
        "programs": programs,
        "self_contained": not programs,
    }


def _failure_facts(failure: NodeFailure | None) -> dict[str, object] | None:
    if failure is None:
        return None
    return {
        "node": failure.node,
        "error": type(failure).__name__,
        "reason": failure.reason,
        "step": failure.step,
        "time_us": failure.time_us,
    }
