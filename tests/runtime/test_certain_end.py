"""Ends that nothing inside the process can hold up."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from tests.support.processes import is_gone
from tests.support.waiting import wait_until

SETUP = """
import ctypes, os, signal, subprocess, sys, threading, time
from ourvidz_worker.runtime import certain_end
certain_end.KERNEL_MARGIN = 0.1
"""


def ended(script: str) -> int:
    return subprocess.run([sys.executable, "-c", SETUP + script], check=False, timeout=30.0).returncode


def test_a_process_that_never_ends_is_ended_with_its_exit_code() -> None:
    script = """
threading.Thread(target=threading.Event().wait).start()
certain_end.end_within(0.05, 75)
threading.Event().wait()
"""
    assert ended(script) == 75


def test_a_process_whose_interpreter_is_locked_is_ended_by_the_kernel() -> None:
    """`PyDLL` keeps the lock during the call, so that no thread of Python's runs any more."""
    assert ended("certain_end.end_within(0.05, 75); ctypes.PyDLL(None).sleep(60)") == -signal.SIGALRM


def test_a_process_that_ends_by_itself_ends_as_it_wants() -> None:
    assert ended("certain_end.end_within(60, 75); sys.exit(3)") == 3


def test_a_child_ends_with_its_parent(tmp_path: Path) -> None:
    """Before it has done anything else about it, too."""
    told = tmp_path / "pid"
    child = (
        SETUP
        + f"""
certain_end.signal_when_parent_ends(signal.SIGTERM)
with open({str(told)!r} + ".part", "w") as file:
    file.write(str(os.getpid()))
os.rename(file.name, {str(told)!r})
time.sleep(60)
"""
    )
    parent = SETUP + f"child = subprocess.Popen([sys.executable, '-c', {child!r}]); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", parent]) as process:
        wait_until(told.exists, "the start of the child")
        process.kill()
    wait_until(lambda: is_gone(int(told.read_text())), "the end of the child")
