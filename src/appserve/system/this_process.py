"""What the kernel knows of this process: its name, where its signals go, and the signal that it gets when
its parent dies.

That signal comes also while C code runs, so a busy worker does not outlive its master unnoticed. Three traps:
the setting is cleared when the process changes its user, so it is made after that; it belongs to the parent's
*thread* that forked; and a parent that died before the call sends nothing, so the caller looks at getppid()
afterwards.
"""

import re
import signal
import socket
import sys
from contextlib import suppress

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


class Wakeup:
    """Signals as something to read: each one puts its number into a socket that a loop can wait for.
    `fileno()` is readable after a signal that has a Python handler.

    The C handler writes it, also while Python code is busy, so the loop never misses one that came just
    before it slept. signalfd(2) would need all signals blocked in all threads, and the application's children
    would inherit that.

    A forked child shares the pair, and its signals would show up in the parent's: it calls
    `signal.set_wakeup_fd(-1)` first of all, and makes its own.
    """

    __slots__ = ("_reader", "_writer")

    def __init__(self) -> None:
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)

    def fileno(self) -> int:
        return self._reader.fileno()

    def wake(self) -> None:
        """Make it readable as a signal does; without effect when it is full, and so readable, or closed."""
        with suppress(OSError):
            self._writer.send(b"\0")

    def arm(self) -> None:
        """From now on signals are written here. Main thread only."""
        # A full buffer loses nothing that matters: the loop is about to be woken anyway, and thousands of one
        # signal mean what one means.
        signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)

    def disarm(self) -> None:
        """Write signals nowhere."""
        signal.set_wakeup_fd(-1)

    def read(self) -> bytes:
        """The numbers of the signals since the last read, in order, a byte each; b"" when there were none."""
        try:
            return self._reader.recv(4096)
        except BlockingIOError:
            return b""

    def close(self) -> None:
        self._reader.close()
        self._writer.close()
