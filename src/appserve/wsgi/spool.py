"""What waits for slow clients: bytes that do not fit in memory, in unlinked temporary files, and the quota of
a process for both.

A slow reader's response and a large upload wait here, so that neither keeps a worker busy. The files have
no name: whatever ends the process, nothing is left behind.
"""

import os
import tempfile
from _thread import allocate_lock  # a worker without threads has no other need of threading

from appserve.http.messages import SHARES

SEGMENT = 4 << 20
"""Bytes after which a spool goes on in a further file."""


UNCOUNTED = 16 * 1024
"""Bytes of one request that are kept in memory without being counted: most bodies are no longer, and the
lock would be a part of their cost."""


class Quota:
    """How many bytes all requests of this process may hold together, in memory and on disk.

    No request uses it up: one may hold a quarter (SHARES) of it, and no more than it leaves free. So what is
    free never runs out, however many take as much as they can: the next one still gets a half of it.

    largest    bytes that one request may hold
    shortage   why there was no room when it was last needed; the loop logs it and sets it back to ""
    """

    __slots__ = ("_left", "_limit", "_lock", "largest", "shortage")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._left = limit
        self._lock = allocate_lock()
        self.largest = max(limit // SHARES, UNCOUNTED)
        self.shortage = ""

    def take(self, size: int, held: int) -> bool:
        """Reserve `size` bytes for a request that holds `held`; False if there is no room for them."""
        if held + size > self.largest:
            return False
        with self._lock:
            if held + size > self._left - size:
                self.shortage = (
                    f"{self._limit - self._left} of {self._limit} bytes are in use (--limit-spool)"
                )
                return False
            self._left -= size
            return True

    def give(self, size: int) -> None:
        """Return what was reserved."""
        with self._lock:
            self._left += size

    def disown(self) -> None:
        """Runs in a process that the application forked: a thread may have the lock that is not there."""
        self._lock = allocate_lock()


class Share:
    """What one request body, or one response, holds of the quota: `held` bytes."""

    __slots__ = ("held", "quota")

    def __init__(self, quota: Quota) -> None:
        self.quota = quota
        self.held = 0

    def take(self, size: int) -> bool:
        """Reserve `size` further bytes; False if there is no room for them."""
        if not self.quota.take(size, self.held):
            return False
        self.held += size
        return True

    def give(self, size: int) -> None:
        """Return some of what was reserved."""
        self.held -= size
        self.quota.give(size)


class SpoolFile:
    """A first-in first-out file of bytes. Its room is given back when the last of them is taken."""

    __slots__ = ("_end", "_fd", "_share", "_start", "_taken")

    def __init__(self, share: Share) -> None:
        self._share = share
        self._fd = -1
        self._start = 0
        self._end = 0
        self._taken = 0

    def __len__(self) -> int:
        return self._end - self._start

    def __bool__(self) -> bool:
        return self._end > self._start  # compiled, what has a length alone is always true

    def write(self, data: bytes | memoryview) -> bool:
        """Append `data`; False if the quota or the disk has no room for it (then nothing was appended)."""
        if not self._share.take(len(data)):
            return False
        try:
            if self._fd < 0:
                self._fd = _open_nameless()
            written = 0
            while written < len(data):
                written += os.pwrite(self._fd, data[written:], self._end + written)
        except OSError as error:
            self._share.give(len(data))
            self._share.quota.shortage = _explain(error)
            return False
        self._taken += len(data)
        self._end += len(data)
        return True

    def read(self, size: int) -> bytes:
        """Take the next bytes, at most `size`. Raises OSError, also when the file has lost them."""
        data = os.pread(self._fd, min(size, len(self)), self._start)
        if not data and self:
            raise OSError("a spool file is shorter than what was written into it")
        self._start += len(data)
        if self._start == self._end:
            self.clear()
        return data

    def clear(self) -> None:
        """Drop everything and give the disk back."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        if self._taken:
            self._share.give(self._taken)
        self._start = self._end = self._taken = 0

    def detach(self) -> int:
        """The file's descriptor, now the caller's, at its first byte; the quota stays taken until `clear`."""
        fd, self._fd = self._fd, -1
        os.lseek(fd, self._start, os.SEEK_SET)
        return fd


class Spool:
    """Bytes, first in first out, in as many files as it takes to give room back while they are read.

    A file is as long as a quarter of what waits when it is begun, at least SEGMENT: so a gigabyte needs some
    twenty-five descriptors, and no more than a fifth of it waits to be given back.
    """

    __slots__ = ("_end", "_files", "_size", "share")

    def __init__(self, share: Share) -> None:
        self.share = share
        self._files: list[SpoolFile] = []
        self._size = 0
        self._end = 0  # how long the last file may become

    def __len__(self) -> int:
        return self._size

    def __bool__(self) -> bool:
        return self._size > 0  # compiled, what has a length alone is always true

    def write(self, data: bytes | memoryview) -> bool:
        """Append `data`; False if the quota or the disk has no room for it (then nothing was appended)."""
        if not self._files or self._end <= 0:
            self._files.append(SpoolFile(self.share))
            self._end = max(SEGMENT, self._size // 4)
        if not self._files[-1].write(data):
            if not self._files[-1]:
                self._files.pop().clear()
                self._end = 0
            return False
        self._end -= len(data)
        self._size += len(data)
        return True

    def read(self, size: int) -> bytes:
        """Take the next bytes, at most `size`, at least one. Raises OSError."""
        data = self._files[0].read(size)
        self._size -= len(data)
        if not self._files[0]:
            del self._files[0]
        return data

    def clear(self) -> None:
        """Drop everything and give the disk back."""
        for file in self._files:
            file.clear()
        self._files.clear()
        self._size = 0


def _open_nameless() -> int:
    # TemporaryFile knows O_TMPFILE and its fallbacks; only its descriptor is needed.
    with tempfile.TemporaryFile(prefix="appserve-", buffering=0) as file:
        return os.dup(file.fileno())


def _explain(error: OSError) -> str:
    try:
        return f"{error.strerror} in {tempfile.gettempdir()}"
    except OSError as nowhere:  # a read-only file system: no directory that can be written was found
        return f"{nowhere.strerror} (see TMPDIR)"
