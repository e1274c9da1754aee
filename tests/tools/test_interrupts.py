"""Ctrl-C and SIGTERM."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
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


def test_a_signal_after_the_work_does_not_change_the_answer():
    """Whoever interrupts a command that is about to end gets its exit status, not another one."""
    program = (
        "import os, signal, sys, time; from xtrace.tools.cli import main\n"
        "sys.argv = ['xtrace', 'info', 'no-such-run']; status = main()\n"
        "os.kill(os.getpid(), signal.SIGINT); time.sleep(5); sys.exit(status)"
    )
    assert subprocess.run([sys.executable, "-P", "-c", program], check=False, timeout=30).returncode == 2
