"""Errors carry facts, write the sentence, and know the exit status."""

from __future__ import annotations

from pathlib import Path

import pytest

from xtrace.engine import errors
from xtrace.engine.errors import (
    CorruptionError,
    InputError,
    Interrupted,
    MissingDependency,
    NodeCrashed,
    NodeFailure,
    NodeTimeout,
    ProtocolError,
    XtraceError,
)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (XtraceError, 2),
        (InputError, 2),
        (MissingDependency, 2),
        (CorruptionError, 2),
        (NodeFailure, 1),
        (NodeCrashed, 1),
        (NodeTimeout, 1),
        (ProtocolError, 1),
        (Interrupted, 130),
    ],
)
def test_exit_statuses(kind, expected):
    """1 says that the user's system failed, 2 that xtrace could not answer."""
    assert expected == kind.exit_status


def test_the_docstring_draws_every_error():
    """The picture in the module names every class there is."""
    names = [name for name, each in vars(errors).items() if isinstance(each, type) and issubclass(each, Exception)]
    assert [] == [name for name in names if name not in (errors.__doc__ or "")]


def test_one_mistake_is_a_line_and_several_are_a_list():
    """All mistakes of an input are shown at once."""
    assert "a.yaml: wrong" == str(InputError("a.yaml", "wrong"))
    assert ["wrong"] == InputError("a.yaml", "wrong").problems
    assert "a.yaml: 2 mistakes\n  one\n  two" == str(InputError("a.yaml", ["one", "two"]))


def test_corruption_names_the_place():
    """File, block, offset and length are in the text and in the attributes."""
    error = CorruptionError("run/events.arrow", "bad", offset=8, length=5, block=3)
    assert "run/events.arrow: block 3, offset 8 (+5 bytes): bad" == str(error)
    assert (Path("run/events.arrow"), 8, 5, 3) == (error.file, error.offset, error.length, error.block)
    assert "x: offset 0: bad" == str(CorruptionError("x", "bad"))


def test_a_failure_names_the_node_and_when_it_is_known_the_virtual_time():
    """The coordinator fills in step and time."""
    failure = NodeTimeout("edge", "no answer", hint="look at its log")
    assert "node 'edge' did not answer: no answer\n  look at its log" == str(failure)
    failure.step, failure.time_us = 4, 3_000
    assert str(failure).startswith("node 'edge' did not answer in step 4, virtual time 0.003000s: no answer")


def test_a_missing_dependency_says_how_to_get_it():
    """The next command to type is part of the error."""
    text = str(MissingDependency("onnxruntime", needed_by="node 'edge'", install="pip install x"))
    assert "node 'edge' needs onnxruntime, which is not installed; get it with: pip install x" == text
