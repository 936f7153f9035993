"""How the connections of a WSGI worker get their turns.

The loop (workers/sync_loop.py) finds out which of them are ready; its executor serves them. There are two:
Inline, in which the loop's own thread does it, one after the other (`sync`), and a Pool of threads
(`threads`, workers/pool.py).
"""

import math
import time
import traceback
from _thread import RLock  # threading would be imported for this alone
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, suppress
from typing import Final

from appserve import forked
from appserve.net.poller import GONE, READ, WRITE, Poller
from appserve.observe.counters import publish
from appserve.observe.log import Level
from appserve.observe.scoreboard import REQUESTS, ScoreboardRow
from appserve.workers.acceptor import Acceptor
from appserve.wsgi.connection import Next, WsgiConnection
from appserve.wsgi.service import WsgiService

EVENTS = {Next.READ: READ, Next.WRITE: WRITE, Next.AGAIN: 0}

LOOK_UP_AFTER = 10_000_000
"""Nanoseconds of the application after which the loop turns, though there are more that are ready: requests
can keep a worker for long, and between two of them signals, orders and deadlines are looked at."""

Guard = AbstractContextManager[object]
"""What is held while a connection is neither the kernel's nor in the dictionary, and by who forks."""

ReadyEvents = Iterable[tuple[int, int]]
"""What a poller tells: (descriptor, events)."""


class Executor(ABC):
    """Gives turns to the connections of one worker. The loop's thread calls its methods.

    connections  by descriptor, all that the worker has
    guard        is held while a connection is closed
    late         descriptor → events of those that were ready and had no turn yet; while there are any, the
                 loop does not wait. Without an event: they have sent more requests than one turn is long
    has_ended    a connection was closed since the loop set this to False
    turn_within  seconds after which the loop has to turn again even if nothing happens
    """

    def __init__(self, service: WsgiService, poller: Poller, queue_timeout: float) -> None:
        """`queue_timeout`: seconds that a request may wait for its turn; 0 for ever."""
        self.connections: dict[int, WsgiConnection] = {}
        # Reentrant: a fork may be a signal handler's, in the middle of an accept.
        self.guard = RLock()
        self.late: dict[int, int] = {}
        self.has_ended = False
        self.turn_within = math.inf
        self._service = service
        self._shared = service.shared
        self._poller = poller
        self._queue_limit = int(queue_timeout * 1e9)
        self._is_forked = False

    @abstractmethod
    def start(self, acceptor: Acceptor) -> None:
        """Get ready to serve who comes in by `acceptor`. Raises StartupError."""

    @abstractmethod
    def add(self, connection: WsgiConnection) -> None:
        """Serve a new connection from now on. Raises OSError if it cannot be watched."""

    def takes_more(self) -> bool:
        """Whether another new connection may follow the last one in the same turn."""
        return True

    @abstractmethod
    def serve(self, ready: ReadyEvents) -> list[int]:
        """Give turns to those in `late`, then to those that are ready; gives the descriptors that are ready
        and are no connection's. After a long turn the rest is late."""

    @abstractmethod
    def recall(self) -> None:
        """Take back those that wait for a turn, as there will be none."""

    @abstractmethod
    def settle(self, connection: WsgiConnection, needed: Next) -> None:
        """Arrange for what a connection needs next. Not while a batch of events is served."""

    def ask(self, connection: WsgiConnection, what: Callable[[WsgiConnection], Next]) -> None:
        """Let one that is not out do something, which does not take long, and settle what it needs then."""
        try:
            self.settle(connection, what(connection))
        except Exception:
            self.give_up(connection)

    def is_out(self, connection: WsgiConnection) -> bool:
        """Whether it is in other hands, or waits for its turn: the loop may not touch it then."""
        return False

    def give_up(self, connection: WsgiConnection) -> None:
        """An exception that should not be: one connection ends, the others go on."""
        self._report()
        self._shared.counters.rest()
        with suppress(Exception):
            self.drop(connection)
        connection.socket.close()  # it may have failed at that

    def _report(self) -> None:
        log = self._shared.log
        log.block(Level.CRITICAL, "internal error: closed a connection", traceback.format_exc())

    @abstractmethod
    def drop(self, connection: WsgiConnection) -> None:
        """Close one that is not out."""

    def _close(self, connection: WsgiConnection) -> None:
        """The end of a connection that gave back all but its socket; any thread's that has it."""
        with self.guard:
            del self.connections[connection.fd]
            connection.socket.close()
        self.has_ended = True

    @abstractmethod
    def turned(self, now: float) -> None:
        """The loop has turned once; `now` is monotonic seconds."""

    @abstractmethod
    def look(self, now_ns: int) -> None:
        """Once a second, and at the end: show what was done."""

    @abstractmethod
    def take_held_up(self) -> int:
        """For how long requests were held up at most since the last call, in nanoseconds."""

    def disown(self) -> None:
        """Runs in a process that the application forked: it would keep connections open that we close."""
        self._is_forked = True
        self._poller.close()
        self._service.quota.disown()
        for connection in self.connections.values():
            connection.disown()

    def close(self) -> None:
        """Give everything back."""
        self.recall()
        for connection in list(self.connections.values()):
            if not self.is_out(connection):
                self.drop(connection)
        self._poller.close()


class Inline(Executor):
    """One after the other, in the thread that calls."""

    def __init__(
        self, service: WsgiService, poller: Poller, queue_timeout: float, row: ScoreboardRow
    ) -> None:
        super().__init__(service, poller, queue_timeout)
        self._row = row
        self._counters = service.shared.counters

    def start(self, acceptor: Acceptor) -> None:
        pass

    def add(self, connection: WsgiConnection) -> None:
        # Its request may be there already, and be its only one (a proxy that keeps no connections). So it has
        # a turn before it is watched, which then may not be needed; in the next batch, when there is room.
        if self._queue_limit:
            connection.note_arrival(time.monotonic_ns(), self._queue_limit, True)
        self.connections[connection.fd] = connection
        self.late[connection.fd] = READ

    def serve(self, ready: ReadyEvents) -> list[int]:
        # hot: bench sync-hello. Everything a request costs that is not its connection's business.
        connections, own = self.connections, []
        counters = self._counters
        look_up_at = counters.busy_ns + LOOK_UP_AFTER
        if self._queue_limit:
            self._note_arrival(ready)
        if self.late:
            self.late.update(ready)  # what was ready may be gone by now
            ready, self.late = self.late.items(), {}
        rest = iter(ready)
        for fd, events in rest:
            connection = connections.get(fd)
            if connection is None:
                own.append(fd)
                continue
            try:
                if events & READ:
                    needed = connection.on_readable()
                elif events & WRITE:
                    needed = connection.on_writable()
                else:
                    needed = Next.CLOSE if events & GONE else connection.proceed()
                if needed is not NEXT_READ or connection.watched is not NEXT_READ:
                    self.settle(connection, needed)
            except Exception:
                self.give_up(connection)
            if counters.busy_ns > look_up_at:
                for fd, events in rest:
                    if fd in connections:
                        self.late[fd] = events
                    else:
                        own.append(fd)
        return own

    def _note_arrival(self, ready: ReadyEvents) -> None:
        """Requests wait for each other from now on, and some have waited before."""
        now = time.monotonic_ns()
        for fd, events in ready:
            connection = self.connections.get(fd)
            if connection is not None and fd not in self.late:
                connection.note_arrival(now, self._queue_limit, bool(events & READ))

    def is_out(self, connection: WsgiConnection) -> bool:
        return connection.fd in self.late

    def recall(self) -> None:
        self.late.clear()

    def settle(self, connection: WsgiConnection, needed: Next) -> None:
        if self._is_forked:
            forked.leave(None)
        if needed is NEXT_CLOSE:
            self.drop(connection)
            return
        if needed is NEXT_AGAIN:
            self.late[connection.fd] = 0
        if connection.watched is None:
            self._poller.add(connection.fd, EVENTS[needed])
            self._service.waiting.wake(connection)
        elif needed is not connection.watched:
            self._poller.watch(connection.fd, EVENTS[needed])
        connection.watched = needed

    def drop(self, connection: WsgiConnection) -> None:
        fd = connection.fd
        if self.connections.get(fd) is not connection:
            return
        self.late.pop(fd, None)
        try:
            if connection.watched is not None:
                self._poller.remove(fd)
            connection.release()
        finally:
            self._close(connection)

    def turned(self, now: float) -> None:
        if self._shared.access is not None:
            self._shared.access.flush()
        self._row.words[REQUESTS] = self._counters.requests

    def look(self, now_ns: int) -> None:
        publish(self._row, (self._counters,), now_ns, len(self.connections), 0)

    def take_held_up(self) -> int:
        return self._counters.take_held_up()


# hot: see http.messages.END.
NEXT_READ: Final = Next.READ
NEXT_CLOSE: Final = Next.CLOSE
NEXT_AGAIN: Final = Next.AGAIN
