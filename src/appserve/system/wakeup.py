"""Signals as something to read: each one puts its number into a socket that a loop can wait for.

The C handler writes it, also while Python code is busy, so the loop never misses one that came just before it
slept. signalfd(2) would need all signals blocked in all threads, and the application's children would inherit
that.
"""

import signal
import socket


class Wakeup:
    """The pair of sockets. `fileno()` is readable after a signal that has a Python handler.

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

    def fds(self) -> tuple[int, int]:
        """Both descriptors, to be kept open."""
        return self._reader.fileno(), self._writer.fileno()

    def arm(self) -> None:
        """From now on signals are told here. Main thread only."""
        # A full buffer loses nothing that matters: the loop is about to be woken anyway, and thousands of one
        # signal say what one says.
        signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)

    def disarm(self) -> None:
        """Tell signals nowhere."""
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
