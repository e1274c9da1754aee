"""Progress is shown when it takes long, renewed on a terminal and in plain lines elsewhere."""

from __future__ import annotations

import io

import pytest

from xtrace.tools.output import Console
from xtrace.tools.progress import Progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def test_what_is_quick_is_not_reported(clock):
    err = Terminal()
    progress = Progress(Console(err=err), "demo", clock=clock)
    clock.now += 0.9
    progress(1, 10)
    progress.close()
    assert err.getvalue() == ""


def test_a_terminal_shows_a_bar_that_goes_away(clock):
    err = Terminal()
    progress = Progress(Console(err=err), "demo", clock=clock)
    clock.now += 2
    progress(2_000_000, 10_000_000)
    progress(2_000_001, 10_000_000)
    clock.now += 0.3
    progress(5_000_000, 10_000_000)
    shown = err.getvalue()
    assert "demo" in shown
    assert "20% of 10 virtual seconds" in shown
    assert "50%" in shown
    progress.close()
    assert err.getvalue().removeprefix(shown).count("\n") <= 1


@pytest.mark.parametrize(("stream", "ci"), [(io.StringIO, False), (Terminal, True)])
def test_elsewhere_a_plain_line_comes_now_and_then(stream, ci, clock):
    err = stream()
    progress = Progress(Console(err=err, ci=ci), "demo", clock=clock)
    for _ in range(25):
        clock.now += 1
        progress(1_000_000, 2_000_000)
    progress.close()
    assert [line[:30] for line in err.getvalue().splitlines()] == ["demo: virtual time 1.000 s of "] * 2
    assert "\r" not in err.getvalue()
    assert "\x1b" not in err.getvalue()
