"""Bytes that do not fit in memory, in unlinked temporary files under one quota a process.

A slow reader's response and a large upload wait here, so that neither keeps a worker busy. The files have
no name: whatever ends the process, nothing is left behind.
"""

import os
import tempfile


class Quota:
    """How many bytes all spools of this process may hold together."""

    __slots__ = ("_left",)

    def __init__(self, limit: int) -> None:
        self._left = limit

    def take(self, size: int) -> bool:
        """Reserve `size` bytes; False if there is no room for them."""
        if size > self._left:
            return False
        self._left -= size
        return True

    def give(self, size: int) -> None:
        """Return what was reserved."""
        self._left += size


class Spool:
    """A first-in first-out file of bytes."""

    __slots__ = ("_end", "_fd", "_quota", "_start", "_taken")

    def __init__(self, quota: Quota) -> None:
        self._quota = quota
        self._fd = -1
        self._start = 0
        self._end = 0
        self._taken = 0

    def __len__(self) -> int:
        return self._end - self._start

    def write(self, data: bytes | memoryview) -> bool:
        """Append `data`; False if the quota or the disk has no room for it (then nothing was appended)."""
        if not self._quota.take(len(data)):
            return False
        try:
            if self._fd < 0:
                self._fd = _open_nameless()
            written = 0
            while written < len(data):
                written += os.pwrite(self._fd, data[written:], self._end + written)
        except OSError:
            self._quota.give(len(data))
            return False
        self._taken += len(data)
        self._end += len(data)
        return True

    def peek(self, size: int) -> bytes:
        """The next bytes, at most `size`."""
        return os.pread(self._fd, min(size, len(self)), self._start)

    def advance(self, size: int) -> None:
        """Drop `size` bytes from the front."""
        self._start += size
        if self._start == self._end:
            self.clear()

    def clear(self) -> None:
        """Drop everything and give the disk back."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        self._quota.give(self._taken)
        self._start = self._end = self._taken = 0

    def detach(self) -> int:
        """The file's descriptor, now the caller's, at its first byte; the quota stays taken until `clear`."""
        fd, self._fd = self._fd, -1
        os.lseek(fd, self._start, os.SEEK_SET)
        return fd


def _open_nameless() -> int:
    # TemporaryFile knows O_TMPFILE and its fallbacks; only its descriptor is needed.
    with tempfile.TemporaryFile(prefix="appserve-", buffering=0) as file:
        return os.dup(file.fileno())
