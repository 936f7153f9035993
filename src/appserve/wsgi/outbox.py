"""What was written and the client has not taken yet.

A response runs ahead of its reader: into memory first, then into a spool. So the application is done when
it has produced its last byte, however slowly they are read. Only when the spool's quota is used up, or the
disk is full, does writing wait for the reader, and not for ever. A file need not wait anywhere: it is sent
from where it is, when its turn comes.

    memory ─► spool ─► a part of a file ─► what comes after it
"""

import errno
import os
import select
import time
from collections.abc import Callable
from typing import Any, NoReturn

from appserve.errors import ClientDisconnected
from appserve.net.kernel_queues import count_untaken
from appserve.net.sendfile import Destination, FilePart, send_file
from appserve.observe.counters import Counters
from appserve.wsgi.spool import UNCOUNTED, Quota, Share, Spool

MEMORY = 64 * 1024
"""Bytes of one response that wait in memory."""

PIECE = 64 * 1024
"""Bytes that go into the spool, or come back from it, at once."""

FILE_PIECE = 256 * 1024
"""Bytes that go out of a file at once."""

BURST = 16
"""Pieces that one client may take in a row before the others have their turn."""

BEAT = 0.25
"""Seconds after which an application that waits for its reader shows again that it is not stuck."""


class Outbox:
    """The bytes on their way to one client.

    pending  whether something waits
    taken    how many bytes the kernel has accepted
    missing  bytes that cannot be sent any more: a file had lost them, or the client
    is_lost  the client left, or takes nothing any more; what was pending is forgotten
    counters where what the kernel takes is counted, and that an application waits for its client
    """

    __slots__ = (
        "_after",
        "_client",
        "_file",
        "_is_counted",
        "_memory",
        "_quota",
        "_send",
        "_spool",
        "_stall",
        "counters",
        "is_lost",
        "missing",
        "pending",
        "taken",
    )

    def __init__(self, client: Destination, quota: Quota, stall: float, counters: Counters) -> None:
        """`stall`: seconds that a client may take nothing while an application waits for it; 0 for ever."""
        self._client = client
        self._send: Callable[[Any], int] = client.send
        self._memory = bytearray()
        self._is_counted = False  # the memory is, in the share
        self._quota = quota
        self._spool: Spool | None = None  # with its share of the quota, from the first byte that needs it on
        self._file: FilePart | None = None
        self._after = b""
        self._stall = stall
        self.counters = counters
        self.pending = False
        self.taken = 0
        self.missing = 0
        self.is_lost = False

    def write(self, data: bytes) -> None:
        """Send `data` now as far as possible, keep the rest. Raises ClientDisconnected if the client left.

        Blocks only when neither memory nor spool has room.
        """
        # hot: bench sync-hello. The usual case: nothing waits, and the kernel takes all of it.
        if self.pending and not self._has_caught_up(len(data)):
            self._keep(memoryview(data))
            return
        try:
            sent = self._send(data)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            self.missing += len(data)
            raise self._lost(*error.args) from error
        self.taken += sent
        self.counters.bytes_out += sent
        if sent != len(data):
            self._keep(memoryview(data)[sent:])

    def send_file(self, before: bytes, file: FilePart, after: bytes) -> None:
        """Send a part of a file, between bytes that belong to it. It is closed when it is sent.

        Never blocks for the client. Raises ClientDisconnected; a file that became shorter sets `missing`.
        """
        try:
            if self.is_lost:
                raise self._lost(errno.EPIPE, os.strerror(errno.EPIPE))
            if before:
                self.write(before)
        except ClientDisconnected:
            self.missing += file.size
            file.close()
            raise
        self._file = file
        self._after = after
        self.pending = True
        self.flush()

    def _has_caught_up(self, size: int) -> bool:
        """Send what waits, before `size` further bytes; whether nothing waits any more. Raises
        ClientDisconnected.

        Nobody else sends while the application is at work, and it may be for long: what waits must not wait
        for its end (PEP 3333 "Buffering and Streaming"), and a client that has left shows only here.
        """
        try:
            return self.flush()
        except ClientDisconnected:
            self.missing += size
            raise

    def _keep(self, data: memoryview) -> None:
        """Append to what waits: in memory, and behind it in the spool."""
        self.pending = True
        if self._file is not None:
            self._after += data
            return
        kept = 0
        try:
            while kept < len(data):
                kept += self._keep_piece(data[kept : kept + PIECE])
                if len(data) > PIECE:  # it takes a while, and a quick reader goes on in the meantime
                    self.counters.progress()
                    self.flush()
        except ClientDisconnected:
            self.missing += len(data) - kept
            raise

    def _keep_piece(self, piece: memoryview) -> int:
        """Append `piece`, or as much of it as there is room for in memory; gives how much."""
        # The disk is full, or it holds its share, or others theirs: now the reader sets the pace.
        kept = self._store(piece) or self._wait_for_reader(piece)
        self.pending = True
        return kept

    def _store(self, piece: memoryview) -> int:
        """Append as much of `piece` as there is room for; gives how much."""
        if self._spool:
            return len(piece) if self._spool.write(piece) else 0
        room = self._memory_for(len(piece)) - len(self._memory)
        if room > 0:
            self._memory += piece[:room]
            return min(room, len(piece))
        return len(piece) if self._spooled().write(piece) else 0

    def _spooled(self) -> Spool:
        if self._spool is None:
            self._spool = Spool(Share(self._quota))
        return self._spool

    def _memory_for(self, size: int) -> int:
        """How many bytes may wait in memory, if `size` more are to."""
        if not self._is_counted:
            if len(self._memory) + size <= UNCOUNTED:
                return UNCOUNTED
            self._is_counted = self._spooled().share.take(MEMORY)
        return MEMORY if self._is_counted else UNCOUNTED

    def _free_memory(self) -> None:
        """Nothing waits in memory any more."""
        if self._is_counted:
            self._is_counted = False
            self._spooled().share.give(MEMORY)

    def _wait_for_reader(self, piece: memoryview) -> int:
        """Wait until there is room for some of `piece`, and put that there; gives how much. For that long the
        application makes no progress through no fault of its own, so it is recorded as progress:
        --write-timeout limits the wait.

        Raises ClientDisconnected when the reader has taken nothing for too long.
        """
        poll = select.poll()
        poll.register(self._client, select.POLLOUT)
        since, reached = time.monotonic(), self.reached
        while True:
            self.counters.progress()
            poll.poll(min(BEAT, self._stall or BEAT) * 1000)
            self.flush()
            if kept := self._store(piece):
                break
            now = time.monotonic()
            if reached != self.reached:
                since, reached = now, self.reached
            elif 0 < self._stall < now - since:
                raise self._lost(errno.ETIMEDOUT, "the client reads nothing of its response")
        self.counters.progress()
        return kept

    def _lost(self, *args: object) -> ClientDisconnected:
        self.is_lost = True
        # Bytes after those that are missing must not reach it, even if the application does not give up.
        self._send = _refuse_to_send
        self.missing += self.unsent
        self.discard()
        return ClientDisconnected(*args)

    def flush(self) -> bool:
        """Send what is pending as far as the client takes it, or a burst of it; whether all of it is gone.

        Raises ClientDisconnected if the client left.
        """
        memory = self._memory
        try:
            for _ in range(BURST):
                if memory:
                    sent = self._send(memory)
                    self.taken += sent
                    self.counters.bytes_out += sent
                    del memory[:sent]
                elif self._file is not None:
                    self._send_from(self._file)
                if not memory:
                    if self._spool:
                        memory += self._spool.read(PIECE)
                    elif self._file is None:
                        self._free_memory()
                        self.pending = False
                        return True
        except BlockingIOError:
            return False
        except OSError as error:
            # Or the spool cannot be read: what follows is lost either way.
            raise self._lost(*error.args) from error
        return False

    def _send_from(self, file: FilePart) -> None:
        """Send a piece of the file. Raises OSError."""
        sent = send_file(self._client, file.fd, file.offset, min(file.size, FILE_PIECE))
        file.advance(sent)
        self.taken += sent
        self.counters.bytes_out += sent
        if not sent:
            self.missing = file.size
            self._forget_file()
        elif not file.size:
            self._memory += self._after
            self._forget_file()

    def _forget_file(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
            self._after = b""

    @property
    def reached(self) -> int:
        """How many bytes the client has taken, as far as is known. The kernel takes megabytes ahead of it,
        and has room for more only when much of that is gone: a slow reader would seem to stand still."""
        return self.taken - count_untaken(self._client.fileno())

    @property
    def unsent(self) -> int:
        """Bytes that wait."""
        size = len(self._memory) + len(self._spool or ()) + len(self._after)
        return size if self._file is None else size + self._file.size

    def discard(self) -> None:
        """Forget what the client will not get."""
        self._memory.clear()
        self._free_memory()
        if self._spool is not None:
            self._spool.clear()
        self._forget_file()
        self.pending = False

    def disown(self) -> None:
        """Runs in a process that the application forked: it shares the file in which the rest of the response
        waits, and nothing that it says belongs there."""
        self._lost(errno.EPIPE, os.strerror(errno.EPIPE))


def _refuse_to_send(data: object, /) -> NoReturn:
    raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
