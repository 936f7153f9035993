"""Descriptors for processes: readable when the process has ended, and never another process's.

A pid may be given to an innocent process as soon as ours was reaped; a pidfd may not. Linux 5.3; elsewhere
open_pidfd() gives None, and the caller signals by pid, which is safe for a child that it has not reaped yet.
"""

import os
import signal


def open_pidfd(pid: int) -> int | None:
    """A descriptor for that process (closed on exec), or None where there are none or it has been reaped."""
    if not hasattr(os, "pidfd_open"):
        return None
    try:
        return os.pidfd_open(pid)
    except OSError:
        return None


def send_signal(pidfd: int, signal_number: int) -> bool:
    """Signal the process; False when it has ended."""
    try:
        signal.pidfd_send_signal(pidfd, signal_number)
    except ProcessLookupError:
        return False
    return True
