"""The sync worker: one loop that owns every connection of the process and calls the application inline.

Clients are many and slow, the application is one and quick: the loop gathers requests from all connections
and lets the application have those that are complete, one at a time. A client that sends nothing, sends
slowly or does not read its response costs a descriptor, never a turn.

All workers share the listening sockets; this one takes one connection a turn and goes to the end of the
queue (net/poller.py), because while it runs the application a sibling should get the next.
"""

import gc
import os
import time
import traceback
from collections.abc import Callable
from contextlib import suppress

from appserve import forked
from appserve.http.stamp import Stamp
from appserve.net.listeners import Listener
from appserve.net.poller import GONE, READ, WRITE, Poller, make_poller
from appserve.observe.log import Level
from appserve.observe.scoreboard import WorkerState
from appserve.observe.tally import Tally
from appserve.workers.app import Application
from appserve.workers.leash import Leash, Stage
from appserve.workers.orders import Orders, make_limits, make_patience
from appserve.wsgi.connection import Next, WsgiConnection
from appserve.wsgi.environ import Site, cgi_fields, make_template
from appserve.wsgi.service import Service
from appserve.wsgi.spool import Quota

SWEEP = 1.0
"""Seconds between two looks at the clients that keep us waiting."""

ATTENTION = 2 * SWEEP
"""Of a longer pause between two sweeps the application was the cause: no client is charged for it."""

SPOOL_QUOTA = 1 << 30
"""Bytes that bodies and responses of this process may keep on disk together."""

LAST_WORDS = 0.5
"""Seconds that the readers of the logs have to take the last lines."""

EVENTS = {Next.READ: READ, Next.WRITE: WRITE, Next.AGAIN: 0}


def serve(application: Application, orders: Orders) -> int:
    """Serve until the master says otherwise, or is gone; gives the exit code."""
    worker = SyncWorker(application, orders)
    try:
        return worker.run()
    finally:
        worker.close()


class SyncWorker:
    """The loop. `run` returns the exit code when all is done."""

    def __init__(self, application: Application, orders: Orders) -> None:
        settings = orders.settings
        self._application = application
        self._orders = orders
        self._log = orders.log
        self._access = orders.access
        self._stamp = Stamp(time.time())
        self._tally = Tally(orders.row)
        self._keep_alive = settings.keep_alive > 0
        self._most_connections = settings.worker_connections
        self._service = Service(
            application=application.call,
            template=make_template(Site(multithread=False, multiprocess=settings.workers > 1)),
            limits=make_limits(settings),
            fields=cgi_fields(),
            stamp=self._stamp,
            patience=make_patience(settings),
            quota=Quota(SPOOL_QUOTA),
            log=orders.log,
            access=orders.access,
            tally=self._tally,
        )
        self._poller: Poller = make_poller()
        self._connections: dict[int, WsgiConnection] = {}
        self._watched: dict[int, Next] = {}  # only those that are not watched for reading
        self._again: list[WsgiConnection] = []
        self._listeners: dict[int, Listener] = {}  # those that are watched
        self._attention = 0.0  # seconds that the loop has been attentive to its clients
        self._swept = 0.0
        self._drained = False
        self._cannot_accept = False  # and it was told
        self._is_forked = False
        self._leash = Leash(orders)

    def run(self) -> int:
        """Turn until the worker may leave."""
        os.register_at_fork(after_in_child=self._be_no_worker)
        gc.collect()
        gc.freeze()  # what the import made stays: the collector need not look at it again
        leash, poller = self._leash, self._poller
        poller.add(leash.channel_fd)
        poller.add(leash.wakeup_fd)
        leash.announce_ready(self._application)
        self._swept = time.monotonic()
        self._tally.publish(time.monotonic_ns(), 0, 0)
        while not self._may_leave():
            self._turn()
        self._tally.publish(time.monotonic_ns(), len(self._connections), 0)
        if self._connections:
            self._log.warning(
                f"worker {self._orders.slot} (pid {os.getpid()}) left {len(self._connections)} connections "
                "unfinished: their time was up"
            )
        if self._access is not None:
            self._access.drain(LAST_WORDS)
        self._log.drain(LAST_WORDS)
        return 0

    def _turn(self) -> None:
        # hot: bench sync-hello. Everything a request costs that is not its connection's business.
        connections = self._connections
        if self._again:
            self._go_on()
        now = time.monotonic()
        timeout = 0.0 if self._again else max(0.0, self._swept + SWEEP - now)
        if self._drained:
            timeout = min(timeout, self._time_left(now))
        for fd, events in self._poller.wait(timeout):
            connection = connections.get(fd)
            if connection is None:
                self._on_own(fd)
                continue
            try:
                if events & READ:
                    needed = connection.on_readable()
                    if needed is not NEXT_READ:
                        self._arrange(connection, needed)
                elif events & WRITE:
                    self._arrange(connection, connection.on_writable())
                elif events & GONE:
                    self._drop(connection)
            except Exception:
                self._give_up(connection)
        if self._access is not None:
            self._access.flush()
        self._tally.publish_requests()
        now = time.monotonic()
        if now - self._swept >= SWEEP:
            self._sweep(now)

    def _go_on(self) -> None:
        """Let those have their turn again who have sent more requests than one turn is long."""
        again, self._again = self._again, []
        for connection in again:
            if self._connections.get(connection.fd) is connection:  # it may be gone since
                self._try(connection, connection.proceed)

    # ── connections ──

    def _try(self, connection: WsgiConnection, what: Callable[[], Next]) -> None:
        """Let a connection do something, and arrange for what it needs then."""
        try:
            self._arrange(connection, what())
        except Exception:
            self._give_up(connection)

    def _give_up(self, connection: WsgiConnection) -> None:
        """An exception that should not be: one connection ends, the others go on."""
        self._log.block(Level.CRITICAL, "internal error, a connection is dropped", traceback.format_exc())
        self._tally.rest()
        with suppress(Exception):
            self._drop(connection)
        connection.socket.close()  # it may have failed at that

    def _arrange(self, connection: WsgiConnection, needed: Next) -> None:
        """Watch a connection for what it needs next."""
        if self._is_forked:
            forked.leave(None)
        if needed is Next.CLOSE:
            self._drop(connection)
            return
        if needed is Next.AGAIN:
            self._again.append(connection)
        fd = connection.fd
        if needed is not self._watched.get(fd, NEXT_READ):
            self._poller.watch(fd, EVENTS[needed])
            if needed is NEXT_READ:
                del self._watched[fd]
            else:
                self._watched[fd] = needed

    def _drop(self, connection: WsgiConnection) -> None:
        fd = connection.fd
        if self._connections.pop(fd, None) is None:
            return
        self._watched.pop(fd, None)
        self._poller.remove(fd)
        connection.close()
        if not self._listeners:
            self._watch_listeners()  # there may be room again

    def _accept(self, listener: Listener) -> bool:
        """Take one connection; whether there was one."""
        try:
            client, peer = listener.socket.accept()
        except BlockingIOError:
            return False
        except ConnectionError:
            return True  # this one left before it was accepted
        except OSError as error:
            self._pause_accepting(error)
            return False
        self._cannot_accept = False
        self._tally.accepted += 1
        try:
            client.setblocking(False)
            self._add(WsgiConnection(self._service, client, peer))
        except OSError:
            client.close()  # it left since, or epoll has no room
        return True

    def _pause_accepting(self, error: OSError) -> None:
        """There are no descriptors, most likely. The connection stays in its queue, where it would wake us
        again and again; we look again when one of ours ends, or at the next sweep."""
        if not self._cannot_accept:
            self._cannot_accept = True
            self._log.error(
                f"cannot accept connections for now: {error.strerror} (see the limit of open files)"
            )
        self._ignore_listeners()

    def _add(self, connection: WsgiConnection) -> None:
        self._poller.add(connection.fd)
        self._connections[connection.fd] = connection
        if not self._keep_alive or self._leash.leaving:
            connection.close_after_response()
        if len(self._connections) >= self._most_connections:
            self._ignore_listeners()

    # ── listeners and orders ──

    def _on_own(self, fd: int) -> None:
        """Something of ours is ready: a listener, the master's channel, a signal."""
        listener = self._listeners.get(fd)
        leash = self._leash
        if listener is not None:
            if self._accept(listener) and fd in self._listeners:
                self._poller.rearm_listener(fd)
            return
        if fd == leash.channel_fd:
            leash.on_channel()
            if not leash.channel_open:
                self._poller.remove(fd)
            self._watch_listeners()
            if leash.take_sibling_death():
                self._rearm_listeners()
        elif fd == leash.wakeup_fd:
            leash.on_wakeup()

    def _watch_listeners(self) -> None:
        if not self._leash.listening or self._leash.leaving or self._listeners:
            return
        if len(self._connections) < self._most_connections:
            for listener in self._orders.listeners:
                self._listeners[listener.fileno()] = listener
                self._poller.add_listener(listener.fileno())

    def _ignore_listeners(self) -> None:
        for fd in self._listeners:
            self._poller.remove_listener(fd)
        self._listeners.clear()

    def _rearm_listeners(self) -> None:
        """Look at the listeners again: a sibling that was woken for a connection may have died over it."""
        for fd in self._listeners:
            self._poller.rearm_listener(fd)

    # ── once a second ──

    def _sweep(self, now: float) -> None:
        self._attention += min(now - self._swept, ATTENTION)
        self._swept = now
        self._stamp.renew(time.time())
        self._leash.tick()
        self._tally.publish(time.monotonic_ns(), len(self._connections), 0)
        for connection in list(self._connections.values()):
            try:
                if connection.is_overdue(self._attention):
                    self._arrange(connection, connection.expire())
            except Exception:
                self._give_up(connection)
        self._watch_listeners()
        self._rearm_listeners()
        self._log.flush()

    # ── leaving ──

    def _may_leave(self) -> bool:
        """Whether the worker is on its way out and has nothing left to do, or no time left to do it."""
        leash = self._leash
        if not leash.leaving:
            return False
        if not self._drained:
            self._drain()
        now = time.monotonic()
        if now >= leash.deadline:
            return True
        if now >= leash.linger_until or leash.stage is Stage.STOPPING:
            self._see_off(leash.stage is Stage.STOPPING)
        return not self._connections

    def _time_left(self, now: float) -> float:
        """Seconds until something ends that was given time when the worker began to leave."""
        leash = self._leash
        until = leash.linger_until if now < leash.linger_until else leash.deadline
        return max(0.0, min(until, leash.deadline) - now)

    def _see_off(self, quickly: bool) -> None:
        """Close the connections on which nothing is under way."""
        for connection in list(self._connections.values()):
            if connection.is_idle:
                self._try(connection, connection.take_leave)
            elif quickly and connection.lingers:
                self._drop(connection)

    def _drain(self) -> None:
        """Close the door: those who came before are served, and every response says that it is the last."""
        self._drained = True
        self._orders.row.enter(WorkerState.DRAINING, time.monotonic_ns())
        self._ignore_listeners()
        if self._leash.listening:
            for listener in self._orders.listeners:
                for _ in range(self._orders.settings.backlog):
                    if not self._accept(listener):
                        break
        for listener in self._orders.listeners:
            listener.close(unlink=False)
        for connection in self._connections.values():
            connection.close_after_response()

    def close(self) -> None:
        """Give everything back."""
        for connection in list(self._connections.values()):
            self._drop(connection)
        self._leash.close()
        self._poller.close()

    def _be_no_worker(self) -> None:
        """Runs in a process that the application forked: it would keep connections open that we close."""
        self._is_forked = True
        self._poller.close()
        for connection in self._connections.values():
            connection.disown()


NEXT_READ = Next.READ  # hot: see http.messages.END.
