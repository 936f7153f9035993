"""The WSGI worker: one loop that owns every connection of the process, and an executor that serves them.

Clients are many and slow, the application is one and quick: the loop gathers requests from all connections
and lets the application have those that are complete. In a sync worker that is one at a time, in this thread
(workers/executor.py), in a threads worker one for each thread of a pool (workers/pool.py). A client that
sends nothing, sends slowly or does not read its response costs a descriptor, never a turn.

All workers share the listening sockets (workers/acceptor.py). One that has siblings takes one connection a
turn and goes to the end of the queue (net/poller.py), because while it runs the application a sibling should
get the next.
"""

import gc
import os
import time
from collections.abc import Iterator
from socket import SocketType
from typing import Final

from appserve.config.derive import thread_count
from appserve.connection.eviction import SHARE, Evictable, EvictionLog, choose
from appserve.connection.waiting import AttentionClock, DeadlineQueue
from appserve.net.address import SocketAddress
from appserve.net.poller import Poller, make_poller
from appserve.observe.counters import Counters
from appserve.observe.scoreboard import WorkerState
from appserve.workers.acceptor import Acceptor, PauseReason
from appserve.workers.application import Application
from appserve.workers.context import WorkerContext, make_service
from appserve.workers.executor import Executor, Inline
from appserve.workers.keepalive_policy import KeepAlivePolicy
from appserve.workers.master_link import MasterLink, Phase
from appserve.wsgi.connection import WsgiConnection
from appserve.wsgi.environ import CgiFields, ServerFacts, make_template
from appserve.wsgi.service import KeepAlive, WsgiService
from appserve.wsgi.spool import Quota

SWEEP = 1.0
"""Seconds between two looks at the clients that keep us waiting."""

ATTENTION = 2 * SWEEP
"""Of a longer pause between two sweeps the application was the cause: no client is charged for it."""

LEAVING_PAUSE = 0.1
"""Seconds after which a worker that leaves looks whether it can, though nothing has happened: a connection
may have become idle enough, and a sibling may have emptied the queue."""

TOLD_AGAIN = 60.0
"""Seconds after which it is told again that a worker has no room on disk."""


def serve(application: Application, context: WorkerContext) -> int:
    """Be a sync worker until the master says otherwise, or is gone; gives the exit code."""
    return _serve(WsgiWorker(application, context, 0))


def serve_threads(application: Application, context: WorkerContext) -> int:
    """Be a threads worker. Raises StartupError if it cannot have its threads."""
    return _serve(WsgiWorker(application, context, thread_count(context.settings)))


def _serve(worker: "WsgiWorker") -> int:
    try:
        return worker.run()
    finally:
        worker.close()


class WsgiWorker:
    """The loop. `run` returns the exit code when all is done. `threads`: 0 for none but the loop's."""

    def __init__(self, application: Application, context: WorkerContext, threads: int) -> None:
        settings = context.settings
        self._application = application
        self._context = context
        self._log = context.log
        self._keep_alive = KeepAlive(closes=settings.keep_alive <= 0)
        self._keep_alive_policy = KeepAlivePolicy(
            self._keep_alive,
            context.board,
            context.row,
            has_one_thread=not threads,
            is_tls=bool(settings.certfile),
        )
        self._poller: Poller = make_poller()
        self._counters = Counters(None if threads else context.row)
        self._quota = Quota(context.settings.limit_spool)
        self._waiting: DeadlineQueue[WsgiConnection] = DeadlineQueue(SWEEP)
        self._service = self._make_service(threads)
        self._executor = self._make_executor(threads)
        self._connections = self._executor.connections
        self._acceptor = Acceptor(
            context.listeners,
            self._poller,
            context.log,
            self._admit,
            self._executor.guard,
            has_siblings=settings.workers > 1,
        )
        self._most = settings.worker_connections
        self._is_crowded = False  # it may hold too many connections
        self._eviction_log = EvictionLog(f"worker {context.slot} (pid {os.getpid()})", self._most)
        self._told_shortage = float("-inf")
        self._clock = AttentionClock(ATTENTION)
        self._swept = 0.0
        self._stage = Phase.SERVING  # as far as the loop has followed its orders
        self._link = MasterLink(context)

    def _make_service(self, threads: int) -> WsgiService:
        context = self._context
        settings = context.settings
        shared = make_service(context, self._application.call, CgiFields(), self._counters)
        return WsgiService(
            shared,
            template=make_template(ServerFacts(threads > 1, settings.workers > 1, settings.root_path)),
            quota=self._quota,
            keep_alive=self._keep_alive,
            waiting=self._waiting,
        )

    def _make_executor(self, threads: int) -> Executor:
        context = self._context
        settings = context.settings
        if not threads:
            return Inline(self._service, self._poller, settings.queue_timeout, context.row)
        # Nothing that a sync worker should pay for.
        from appserve.workers.pool import Pool
        from appserve.workers.slow_requests import SlowRequests

        slow = SlowRequests(settings.timeout, context.log, context.slot)
        return Pool(self._service, self._poller, settings.queue_timeout, threads, context.row, slow)

    def run(self) -> int:
        """Turn until the worker may leave."""
        os.register_at_fork(after_in_child=self._executor.disown)
        # A child that a thread forks between an accept and the dictionary would hold a connection that nobody
        # there knows of, and one that is forked in the middle of a close (socket.close() forgets the number
        # before it lets go of the interpreter) one that cannot be closed any more.
        guard = self._executor.guard
        os.register_at_fork(before=guard.acquire, after_in_parent=guard.release, after_in_child=guard.release)
        gc.collect()
        gc.freeze()  # what the import made stays: the collector need not look at it again
        link, poller = self._link, self._poller
        poller.add(link.channel_fd)
        poller.add(link.wakeup_fd)
        self._executor.start(self._acceptor)
        link.announce_ready(self._application)
        self._swept = time.monotonic()
        self._clock.look(self._swept)
        self._executor.look(time.monotonic_ns())
        while not self._may_leave():
            self._turn()
        if self._connections:
            link.log_cut(len(self._connections))
            self._cut()
        self._executor.turned(time.monotonic())
        self._executor.look(time.monotonic_ns())
        self._context.drain_logs()
        return 0

    def _turn(self) -> None:
        # hot: bench sync-hello. The rest of what a request costs is in Inline.serve.
        executor = self._executor
        now = time.monotonic()
        timeout = 0.0 if executor.late else max(0.0, min(self._swept + SWEEP - now, executor.turn_within))
        if self._stage is not SERVING:
            timeout = min(timeout, self._time_left(now))
        for fd in executor.serve(self._poller.wait(timeout)):
            self._on_own(fd)
        if executor.has_ended:
            self._departed()
        if self._is_crowded or self._acceptor.lacks_descriptors:
            self._mind_crowd()
        now = time.monotonic()
        executor.turned(now)
        if now - self._swept >= SWEEP:
            self._sweep(now)

    def _on_own(self, fd: int) -> None:
        """Something of ours is ready: a listener, the master's channel, a signal."""
        link = self._link
        if fd == link.channel_fd:
            link.on_channel()
            if not link.channel_open:
                self._poller.remove(fd)
            if link.listening:
                self._acceptor.resume(PauseReason.EARLY)
            if link.take_sibling_death():
                self._acceptor.rearm()
        elif fd == link.wakeup_fd:
            link.on_wakeup()
        else:
            self._acceptor.on_readable(fd)
        if self._stage is not link.stage:
            self._follow(link.stage)  # before a listener that was ready with the order is looked at

    # ── connections come and go ──

    def _admit(self, client: SocketType, peer: SocketAddress, local: SocketAddress) -> bool:
        """Take over a connection that was accepted. Raises OSError if it cannot be served."""
        self._counters.accepted += 1
        self._executor.add(WsgiConnection(self._service, client, peer, local))
        if len(self._connections) >= self._most:
            self._is_crowded = True
            return False
        return self._executor.takes_more()

    def _departed(self) -> None:
        """Connections have ended: there may be room again."""
        self._executor.has_ended = False
        if self._acceptor.awaits_departures:
            self._acceptor.resume(PauseReason.NO_FILES)
            if len(self._connections) < self._most:
                self._acceptor.resume(PauseReason.CROWDED)

    def _mind_crowd(self) -> None:
        """There are as many connections as there may be, or one more: make room if it can be made.

        One more, because who was woken for a connection has to accept it: no sibling would learn of it.
        """
        self._is_crowded = False
        if self._acceptor.is_closed:
            return
        if self._acceptor.lacks_descriptors:
            self._acceptor.lacks_descriptors = False
            self._evict(max(1, len(self._connections) // SHARE))
        excess = len(self._connections) - self._most
        if excess > 0:
            self._warn(self._eviction_log.closed(self._evict(excess + self._most // SHARE), time.monotonic()))
        if len(self._connections) >= self._most and not any(self._evictable()):
            self._warn(self._eviction_log.not_accepting(time.monotonic()))
            self._acceptor.pause(PauseReason.CROWDED)
        else:
            self._acceptor.resume(
                PauseReason.CROWDED
            )  # there is room for the next one, or one that can be closed

    def _warn(self, line: str) -> None:
        if line:
            self._log.warning(line)

    def _evict(self, count: int) -> list[Evictable]:
        """Close so many connections that may be closed for others; gives what those were that are closed."""
        kinds = []
        for kind, connection in choose(self._evictable(), count):
            self._executor.ask(connection, WsgiConnection.make_room)
            if self._connections.get(connection.fd) is not connection:
                kinds.append(kind)
        return kinds

    def _evictable(self) -> Iterator[tuple[Evictable, float, WsgiConnection]]:
        """Those that may be closed, and that no thread has out."""
        is_out = self._executor.is_out
        now = time.monotonic_ns()
        for connection in list(self._connections.values()):
            found = None if is_out(connection) else connection.evictable(now)
            if found is not None:
                yield (*found, connection)

    # ── once a second ──

    def _sweep(self, now: float) -> None:
        self._clock.look(now)
        self._swept = now
        self._service.shared.date_fields.renew(time.time())
        self._link.tick()
        now_ns = time.monotonic_ns()
        self._keep_alive_policy.update(now_ns, self._executor.take_held_up())
        self._executor.look(now_ns)
        self._look_at_waits(self._clock.now)
        self._departed()
        if len(self._connections) >= self._most:
            self._mind_crowd()
        self._acceptor.rearm()
        self._tell_shortage(now)
        self._service.shared.refusals.report(self._service.shared.fields.oddities)
        self._log.flush()

    def _look_at_waits(self, now: float) -> None:
        """End the waits that have lasted too long; `now` is seconds of attention."""
        waiting, executor = self._waiting, self._executor
        for connection in waiting.take(now):
            if self._connections.get(connection.fd) is not connection:
                continue
            if executor.is_out(connection):
                waiting.wake(connection)
                continue
            try:
                if connection.is_expired(now):
                    executor.ask(connection, WsgiConnection.expire)
                    waiting.wake(connection)
                else:
                    waiting.rest(connection, connection.due(now))
            except Exception:
                executor.give_up(connection)

    def _tell_shortage(self, now: float) -> None:
        """The spool had no room: uploads are refused, and responses wait for their readers."""
        shortage = self._quota.shortage
        if shortage and now - self._told_shortage >= TOLD_AGAIN:
            self._quota.shortage = ""
            self._told_shortage = now
            self._log.warning(
                f"worker {self._context.slot} (pid {os.getpid()}) cannot buffer for slow clients: {shortage}"
            )

    # ── leaving ──

    def _may_leave(self) -> bool:
        """Whether the worker is on its way out and has nothing left to do, or no time left to do it."""
        link = self._link
        if link.stage is SERVING:
            return False
        if self._stage is not link.stage:
            self._follow(link.stage)
        self._mind_queue()
        now = time.monotonic()
        if now >= link.deadline:
            self._acceptor.close()
            return True
        if now >= link.linger_until:
            self._close_idle()
        # By a SIGTERM alone it does not leave at once: it may have gone to all, and an order follow.
        may_accept = self._stage is Phase.STOPPING or now < link.linger_until
        return not self._connections and (self._acceptor.is_closed or not may_accept)

    def _follow(self, stage: Phase) -> None:
        """Begin to leave, or to leave in another way: it is the accepting that changes, and every response
        says that it is the last."""
        if self._stage is Phase.SERVING:
            self._context.row.enter(WorkerState.DRAINING, time.monotonic_ns())
            self._keep_alive_policy.end()
        self._stage = stage
        if stage is Phase.RETIRING:
            self._acceptor.pause(PauseReason.LEAVING)
            self._link.announce_retiring()
        elif stage is Phase.STOPPING and not self._acceptor.is_closed:
            self._acceptor.resume(PauseReason.LEAVING)

    def _mind_queue(self) -> None:
        """On the way out: close the listeners as soon as they are not needed any more."""
        if not self._link.needs_listeners:
            self._acceptor.close()
        elif self._stage is Phase.STOPPING:
            self._acceptor.close_if_empty()

    def _time_left(self, now: float) -> float:
        """Seconds for which the loop may wait when the worker is on its way out."""
        return max(0.0, min(LEAVING_PAUSE, self._link.deadline - now))

    def _close_idle(self) -> None:
        """Close the connections on which nothing is under way."""
        executor = self._executor
        quickly = self._stage is Phase.QUITTING
        now = time.monotonic_ns()
        for connection in list(self._connections.values()):
            if executor.is_out(connection):
                continue
            if connection.can_go(now) or (quickly and connection.is_idle):
                executor.ask(connection, WsgiConnection.close_idle)
            elif quickly and connection.lingers:
                executor.drop(connection)

    def _cut(self) -> None:
        """Close what there is no more time for: what has asked for something is told so and recorded."""
        executor = self._executor
        executor.recall()
        for connection in list(self._connections.values()):
            if not executor.is_out(connection):
                executor.ask(connection, WsgiConnection.cut)
                executor.drop(connection)

    def close(self) -> None:
        """Give everything back."""
        self._executor.close()
        self._link.close()


SERVING: Final = Phase.SERVING  # hot: see http.messages.END.
