"""What was written and the client has not taken yet.

A response runs ahead of its reader: into memory first, then into a spool. So the application is done when
it has produced its last byte, however slowly they are read. Only when the spool's quota is used up does
writing wait for the reader, and not for ever.
"""

import errno
import os
import select
import socket
from collections.abc import Callable
from typing import Any, NoReturn

from appserve.errors import ClientDisconnected
from appserve.wsgi.spool import Quota, Spool

MEMORY = 256 * 1024
"""Bytes of one response that wait in memory."""

PIECE = 256 * 1024
"""Bytes that go into the spool, or come back from it, at once."""

BURST = 16
"""Pieces that one client may take in a row before the others have their turn."""


class Outbox:
    """The bytes on their way to one client.

    pending  what waits in memory; while it is empty, nothing waits in the spool either
    taken    how many bytes the kernel has accepted
    is_lost  the client left, or takes nothing any more; what was pending is forgotten
    """

    __slots__ = ("_send", "_socket", "_spool", "_stall", "is_lost", "pending", "taken")

    def __init__(self, client: socket.socket, quota: Quota, stall: float) -> None:
        """`stall`: seconds that a client may take nothing while an application waits for it; 0 for ever."""
        self._socket = client
        self._send: Callable[[Any], int] = client.send
        self.pending = bytearray()
        self._spool = Spool(quota)
        self._stall = stall
        self.taken = 0
        self.is_lost = False

    def write(self, data: bytes) -> None:
        """Send `data` now as far as possible, keep the rest. Raises ClientDisconnected if the client left.

        Blocks only when neither memory nor spool has room.
        """
        # hot: bench sync-hello. The usual case: nothing waits, and the kernel takes all of it.
        if self.pending:
            self._keep(memoryview(data))
            return
        try:
            sent = self._send(data)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            raise self._lost(*error.args) from error
        self.taken += sent
        if sent != len(data):
            self._keep(memoryview(data)[sent:])

    def _keep(self, data: memoryview) -> None:
        """Append to what waits: in memory, and behind it in the spool."""
        if not self._spool:
            room = MEMORY - len(self.pending)
            self.pending += data[:room]
            data = data[room:]
        for start in range(0, len(data), PIECE):
            self._keep_piece(data[start : start + PIECE])

    def _keep_piece(self, piece: memoryview) -> None:
        while not self._spool.write(piece):
            # The disk is full, or others have filled our share of it: now the reader sets the pace.
            self._wait_for_reader()
            self.flush()
            if not self._spool and len(self.pending) + len(piece) <= MEMORY:
                self.pending += piece
                return

    def _wait_for_reader(self) -> None:
        poll = select.poll()
        poll.register(self._socket, select.POLLOUT)
        if not poll.poll(self._stall * 1000 if self._stall else None):
            raise self._lost(errno.ETIMEDOUT, "the client takes nothing of its response")

    def _lost(self, *args: object) -> ClientDisconnected:
        self.is_lost = True
        # Bytes after those that are missing must not reach it, even if the application does not give up.
        self._send = _refuse_to_send
        self.discard()
        return ClientDisconnected(*args)

    def flush(self) -> bool:
        """Send what is pending as far as the client takes it, or a burst of it; whether all of it is gone.

        Raises ClientDisconnected if the client left.
        """
        pending = self.pending
        try:
            for _ in range(BURST):
                if not pending:
                    break
                sent = self._send(pending)
                self.taken += sent
                del pending[:sent]
                if not pending and self._spool:
                    pending += self._spool.peek(PIECE)
                    self._spool.advance(len(pending))
        except BlockingIOError:
            return False
        except OSError as error:
            # Or the spool cannot be read: what follows is lost either way.
            raise self._lost(*error.args) from error
        return not pending

    def discard(self) -> None:
        """Forget what the client will not get."""
        self.pending.clear()
        self._spool.clear()


def _refuse_to_send(data: object, /) -> NoReturn:
    raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
