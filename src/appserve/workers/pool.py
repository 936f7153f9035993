"""The threads worker: the loop finds connections that are ready, and threads serve them.

    poller ──event──► loop ──connection──► queue ──► thread: reads, parses, calls the application, writes,
      ▲                                                and asks the poller for the next event
      └────────────────────────────────────────────────┘

**Whose a connection is.** From the moment that the loop puts it into the queue until the thread that took it
asks the poller for its next event, it is that thread's, and nobody else reads or writes anything of it. There
is no lock: each connection has a list, `out`. The loop appends to it before it hands the connection over, and
the thread takes one off after it has asked for the next event; each is one step under the interpreter's lock.
While the list is not empty, the loop leaves the connection alone.

- Each is watched for one event at a time (net/poller.py), so while it is out there is none for it.
- The thread asks before it takes off, so the next event may come in between: then the loop appends again, and
  for a moment the list is longer than it should be. That is safe: the connection counts as out although it
  may be back, never the other way round. The thread that asked does not touch it any more, except for that
  list.
- Once a connection is closed, its number may be that of the next one accepted; so it is closed and taken out
  of the dictionary under a guard, under which connections are accepted too. Nothing is taken off its `out`:
  whoever still holds it shall leave it alone.
- The loop closes nothing while it serves a batch, except the one whose event it looks at, and accepts at the
  end of it: the events behind could be told of numbers that are somebody else's by then.
- What the loop does between two batches to connections that are watched (the ends of waits, leaving, making
  room) never calls the application; if a request turns out to be there, the loop takes the connection out of
  the poller and hands it over like any other.

Slow readers take no thread: what is left of a response is sent by the loop when the client takes it.

A new connection goes to a thread before it is watched: its request is there already, most likely. So one rule
decides about accepting: a worker whose threads are all busy, and have ended no call of late, does not accept;
a sibling may have a thread that is free. It accepts again when one of its own is; the thread that sees it
rings the poller's bell. Where calls end all the time a new connection has its turn soon, and connections that
are kept alive could keep all threads busy for as long as they like; there as many new connections may wait as
there are threads.

Alternatives, measured: threads that share one epoll have a long tail (p99 30 ms against 2); an epoll for each
thread makes connections wait for one while others are idle; to run quick requests in the loop's own thread
saves 2 µs a request, and stalls everybody when one is not quick.
"""

import math
import sys
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue
from threading import Thread, get_ident
from typing import Final

from appserve import forked
from appserve.errors import AppStartError
from appserve.net.poller import GONE, READ, WRITE, Poller
from appserve.observe.counters import Counters, ShownRequest, publish
from appserve.observe.scoreboard import REQUESTS, ScoreboardRow
from appserve.workers.acceptor import Acceptor, PauseReason
from appserve.workers.executor import EVENTS, Executor, ReadyEvents
from appserve.workers.slow_requests import SlowRequests
from appserve.wsgi.connection import Next, WsgiConnection
from appserve.wsgi.service import WsgiService

BREATH = 0.05
"""Seconds after which the loop shows what the threads have done: the access log's lines, and which request
runs. Not each turn: that would be a system call for a request."""

LULL = 0.005
"""Threads that are all busy are about to be free, unless none has ended a call in so many seconds before the
loop's last turn."""

SWITCH = 0.001
"""Seconds after which a thread that computes lets another one go on. Python's own 5 ms come four times in a
request: beside two that computed, a quick one took 18 ms, and takes 5 with this. It is the application's as
well (docs/workers.md says so), and left alone when that has chosen another."""

PYTHONS_SWITCH = 0.005

Job = tuple[WsgiConnection, bool, int]
"""A connection, whether there is something to read (or it goes on with what it has), and since when it waits
for a thread if none was free (ns), else 0."""


class Pool(Executor):
    """Threads that serve connections, as many as `size`. See the top of the file.

    threads   what each of them does
    """

    def __init__(
        self,
        service: WsgiService,
        poller: Poller,
        queue_timeout: float,
        size: int,
        row: ScoreboardRow,
        slow: SlowRequests,
    ) -> None:
        super().__init__(service, poller, queue_timeout)
        self._size = size
        self._row = row
        self._slow = slow
        self._queue: SimpleQueue[Job | None] = SimpleQueue()
        # One for each connection that is out; appended to and taken from as `out`.
        self._busy: list[None] = []
        self._shown = ShownRequest(row)
        self.threads = [Counters(shown=self._shown, name=f"appserve-thread-{n}") for n in range(1, size + 1)]
        self._acceptor: Acceptor | None = None
        self._is_awaited = False  # the loop wants to know when a thread is free
        self._in_flight = 0
        self._show_at = 0.0
        self._accepted: list[Job] = []  # in this turn
        self._new: dict[WsgiConnection, None] = {}  # those that wait for their first turn
        self._turned_at = 0.0  # when the loop has turned last; monotonic seconds

    def start(self, acceptor: Acceptor) -> None:
        """Start the threads: all of them at once, because who cannot have them should not begin to serve."""
        self._acceptor = acceptor
        self._poller.hang_bell()
        if sys.getswitchinterval() == PYTHONS_SWITCH:  # else the application has asked for another one
            sys.setswitchinterval(SWITCH)
        try:
            for thread in self.threads:
                # Daemons: one that is stuck does not keep the process from its end.
                Thread(target=self._work, args=(thread,), name=thread.name, daemon=True).start()
        except RuntimeError as error:
            raise AppStartError(f"cannot start {self._size} threads: {error} (see --threads)") from error

    # ── the loop's side ──

    def add(self, connection: WsgiConnection) -> None:
        connection.out = []
        self.connections[connection.fd] = connection
        self._new[connection] = None
        # Not put into the queue before the turn is over: a thread that it wakes would take the interpreter
        # at the next system call of the loop, which accepts more.
        self._accepted.append(self._lend(connection, True, time.monotonic_ns()))

    def takes_more(self) -> bool:
        return len(self._busy) < self._size

    def is_out(self, connection: WsgiConnection) -> bool:
        return bool(connection.out)

    def serve(self, ready: ReadyEvents) -> list[int]:
        # hot: bench threads-hello. What a request costs in the loop.
        connections, own = self.connections, []
        now = time.monotonic_ns()
        for fd, events in ready:
            connection = connections.get(fd)
            if connection is None:
                own.append(fd)
            elif events & READ:
                self._hand_over(connection, True, now)
            elif events & WRITE:
                self._relieve(connection, now)
            elif events & GONE:
                self.drop(connection)
        return own  # what is accepted or closed for them may have a number that was in the batch

    def _hand_over(self, connection: WsgiConnection, reads: bool, now: int) -> None:
        self._queue.put(self._lend(connection, reads, now))

    def _lend(self, connection: WsgiConnection, reads: bool, now: int) -> Job:
        """From now on it is out."""
        connection.out.append(None)
        busy = self._busy
        busy.append(None)
        if self._queue_limit:
            connection.note_arrival(now, self._queue_limit, reads)
        return connection, reads, now if len(busy) > self._size else 0

    def _relieve(self, connection: WsgiConnection, now: int) -> None:
        """Let a slow reader have what it takes."""
        try:
            connection.served_by(self._shared.counters)
            needed = connection.relieve()
            if needed is Next.AGAIN:
                self._hand_over(connection, False, now)
            elif needed is Next.CLOSE:
                self.drop(connection)
            else:
                self._watch(connection, EVENTS[needed])
        except Exception:
            self.give_up(connection)

    def recall(self) -> None:
        try:
            while (job := self._queue.get_nowait()) is not None:
                job[0].out.pop()
                self._busy.pop()
        except Empty:
            pass

    def settle(self, connection: WsgiConnection, needed: Next) -> None:
        if needed is Next.CLOSE:
            self.drop(connection)
        elif needed is Next.AGAIN:
            # It is watched, and its next event would be another thread's.
            self._poller.remove(connection.fd)
            connection.watched = None
            self._hand_over(connection, False, time.monotonic_ns())
        else:
            self._watch(connection, EVENTS[needed])

    def ask(self, connection: WsgiConnection, what: Callable[[WsgiConnection], Next]) -> None:
        connection.served_by(self._shared.counters)
        super().ask(connection, what)

    def drop(self, connection: WsgiConnection) -> None:
        fd = connection.fd
        if self.connections.get(fd) is not connection:
            return
        try:
            if connection.watched is not None:
                self._poller.remove(fd)
            connection.release()
        finally:
            self._close(connection)

    def turned(self, now: float) -> None:
        for job in self._accepted:
            self._queue.put(job)
        self._accepted.clear()
        resting = not self._busy  # asked first: what threads did before that is shown now
        if resting or now >= self._show_at:
            self._show_at = now + BREATH
            self._show()
        self.turn_within = math.inf if resting else BREATH
        if self._acceptor is not None:
            self._pause_or_accept(self._acceptor)
        self._turned_at = now

    def _show(self) -> None:
        access = self._shared.access
        if access is not None:
            access.flush()
        self._row.words[REQUESTS] = sum(
            [thread.requests for thread in self.threads], self._shared.counters.requests
        )
        self._in_flight = self._shown.look(self.threads)

    def _pause_or_accept(self, acceptor: Acceptor) -> None:
        """Accept while a thread is free, or is about to be (LULL) and few new connections wait for it."""
        busy, size = self._busy, self._size
        if len(busy) >= size:
            last_end = max([thread.ended for thread in self.threads])
            if len(self._new) >= size or last_end / 1e9 + LULL < self._turned_at:
                # First say that it is awaited, then look again: so either the thread that becomes free in
                # between sees it and rings, or it is seen here.
                self._is_awaited = True
                if len(busy) >= size:
                    acceptor.pause(PauseReason.NO_THREAD)
                    return
                self._is_awaited = False
            else:
                self.turn_within = LULL
        acceptor.resume(PauseReason.NO_THREAD)

    def look(self, now_ns: int) -> None:
        self._slow.look(self.threads, now_ns)
        self._show()  # also at the end: what stays in the row then is a request that the process dies with
        publish(
            self._row, (self._shared.counters, *self.threads), now_ns, len(self.connections), self._in_flight
        )

    def take_held_up(self) -> int:
        return max([thread.take_held_up() for thread in self.threads])

    def close(self) -> None:
        for connection in list(self.connections.values()):
            if not self.is_out(connection):
                self.drop(connection)
        for _ in self.threads:
            self._queue.put(None)
        if not self._busy:
            self._poller.close()  # else threads still use it, and the process ends anyway

    # ── the threads' side ──

    def _work(self, thread: Counters) -> None:
        """The life of one thread."""
        # hot: bench threads-hello.
        thread.ident = get_ident()
        take, busy, size = self._queue.get, self._busy, self._size
        while (job := take()) is not None:
            connection, reads, waits_since = job
            thread.connection = connection
            if waits_since:
                thread.held_up = max(thread.held_up, time.monotonic_ns() - waits_since)
            try:
                connection.served_by(thread)
                if connection.watched is None:
                    self._new.pop(connection, None)
                needed = connection.on_readable() if reads else connection.proceed()
                if self._is_forked:
                    forked.leave(None)
                if needed is NEXT_READ or needed is NEXT_WRITE:
                    self._give_back(connection, READ if needed is NEXT_READ else WRITE)
                elif needed is Next.AGAIN:
                    self._queue.put((connection, False, 0))  # behind the others, and still out
                    continue
                else:
                    self._end(connection)
            except BaseException:
                self._report()
                thread.rest()
                self._end(connection)
            busy.pop()
            if self._is_awaited and len(busy) < size:
                self._is_awaited = False
                self._poller.ring()

    def _give_back(self, connection: WsgiConnection, events: int) -> None:
        """Let the connection wait for its next event."""
        out = connection.out
        self._watch(connection, events)
        out.pop()  # another thread may have it by now

    def _watch(self, connection: WsgiConnection, events: int) -> None:
        if connection.watched is None:
            connection.watched = Next.READ
            self._service.waiting.wake(connection)
            self._poller.add_once(connection.fd, events)
        else:
            self._poller.watch_once(connection.fd, events)

    def _end(self, connection: WsgiConnection) -> None:
        """Close a connection that is out."""
        if self.connections.get(connection.fd) is not connection:
            return
        try:
            connection.release()
        except Exception:
            self._report()
        self._close(connection)
        if self._acceptor is not None and self._acceptor.awaits_departures:
            self._poller.ring()


# hot: see http.messages.END.
NEXT_READ: Final = Next.READ
NEXT_WRITE: Final = Next.WRITE
