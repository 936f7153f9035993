"""A signal for a process whose parent dies, so that a busy worker does not outlive its master unnoticed.

It comes from the kernel, also while C code runs. Three traps: the setting is cleared when the process
changes its user, so it is made after that; it belongs to the parent's *thread* that forked; and a parent that
died before the call sends nothing, so the caller looks at getppid() afterwards.
"""

import sys

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def signal_on_parent_death(signal_number: int) -> bool:
    """Ask the kernel for that signal when the parent dies (0: take it back). False where it cannot be had."""
    if not sys.platform.startswith("linux"):
        return False
    # Here, because the import takes one or two milliseconds that not every process needs to pay.
    try:
        import ctypes

        return int(ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal_number), 0, 0, 0)) == 0
    except (ImportError, OSError, AttributeError):
        return False  # Python without libffi, or a C library without prctl
