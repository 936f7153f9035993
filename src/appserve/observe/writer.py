"""Writing log lines without ever waiting for the reader of the log.

A log is usually a pipe to a process that may be slow, stopped or dead. A server that waits for it blocks.
O_NONBLOCK is not possible: the flag belongs to the open file, which every process shares that inherited it,
and print() in the application, or the shell after us, would fail. So:

    regular files       are written plainly; they do not block
    pipes, sockets      by pwritev2(2) with RWF_NOWAIT, which makes one write non-blocking (Linux)
    terminals, FIFOs    know no RWF_NOWAIT: through a second opening of the same file (by /proc/self/fd, or
                        by a terminal's name), which has an O_NONBLOCK of its own
    other files         are polled, and written when there is room. A sibling may fill the pipe between the
                        two calls; then the write waits until the reader takes one more page. That needs a
                        stopped reader at that moment, and can happen once to a process: from then on the
                        pipe polls as full.

Lines leave in writes of at most PIPE_BUF bytes, always whole ones: POSIX promises that such writes of several
processes to one pipe do not mix. What cannot be written waits in a bounded backlog; what does not fit there
is dropped and counted, and the count is written as one line when the reader reads again. No error is
raised, ever; an error other than a slow reader (a full disk, a closed pipe) is reported, and so is its end.
"""

import errno
import math
import os
import select
import stat
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress

# Bytes that one write() to a pipe puts in whole (4096 on Linux, 512 at least by POSIX).
PIPE_BUF = select.PIPE_BUF

BACKLOG = 256 * 1024

_CUT = b" [cut]\n"
_NOWAIT = getattr(os, "RWF_NOWAIT", 0)
# "This kind of file cannot do it", by kernel and kind; also ENOSYS from before Linux 4.14.
_NO_NOWAIT = frozenset({errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL, errno.ENOSYS, errno.ESPIPE})
_SLOW = frozenset({errno.EAGAIN, errno.EWOULDBLOCK, errno.ENOBUFS})
_FULL = _SLOW | {errno.ENOSPC, errno.EDQUOT}

REPORT_INTERVAL = 60.0
"""Seconds between two reports of failures: a disk may be full, and not full, many times a second."""


class Writer:
    """Lines into one descriptor. `notice(count)` makes the line about that many lost lines.

    `report(number)` is called with the errno of a write that failed for another reason than a slow reader,
    once, and with 0 when writing works again.

    A forked child must not write the backlog of its parent: a writer detects that it is in another process,
    and drops the inherited backlog.
    """

    def __init__(
        self,
        fd: int,
        notice: Callable[[int], bytes],
        *,
        backlog: int = BACKLOG,
        portable: bool = False,
        report: Callable[[int], object] | None = None,
    ) -> None:
        self._given = self._fd = fd
        self._notice = notice
        self._report = report or (lambda number: None)
        self._reported = 0  # the errno that was reported and is not over
        self._quiet_until = -math.inf
        self._backlog = backlog
        self._portable = portable
        self._pid = os.getpid()
        # What waits, and how many lines are lost with it. A notice counts for the lines that it reports.
        self._pending: deque[tuple[bytes, int]] = deque()
        self._offset = 0  # how much of the first has left (a socket, and a full disk, may take a part)
        self.pending = 0  # bytes that wait for the reader
        self.dropped = 0  # lines that are lost, and not yet reported
        self._put = self._choose()

    def fileno(self) -> int:
        """The descriptor that is written. It is not always the one given; a child after a fork does not
        need it: it goes back to the one given when this one was closed."""
        return self._fd

    @property
    def given(self) -> int:
        """The descriptor that was given."""
        return self._given

    def replace(self, fd: int) -> int:
        """Write into `fd` from now on; gives the descriptor that was given before, which stays open."""
        before = self._given
        if self._fd not in (before, -1):
            os.close(self._fd)
        self._given = self._fd = fd
        self._offset = 0  # a line that had left in part is written whole
        self._put = self._choose()
        return before

    def write(self, lines: bytes) -> None:
        """Write whole lines (each ends with a newline) as far as the reader takes them; keep the rest."""
        if self._pid != os.getpid():
            self._start_anew()
        if lines and not self._pending and not self.dropped and len(lines) <= PIPE_BUF:
            # hot: access log on. Nearly always all of it leaves at once.
            try:
                self._offset = self._put(self._fd, lines)
            except OSError:
                pass  # flush() meets the error again, and handles it
            if self._offset == len(lines):
                self._offset = 0
                return
            self._keep(lines)
            self.flush()
            return
        for batch in _batches(lines):
            if self.dropped and self._fits(batch):
                self._append_notice()
            if self._fits(batch):
                self._keep(batch)
            else:
                self.dropped += batch.count(b"\n")
        self.flush()

    def flush(self) -> bool:
        """Write what waits, as far as the reader takes it; True when nothing waits any more."""
        if self._pid != os.getpid():
            self._start_anew()
        if self.dropped and not self._pending:
            self._append_notice()
        while self._pending:
            batch, _ = self._pending[0]
            try:
                self._offset += self._put(self._fd, batch[self._offset :] if self._offset else batch)
            except OSError as error:
                if error.errno in _NO_NOWAIT and self._put == _write_nowait:
                    self._put = self._second_choice()
                    continue
                if error.errno not in _SLOW:
                    self._report_failure(error.errno or errno.EIO)
                if error.errno in _FULL:
                    return False
                # The pipe has no reader (EPIPE), or the descriptor is closed (EBADF). A reader may come
                # later, so the count stays and each flush tries again.
                self._discard()
                return True
            if self._reported:
                self._reported = 0
                self._report(0)
            if self._offset >= len(batch):
                self._pending.popleft()
                self.pending -= len(batch)
                self._offset = 0
                if self.dropped and not self._pending:
                    self._append_notice()
        return True

    def drain(self, seconds: float) -> bool:
        """Wait this long for the reader at the end of a process; True if it took all that was pending."""
        deadline = time.monotonic() + seconds
        while not self.flush():
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            # A pause and not a poll: a full disk polls as writable.
            time.sleep(min(left, 0.005))
        return True

    def close(self) -> None:
        """Give back the second opening of the file, if there is one; the descriptor given stays open."""
        if self._fd not in (self._given, -1):
            os.close(self._fd)
        self._fd = -1
        self._put = _write_nothing

    def _keep(self, batch: bytes) -> None:
        self._pending.append((batch, batch.count(b"\n")))
        self.pending += len(batch)

    def _fits(self, batch: bytes) -> bool:
        # Once lines are lost, half of the backlog must be free again before one is kept: one long gap with
        # one notice, and not many short ones.
        return self.pending + len(batch) <= (self._backlog // 2 if self.dropped else self._backlog)

    def _append_notice(self) -> None:
        notice = self._notice(self.dropped)
        self._pending.append((notice, self.dropped))
        self.pending += len(notice)
        self.dropped = 0

    def _discard(self) -> None:
        self.dropped += sum(lines for _, lines in self._pending)
        self._pending.clear()
        self.pending = self._offset = 0

    def _report_failure(self, number: int) -> None:
        now = time.monotonic()
        if not self._reported and now >= self._quiet_until:
            self._reported = number
            self._quiet_until = now + REPORT_INTERVAL
            self._report(number)

    def _start_anew(self) -> None:
        """We are a forked child."""
        self._reported, self._quiet_until = 0, -math.inf
        self._pid = os.getpid()
        self._discard()
        self.dropped = 0
        if self._fd not in (self._given, -1) and not _same_file(self._fd, self._given):
            # Closed with all that is not on the child's list, and the number may be something else's by now.
            self._fd = self._given
            self._put = self._choose()

    def _choose(self) -> Callable[[int, bytes], int]:
        try:
            mode = os.fstat(self._fd).st_mode
        except OSError:
            return _write_nothing  # closed before we started
        if stat.S_ISREG(mode) or (stat.S_ISCHR(mode) and not os.isatty(self._fd)):
            return os.write
        if _NOWAIT and not self._portable and (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)):
            return _write_nowait
        return self._second_choice()

    def _second_choice(self) -> Callable[[int, bytes], int]:
        names = [] if self._portable else [f"/proc/self/fd/{self._given}"]
        with suppress(OSError):
            names.append(os.ttyname(self._given))
        for name in names:
            try:
                self._fd = os.open(name, os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
            except OSError:
                continue  # no /proc, another user's pipe, or a socket
            return os.write
        return _write_polled


def _same_file(one: int, other: int) -> bool:
    try:
        return os.path.sameopenfile(one, other)
    except OSError:
        return False


def _write_nowait(fd: int, data: bytes) -> int:
    return os.pwritev(fd, [data], -1, _NOWAIT)


def _write_polled(fd: int, data: bytes) -> int:
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    if not poll.poll(0):
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
    return os.write(fd, data)


def _write_nothing(fd: int, data: bytes) -> int:
    return len(data)


def _batches(lines: bytes) -> list[bytes]:
    """`lines` in pieces of at most PIPE_BUF bytes and whole lines; a line that is longer is cut."""
    if len(lines) <= PIPE_BUF:
        return [lines] if lines else []
    batches: list[bytes] = []
    start = 0
    while start < len(lines):
        end = lines.rfind(b"\n", start, start + PIPE_BUF) + 1
        if end:
            batches.append(lines[start:end])
        else:
            batches.append(lines[start : start + PIPE_BUF - len(_CUT)] + _CUT)
            end = lines.find(b"\n", start) + 1 or len(lines)
        start = end
    return batches
