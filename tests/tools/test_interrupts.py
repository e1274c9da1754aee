"""Ctrl-C and SIGTERM."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from xtrace.tools import interrupts


@pytest.mark.parametrize("number", interrupts.SIGNALS)
def test_the_first_signal_asks_and_the_second_insists(number, capfd):
    before = signal.getsignal(number)
    with interrupts.polite() as asked:
        assert not asked()
        os.kill(os.getpid(), number)
        assert asked()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
    assert signal.getsignal(number) is before
    assert "once more stops at once" in capfd.readouterr().err


@pytest.mark.parametrize("number", interrupts.SIGNALS)
def test_elsewhere_a_signal_raises_at_once(number):
    with pytest.raises(KeyboardInterrupt), interrupts.raising():
        os.kill(os.getpid(), number)


def test_outside_of_the_main_thread_handlers_are_left_alone():
    found = []

    def work():
        with interrupts.polite() as asked:
            found.append(asked())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(10)
    assert found == [False]
