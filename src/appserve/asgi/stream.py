"""One connection on an event loop: the transport, and all that is the same whatever protocol is spoken on it.

    transport of the event loop ── Stream ── driver: http1.py

reading   is paused while enough waits unread: memory is bounded, and it is the client that waits
writing   `paused` while the transport holds more than WRITE_BOUND bytes for a client that does not read
closing   a plain close with input on its way would reset the connection and destroy the response in the
          client's hands; so the connection lingers: it ends its side, reads on until the client has taken
          all of it and says no more, and closes
waiting   is judged once a second, on a clock that stands still while the event loop is held up; and no client
          is late whose bytes have come and were not looked at yet
"""

import asyncio
import math
import os
import select
import socket
from enum import IntEnum
from typing import Protocol

from appserve.asgi.registry import Registry
from appserve.connection.eviction import Evictable
from appserve.connection.waiting import FRESH, lingering_wait
from appserve.errors import Rejected
from appserve.http.timeouts import WaitFor, WaitTimer
from appserve.net.kernel_queues import count_untaken, reset_on_close

READ_BOUND = 65536
"""Bytes that may wait for an application before its client does."""

WRITE_BOUND = 65536
"""Bytes that may wait for a client in the transport before its application does."""

EVICTABLE = {WaitFor.FIRST: Evictable.IDLE, WaitFor.IDLE: Evictable.IDLE, WaitFor.HEAD: Evictable.HEAD}
"""The waits that are given up when others need the room."""


class StreamState(IntEnum):
    """What becomes of the bytes that come in."""

    OPEN = 0  # the driver gets them
    LINGERING = 1  # dropped: our side has ended, and the client may still be sending
    CLOSED = 2  # dropped: it closes as soon as all is written, or is lost


OPEN, LINGERING, CLOSED = StreamState  # hot: bench asgi-hello; see http.messages.END.


class Driver(Protocol):
    """What speaks a protocol on a stream. None of its methods waits."""

    def receive(self, data: bytes) -> None:
        """The client sent `data`, which is to be counted."""

    def receive_eof(self) -> None:
        """The client ended its side; it may still read."""

    def resume(self) -> None:
        """The kernel has taken everything that was written."""

    def lost(self) -> None:
        """The connection is gone; Stream.unsent of what was written did not leave."""

    def waiting(self) -> tuple[WaitFor, int]:
        """What is waited for, when everything is sent, and a number that grows with progress."""

    def is_idle(self, *, or_lacks_head: bool) -> bool:
        """Whether no request is coming in or being answered; also true, if asked for, while the head of one
        is not complete."""

    def refuse(self, rejected: Rejected) -> None:
        """Read no further, for a reason that is not in the requests themselves, and say so to the client."""

    def close_after_response(self) -> None:
        """Let the response under way, or the next one, be the last."""

    def send_disconnect(self) -> None:
        """If a response is under way, give its application http.disconnect: the server stops."""


class Stream:
    """A protocol to the transport. `driver` is set by the driver itself, and may give way to another.

    ended           the client ended its side
    paused          the client takes less than it is sent, and enough of it waits in memory
    reading_paused  nothing is read for the time being
    rests           see connection/waiting.py
    unsent          bytes that the kernel has not taken, as far as is known; 0 unless paused
    written         bytes that the network was given to send, ever
    """

    __slots__ = (
        "_made",
        "_registry",
        "_service",
        "_state",
        "_swallowed",
        "_timer",
        "_transport",
        "driver",
        "ended",
        "paused",
        "reading_paused",
        "rests",
        "unsent",
        "written",
    )
    __deletable__ = ("driver",)  # for mypyc

    _transport: asyncio.Transport  # from connection_made on; nothing comes before that
    driver: Driver

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._service = registry.service
        self._timer = WaitTimer()
        self._made = 0.0  # when the connection was made, by the loop's clock
        self._state = OPEN
        self._swallowed = 0  # bytes read and dropped since it lingers
        self.written = 0
        self.unsent = 0
        self.ended = False
        self.reading_paused = False
        self.paused = False
        self.rests = False

    # ── what the transport reports ──

    def connection_made(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        transport.set_write_buffer_limits(WRITE_BOUND, 0)
        self._made = self._registry.loop.time()
        self._registry.connections.add(self)
        self.wake()
        if not self._registry.keep_alive:
            self.driver.close_after_response()

    def data_received(self, data: bytes) -> None:
        if self.rests:
            self.wake()
        if self._state is OPEN:
            self.driver.receive(data)
        else:
            self._service.counters.bytes_in += len(data)
            self._swallowed += len(data)

    def eof_received(self) -> bool:
        """The client ended its side. True keeps the transport open for what is still to be sent."""
        self.ended = True
        if self.rests:
            self.wake()
        if self._state is not OPEN:
            return False
        self.driver.receive_eof()
        return True

    def pause_writing(self) -> None:
        self.paused = True
        if self.rests:
            self.wake()
        self.unsent = self._transport.get_write_buffer_size()

    def resume_writing(self) -> None:
        self.paused = False
        self.unsent = 0
        if self.rests:
            self.wake()
        self.driver.resume()

    def connection_lost(self, error: Exception | None) -> None:
        self._state = CLOSED
        self._service.counters.bytes_out -= self.unsent
        self.driver.lost()
        self._registry.forget(self)
        del self.driver  # hot: bench close. Memory is not to wait for the collector.

    # ── what the driver asks for ──

    @property
    def is_open(self) -> bool:
        """Whether what the client sends is still of interest."""
        return self._state is OPEN and not self._transport.is_closing()

    def wake(self) -> None:
        """Something happened, and what is waited for may be another thing now."""
        self._registry.waiting.wake(self)

    def write(self, data: bytes) -> bool:
        """Whether the transport took it; else a write before has found that the client is gone, which
        connection_lost reports in a later turn."""
        transport = self._transport
        if transport.is_closing():
            return False
        if self.rests:
            self.wake()
        size = len(data)
        self.written += size
        self._service.counters.bytes_out += size
        if self.paused:
            self.unsent += size
        transport.write(data)
        return True

    def write_end(self, data: bytes) -> bool:
        """Write the end of a response. Whether the kernel has taken all of it; else the driver is resumed
        when it has, unless the connection is lost before."""
        # hot: bench asgi-hello. The kernel took it, as a rule, and nothing has to be waited for.
        transport = self._transport
        if not self.write(data) or transport.is_closing():
            return False
        if not transport.get_write_buffer_size():
            return True
        if not self.paused:
            transport.set_write_buffer_limits(0, 0)  # pauses now, and resumes when nothing is left
        return False

    def expect_more(self) -> None:
        """What write_end() left has gone: up to WRITE_BOUND bytes may wait again."""
        if not self._transport.is_closing():
            self._transport.set_write_buffer_limits(WRITE_BOUND, 0)

    def bound_reading(self, waiting: int) -> None:
        """Stop reading when so many bytes wait already; the kernel's buffers then slow the client down."""
        if waiting >= READ_BOUND:
            self.pause_reading()

    def pause_reading(self) -> None:
        """Read nothing for the time being."""
        if not self.reading_paused and not self.ended:
            self.reading_paused = True
            if self.rests:
                self.wake()
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Read again."""
        if self.reading_paused:
            self.reading_paused = False
            # In a context of its own: asyncio reads on in the one that resumed it, and that may be an
            # application's, which later requests of this connection would see (cpython#140947).
            self._registry.context.copy().run(self._transport.resume_reading)

    def hand_over(self, driver: Driver, unread: bytes) -> None:
        """Let another protocol be spoken from now on; it gets first what the one before has not read."""
        self.driver = driver
        if unread:
            driver.receive(unread)

    # ── closing ──

    def close(self, *, linger: bool) -> None:
        """Close when everything is written; `linger` when the client may be sending."""
        transport = self._transport
        self._state = CLOSED
        if transport.is_closing():
            return
        if self.rests:
            self.wake()
        if self.ended or not linger:
            transport.close()
            return
        self._swallowed = 0
        self._state = LINGERING
        try:
            transport.write_eof()
        except OSError:  # asyncio ends our side at once, and the client has reset it
            transport.abort()
            return
        self.resume_reading()

    def close_if_idle(self, *, or_lacks_head: bool = False) -> bool:
        """Close unless a request is coming in or being answered; whether it is closed. With `or_lacks_head`
        also while a request head is not complete."""
        if self._state is not OPEN or not self.driver.is_idle(or_lacks_head=or_lacks_head):
            return False
        if self._has_input():
            return False
        # Whatever was sent has had its time, and there is nothing that a close could destroy.
        self.close(linger=False)
        return True

    def end_lingering(self) -> None:
        """Read no further, if the connection is only there for its client to read on."""
        if self._state is LINGERING:
            self._transport.close()

    def reset(self) -> None:
        """End the connection now, by a reset in any case: it shows the client that something is missing."""
        self._state = CLOSED
        # A second descriptor of the same socket: what uvloop shows of its own takes no options.
        with socket.socket(fileno=os.dup(self._fileno())) as same:
            reset_on_close(same)
        self.unsent = self._transport.get_write_buffer_size()
        self._transport.abort()

    def abort(self) -> None:
        """End the connection now, with a reset if anything was not sent: an end would look like the whole."""
        if self._transport.get_write_buffer_size():
            self.reset()
        else:
            self._transport.abort()

    def disown(self, null: int) -> None:
        """In a process that the application forked: let go of the socket, or the client would not see the
        worker close it. `null` takes its number, which the event loop's copies still name."""
        os.dup2(null, self._fileno(), inheritable=False)

    # ── waiting ──

    def close_after_response(self) -> None:
        """Let the response under way, or the next one, be the last."""
        self.driver.close_after_response()

    def send_disconnect(self) -> None:
        """If a response is under way, give its application http.disconnect: the server stops."""
        self.driver.send_disconnect()

    @property
    def is_fresh(self) -> bool:
        """Whether it was made a moment ago, and its client may be about to send its first request."""
        return self._waiting()[0] is WaitFor.FIRST and self._registry.loop.time() - self._made < FRESH

    def sweep(self, now: float) -> None:
        """Look at the wait, about once a second; `now` is that of Registry.clock."""
        transport = self._transport
        if self.reading_paused and self._poll(0):
            transport.abort()  # the client is gone, and nothing else would notice
            return
        unsent = transport.get_write_buffer_size()
        if self._state is LINGERING and not unsent:
            self._sweep_lingering(now)
            return
        waiting, mark = (WaitFor.READER, self._count_taken(unsent)) if unsent else self._waiting()
        if not self._timer.expired(waiting, mark, now, self._service.timeouts):
            return
        if self._can_write() if waiting is WaitFor.READER else self._has_input():
            return  # the client has done its part, and the event loop has not come to look
        self._service.counters.timeouts += 1
        if waiting is WaitFor.READER:
            # Closed alone, it would stay with the kernel for minutes, with what it holds for a client that
            # takes nothing.
            self.reset()
        elif waiting is WaitFor.HEAD or waiting is WaitFor.BODY:
            self.driver.refuse(self._timer.rejection(self._service.timeouts))
        else:
            self.close_if_idle()

    def due(self, now: float) -> float:
        """The earliest time at which it may be overdue, if nothing happens before; by Registry.clock."""
        # That the client of a connection that is not read has gone is no event.
        return now if self.reading_paused else self._timer.due(now, self._service.timeouts)

    def _sweep_lingering(self, now: float) -> None:
        """Everything is with the kernel, and our side has ended."""
        waiting, mark = lingering_wait(self.written, count_untaken(self._fileno()), self._swallowed)
        if not self._timer.expired(waiting, mark, now, self._service.timeouts):
            return
        if waiting is WaitFor.READER:
            self._service.counters.timeouts += 1
            self.reset()
        else:
            self._transport.abort()

    def evictable(self) -> tuple[Evictable, float] | None:
        """If it may be closed to make room for others: what it is, and since when by Registry.clock (inf
        if that was not seen yet). None for a new client that had no time to send anything."""
        waiting, mark = self._waiting()
        kind = EVICTABLE.get(waiting)
        if kind is None or self.ended or self._transport.get_write_buffer_size():
            return None
        since = self._timer.since if self._timer.has_seen(waiting, mark) else math.inf
        return (kind, since) if waiting is not WaitFor.FIRST or since < self._registry.clock.now else None

    def _waiting(self) -> tuple[WaitFor, int]:
        return self.driver.waiting() if self._state is OPEN else (WaitFor.APPLICATION, 0)

    def _has_input(self) -> bool:
        """Whether something has come in that was not read yet."""
        return not self.ended and bool(self._poll(select.POLLIN) & select.POLLIN)

    def _can_write(self) -> bool:
        """Whether the client has taken something, so that more can be written."""
        return bool(self._poll(select.POLLOUT) & select.POLLOUT)

    def _count_taken(self, unsent: int) -> int:
        """How many bytes the client has taken, as far as is known. The kernel takes megabytes ahead of it,
        and has room for more only when much of that is gone: a slow reader would seem to stand still."""
        return self.written - unsent - count_untaken(self._fileno())

    def _fileno(self) -> int:
        fd: int = self._transport.get_extra_info("socket").fileno()
        return fd

    def _poll(self, events: int) -> int:
        """Those of `events` that the socket has now. A reset, or an end of both sides, is always reported;
        the end of the client's side is input (poll(2))."""
        poll = select.poll()
        poll.register(self._fileno(), events)
        found = poll.poll(0)
        return found[0][1] if found else 0
