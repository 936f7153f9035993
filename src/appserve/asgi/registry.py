"""The open connections of one event loop, the exchanges that run on it, and the clock of their waits."""

import asyncio
import contextvars
import os
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

from appserve import forked
from appserve.asgi.exchange import DONE, Exchange
from appserve.asgi.scope import Field, Headers
from appserve.connection.eviction import SHARE, Evictable, EvictionLog, choose
from appserve.connection.service import Service
from appserve.connection.waiting import AttentionClock, DeadlineQueue
from appserve.http.messages import RequestHead
from appserve.observe.log import Level
from appserve.observe.scoreboard import ScoreboardRow
from appserve.tracebacks import application_traceback

AsgiService = Service[Headers, Field]

ATTENTION = 0.5
"""Of a longer pause between two looks at the clients the application was the cause; see AttentionClock."""


class LoopConnection(Protocol):
    """What the worker does with a connection, whatever protocol is spoken on it."""

    rests: bool

    @property
    def is_fresh(self) -> bool:
        """Whether it was made a moment ago, and its client may be about to send its first request."""

    def sweep(self, now: float) -> None:
        """End the wait if it has lasted too long; `now` is that of Registry.clock."""

    def due(self, now: float) -> float:
        """The earliest time at which a wait may have lasted too long, if nothing happens before."""

    def evictable(self) -> tuple[Evictable, float] | None:
        """If it may be closed to make room for others: what it is, and since when."""

    def close_after_response(self) -> None:
        """Let the response under way, or the next one, be the last."""

    def close_if_idle(self, *, or_lacks_head: bool = False) -> bool:
        """Close unless a request is coming in or being answered; whether it is closed. With `or_lacks_head`
        also while a request head is not complete."""

    def send_disconnect(self) -> None:
        """If a response is under way, give its application http.disconnect: the server stops."""

    def end_lingering(self) -> None:
        """Read no further, if the connection is only there for its client to read on."""

    def abort(self) -> None:
        """End the connection now, with a reset if anything was not sent."""

    def disown(self, null: int) -> None:
        """In a process that the application forked: let `null` take the number of the socket."""


class Registry:
    """Made once per worker. Everything in it is used by the event loop's thread only.

    state        the lifespan's state, of which each request gets a copy; None without a lifespan
    context      what requests start from: nothing that one application call sets is seen by another
    clock        of the waits; it looks a few times a second
    connections  those that are open
    waiting      when each has to be looked at
    exchanges    those whose application runs, which may be longer than its response takes; the task of each
    departed     called when a connection or an exchange has ended, if that matters
    """

    __slots__ = (
        "_lines_wait",
        "clock",
        "connections",
        "context",
        "cutting",
        "departed",
        "exchanges",
        "forked",
        "keep_alive",
        "label",
        "loop",
        "most_exchanges",
        "row",
        "service",
        "state",
        "waiting",
    )

    def __init__(self, service: AsgiService, loop: asyncio.AbstractEventLoop, row: ScoreboardRow) -> None:
        self.service = service
        self.loop = loop
        self.row = row
        self.most_exchanges = 0  # that may run at a time; 0 is any number
        self.clock = AttentionClock(ATTENTION)
        self.state: dict[str, Any] | None = None
        self.context = contextvars.copy_context()
        self.connections: set[LoopConnection] = set()
        self.waiting: DeadlineQueue[LoopConnection] = DeadlineQueue()
        self.exchanges: dict[Exchange, asyncio.Task[None]] = {}
        self.departed: Callable[[], None] | None = None
        self.keep_alive = True  # else each response closes its connection
        self.forked = False  # this process is a child that the application forked, and no worker
        self.cutting = False  # the time to leave is over: what runs is cancelled, what comes is answered 503
        self.label = b""  # what the scoreboard shows
        self._lines_wait = False

    def forget(self, connection: LoopConnection) -> None:
        """The connection is closed."""
        self.connections.discard(connection)
        self.waiting.forget(connection)
        if self.departed is not None:
            self.departed()

    def sweep(self) -> None:
        """Look at the waits that may have lasted too long; about once a second. An internal error ends one
        connection, and the others go on."""
        now = self.clock.now
        for connection in self.waiting.take(now):
            if connection not in self.connections:
                continue
            try:
                connection.sweep(now)
                self.waiting.rest(connection, connection.due(now))
            except Exception:
                self.service.log.block(
                    Level.CRITICAL, "internal error: closed a connection", traceback.format_exc()
                )
                with suppress(Exception):
                    connection.abort()
                self.forget(connection)

    def disown(self) -> None:
        """Runs in a child that the application forked: it has no part in the worker's connections."""
        self.forked = True
        try:
            null = os.open(os.devnull, os.O_RDWR)
            for connection in self.connections:
                connection.disown(null)
            os.close(null)
        except OSError:
            pass

    def write_lines_soon(self) -> None:
        """Have the access log written: the lines of one turn of the loop leave together, in the next."""
        if not self._lines_wait:
            self._lines_wait = True
            self.loop.call_soon(self._write_lines)

    def _write_lines(self) -> None:
        self._lines_wait = False
        if self.service.access is not None:
            self.service.access.flush()

    # ── exchanges ──

    def launch(self, exchange: Exchange) -> None:
        """Have the application called in the next turn, in a task and a context of its own."""
        # hot: bench real. By loop.create_task(), and with a name of its own, a task costs a sixth more. Nor
        # may a task factory of the application run it at once: at its end it has to be among the exchanges.
        self.exchanges[exchange] = asyncio.Task(
            self._run(exchange), loop=self.loop, name="request", context=self.context.copy()
        )

    async def _run(self, exchange: Exchange) -> None:
        """Run the application to its end, whatever that is. Never raises."""
        label = exchange.head.line.label
        if label is not self.label:  # hot: bench asgi-hello. Lines of one path share their label.
            # If the loop stalls now, this is likely to be why.
            self.label = label
            self.row.set_request(label)
        try:
            await self.service.application(exchange.scope, exchange.receive, exchange.send)
        except BaseException as error:
            # BaseException: a sys.exit() in a request is that request's failure; let through, it would end
            # the event loop and every other request with it. It is not kept: its traceback has this frame,
            # and all that the application held, down to a generator that waits for its end, would live on
            # until the collector comes by.
            self._ended(exchange, error)
        else:
            self._ended(exchange, None)

    def _ended(self, exchange: Exchange, error: BaseException | None) -> None:
        if self.forked:
            forked.leave(error)
        self.service.counters.busy_ns += time.monotonic_ns() - exchange.called_at
        del self.exchanges[exchange]
        if self.departed is not None:
            self.departed()
        if error is not None:
            self._log(exchange, error)
        if exchange.answer is not DONE:
            exchange.wire.finish(exchange, error)

    def _log(self, exchange: Exchange, error: BaseException) -> None:
        """Log what the application raised, unless the end of the connection, or of the worker, brought it
        about."""
        if exchange.disconnect_sent:
            # It knew that the client had left; what it raised since is how it took that.
            label = exchange.head.line.label.decode("latin-1")
            kind = type(error).__name__
            self.service.log.debug(f"{label}: {kind} of the application after the client disconnected")
        elif not (self.cutting and isinstance(error, asyncio.CancelledError)):
            self.report_fault(exchange.head, f"it raised {type(error).__name__}", error)

    def report_fault(
        self, head: RequestHead[Headers], problem: str, error: BaseException | None = None
    ) -> None:
        """Log that the application did wrong. Query strings stay out of the log: they carry secrets."""
        self.service.counters.app_errors += 1
        headline = f"application error in {head.line.label.decode('latin-1')}: {problem}"
        if error is None:
            self.service.log.error(headline)
        else:
            self.service.log.block(Level.ERROR, headline, application_traceback(error))


class Room:
    """How many connections a worker may hold, and making room when a new client waits and there is none.

    Without a connection that may be closed, new clients wait in the backlog until one ends, or until another
    worker takes them. `worker` is its name in the log.
    """

    def __init__(
        self, registry: Registry, most: int, worker: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._registry = registry
        self._most = most
        self._clock = clock
        self._eviction_log = EvictionLog(worker, most)
        self._leaving: set[LoopConnection] = set()  # those that were closed last

    def left(self) -> int:
        """How many more connections may be held."""
        return self._most - len(self._registry.connections)

    def make(self) -> int:
        """Close connections; how many were. None, while those of the last time are not gone."""
        connections = self._registry.connections
        if not self._leaving.isdisjoint(connections):
            return 0
        candidates = ((*found, one) for one in connections if (found := one.evictable()))
        chosen = choose(candidates, max(1, self._most // SHARE))
        kinds = {one: kind for kind, one in chosen if one.close_if_idle(or_lacks_head=True)}
        self._leaving = set(kinds)
        if self.left() <= 0:  # else it is for want of descriptors, which is logged where that is seen
            log, now = self._eviction_log, self._clock()
            line = log.closed(kinds.values(), now) if kinds else log.not_accepting(now)
            if line:
                self._registry.service.log.warning(line)
        return len(kinds)
