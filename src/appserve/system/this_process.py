"""What the kernel is told of this process: its name, and the signal that it gets when its parent dies.

The signal comes also while C code runs, so a busy worker does not outlive its master unnoticed. Three traps:
the setting is cleared when the process changes its user, so it is made after that; it belongs to the parent's
*thread* that forked; and a parent that died before the call sends nothing, so the caller looks at getppid()
afterwards.
"""

import re
import sys

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def set_title(title: str) -> None:
    """Name this process as ps and top show it; a system that cannot do it changes nothing."""
    # Here, because the first import copies the environment out of the way of the title.
    try:
        from setproctitle import setproctitle

        setproctitle(_CONTROL.sub("?", title))
    except Exception:  # a name is never worth a process
        pass


def signal_on_parent_death(signal_number: int) -> bool:
    """Request that signal when the parent dies (0 cancels it). False where it is not supported."""
    if not sys.platform.startswith("linux"):
        return False
    # Here, because the import takes one or two milliseconds that not every process needs to pay.
    try:
        import ctypes

        return int(ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal_number), 0, 0, 0)) == 0
    except (ImportError, OSError, AttributeError):
        return False  # Python without libffi, or a C library without prctl
