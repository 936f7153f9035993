"""What every connection does with its transport, whatever protocol is spoken on it.

reading   is paused while enough waits unread: memory is bounded, and it is the client that waits
writing   `paused` while the transport holds more than WRITE_BOUND bytes for a client that does not read
closing   a plain close with input on its way would reset the connection and destroy the response in the
          client's hands; so the connection lingers: it ends its side, reads on until the client has taken
          all of it and says no more, and closes
waiting   is judged once a second, on a clock that stands still while the event loop is held up; and nobody
          is late whose bytes have come and were not looked at yet
"""

import asyncio
import math
import os
import select
import socket
import struct
from abc import abstractmethod
from typing import cast

from appserve.asgi.registry import Registry
from appserve.connection.eviction import Evictable
from appserve.http.timeouts import WaitFor, WaitTimer
from appserve.net.kernel_queues import count_untaken

READ_BOUND = 65536
"""Bytes that may wait for an application before its client does."""

WRITE_BOUND = 65536
"""Bytes that may wait for a client in the transport before its application does."""

FRESH = 0.5
"""Seconds that a new client has for the first byte of its request before a worker that leaves may close."""

EVICTABLE = {WaitFor.FIRST: Evictable.IDLE, WaitFor.IDLE: Evictable.IDLE, WaitFor.HEAD: Evictable.HEAD}
"""The waits that are given up when others need the room."""


class TransportProtocol(asyncio.Protocol):
    """The half of a protocol that faces the transport."""

    __slots__ = (
        "_ended",
        "_lingers",
        "_made",
        "_reading_paused",
        "_registry",
        "_service",
        "_swallowed",
        "_transport",
        "_unsent",
        "_watch",
        "paused",
        "rests",
        "written",
    )

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._service = registry.service
        self._transport = cast("asyncio.Transport", None)  # until connection_made; nothing comes before that
        self._watch = WaitTimer()
        self._made = 0.0  # when the connection was made, by the loop's clock
        self.written = 0  # bytes that the network was given to send, ever
        self._unsent = 0  # bytes that the kernel has not taken, as far as is known; 0 unless paused
        self._swallowed = 0  # bytes read and dropped
        self._lingers = False
        self._ended = False  # the client ended its side
        self._reading_paused = False
        self.paused = False
        self.rests = False  # see connection/waiting.py

    @abstractmethod
    def _wake(self) -> None:
        """It rests, and what is waited for may be another thing now."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(WRITE_BOUND, 0)
        self._made = self._registry.loop.time()

    def pause_writing(self) -> None:
        self.paused = True
        if self.rests:
            self._wake()
        self._unsent = self._transport.get_write_buffer_size()

    def resume_writing(self) -> None:
        self.paused = False
        self._unsent = 0

    def disown(self, null: int) -> None:
        """In a process that the application forked: let go of the socket, or the client would not see the
        worker close it. `null` takes its number, which the event loop's copies still name."""
        os.dup2(null, self._transport.get_extra_info("socket").fileno(), inheritable=False)

    def reset(self) -> None:
        """End the connection now, by a reset in any case: it tells the client that something is missing."""
        # A second descriptor of the same socket: what uvloop shows of its own takes no options.
        fd = os.dup(self._transport.get_extra_info("socket").fileno())
        with socket.socket(fileno=fd) as same:
            same.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._unsent = self._transport.get_write_buffer_size()
        self._transport.abort()

    def abort(self) -> None:
        """End the connection now, with a reset if anything was not sent: an end would look like the whole."""
        if self._transport.get_write_buffer_size():
            self.reset()
        else:
            self._transport.abort()

    # ── waiting ──

    @property
    def is_fresh(self) -> bool:
        """Whether the client has just come, and may be about to ask for something."""
        return self._waiting()[0] is WaitFor.FIRST and self._registry.loop.time() - self._made < FRESH

    def sweep(self, now: float) -> None:
        """Look at the deadlines, about once a second; `now` is Registry.attended."""
        transport = self._transport
        if self._reading_paused and _poll(transport, 0):
            transport.abort()  # the client is gone, and nobody else would notice
            return
        unsent = transport.get_write_buffer_size()
        if self._lingers and not unsent:
            self._sweep_lingering(now)
            return
        waiting, mark = (WaitFor.READER, self._count_taken(unsent)) if unsent else self._waiting()
        if self._watch.expired(waiting, mark, now, self._service.timeouts):
            if self._can_write() if waiting is WaitFor.READER else self._has_input():
                return  # the client has done its part, and the event loop has not come to look
            self._service.tally.timeouts += 1
            if waiting is WaitFor.READER:
                # Closed alone, it would stay with the kernel for minutes, with what it holds for a client
                # that takes nothing.
                self.reset()
            else:
                self._give_up(waiting)

    def due(self, now: float) -> float:
        """The earliest time at which it may be overdue, if nothing happens before; by Registry.attended."""
        # That the client of a connection that is not read has gone is no event.
        return now if self._reading_paused else self._watch.due(now, self._service.timeouts)

    def _sweep_lingering(self, now: float) -> None:
        """Everything is with the kernel, and our side has ended."""
        taken = self._count_taken(0)
        is_read = taken == self.written
        waiting, mark = (WaitFor.END, self._swallowed) if is_read else (WaitFor.READER, taken)
        if not self._watch.expired(waiting, mark, now, self._service.timeouts):
            return
        if not is_read:
            self._service.tally.timeouts += 1
            self.reset()
        else:
            self._transport.abort()

    def evictable(self) -> tuple[Evictable, float] | None:
        """If it may be closed to make room for others: what it is, and since when by Registry.attended (inf
        if that was not seen yet). None for a new client that was not given the time to ask for something."""
        waiting, mark = self._waiting()
        kind = EVICTABLE.get(waiting)
        if kind is None or self._ended or self._transport.get_write_buffer_size():
            return None
        since = self._watch.since if self._watch.has_seen(waiting, mark) else math.inf
        return (kind, since) if waiting is not WaitFor.FIRST or since < self._registry.attended else None

    def _has_input(self) -> bool:
        """Whether something has come in that was not read yet."""
        return not self._ended and bool(_poll(self._transport, select.POLLIN) & select.POLLIN)

    def _count_taken(self, unsent: int) -> int:
        """How many bytes the client has taken, as far as is known. The kernel takes megabytes ahead of it,
        and has room for more only when much of that is gone: a slow reader would seem to stand still."""
        return self.written - unsent - count_untaken(self._transport.get_extra_info("socket").fileno())

    def _can_write(self) -> bool:
        """Whether the client has taken something, so that more can be written."""
        return bool(_poll(self._transport, select.POLLOUT) & select.POLLOUT)

    @abstractmethod
    def _waiting(self) -> tuple[WaitFor, int]:
        """What is waited for, when everything is sent, and a number that grows with progress."""

    @abstractmethod
    def _give_up(self, waiting: WaitFor) -> None:
        """This wait has lasted too long."""

    # ── writing and reading ──

    def _write(self, data: bytes) -> bool:
        """Whether the transport took it; else a write before has found that the client is gone, which
        connection_lost tells in a later turn."""
        transport = self._transport
        if transport.is_closing():
            return False
        self.written += len(data)
        if self.rests:
            self._wake()
        self._service.tally.bytes_out += len(data)
        if self.paused:
            self._unsent += len(data)
        transport.write(data)
        return True

    def _bound_reading(self, waiting: int) -> None:
        """Stop reading when so many bytes wait already; the kernel's buffers then slow the client down."""
        if waiting >= READ_BOUND:
            self._pause_reading()

    def _pause_reading(self) -> None:
        if not self._reading_paused and not self._ended:
            self._reading_paused = True
            if self.rests:
                self._wake()
            self._transport.pause_reading()

    def _resume_reading(self) -> None:
        if self._reading_paused:
            self._reading_paused = False
            # In a context of its own: asyncio reads on in the one that resumed it, and that may be an
            # application's, which later requests of this connection would see (cpython#140947).
            self._registry.context.copy().run(self._transport.resume_reading)

    # ── closing ──

    def _end(self, *, linger: bool) -> None:
        """Close when everything is written; `linger` when the client may be sending."""
        transport = self._transport
        if transport.is_closing():
            return
        if self.rests:
            self._wake()
        if self._ended or not linger:
            transport.close()
            return
        self._swallowed = 0
        self._lingers = True
        try:
            transport.write_eof()
        except OSError:  # asyncio ends our side at once, and the client has reset it
            transport.abort()
            return
        self._resume_reading()

    def end_lingering(self) -> None:
        """Read no further, if the connection is only there for its client to read on."""
        if self._lingers:
            self._transport.close()


def _poll(transport: asyncio.Transport, events: int) -> int:
    """Those of `events` that the socket has now. A reset, or an end of both sides, is always told; the end
    of the client's side is input (poll(2))."""
    poll = select.poll()
    poll.register(transport.get_extra_info("socket").fileno(), events)
    found = poll.poll(0)
    return found[0][1] if found else 0
