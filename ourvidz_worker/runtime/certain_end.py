"""Ends of this process that nothing inside it can hold up."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
KERNEL_MARGIN = 1.0


def end_within(seconds: float, exit_code: int) -> None:
    """Whatever still runs, this process is gone with `exit_code` after `seconds`."""
    timer = threading.Timer(seconds, os._exit, (exit_code,))
    timer.daemon = True
    timer.start()
    # A call that holds the interpreter's lock holds up every thread; the kernel's alarm needs no lock.
    signal.setitimer(signal.ITIMER_REAL, seconds + KERNEL_MARGIN)


def signal_when_parent_ends(number: signal.Signals) -> None:
    """Have the kernel send this signal when the parent ends; where there is no Linux, do nothing.

    A parent that ended before this call sends none.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(number))
