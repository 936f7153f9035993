"""Accepting connections of shared listeners on an event loop, each in its turn with the other workers.

The workers of a server wait on the same listeners. An event loop's own way to watch one wakes every idle
worker for each connection, and the quickest takes nearly all: measured, 40 connections one after another went
0/0/1/39 to four workers on uvloop. EPOLLEXCLUSIVE wakes one, always the same; taking the listener out of the
epoll and putting it back after an accept sends this worker to the end of the queue: 10/10/10/10. See
net/poller.py, which does the same for the loop of our own.

An event loop's epoll can be had by a duplicate of its descriptor. The loop must know the listener too, or it
would drop the events as strays; so it is told of it in its own way first (add_reader), and once the loop has
registered it, the registration is replaced. uvloop does not promise that this works, so it is tried out
before anything depends on it, and without it workers share by chance.

Connections are accepted here rather than by the loop's create_server, which takes a whole backlog at once.
"""

import asyncio
import os
import select
import socket
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from socket import SocketType
from typing import Any, cast

from appserve.connection.accepting import EXHAUSTED, AcceptErrors, is_queue_empty
from appserve.net.listeners import Listener
from appserve.net.poller import EpollPoller
from appserve.observe.log import Log

POLITE_TURNS = 64
POLITE_PAUSE = 0.001
"""The first turns of a burst take one connection each and let other processes run: the burst has woken the
siblings too, and they need a moment to come. Measured, 200 connections at once to four workers on two busy
processors: 181/4/15/0 without, 48/54/59/39 with it. A burst is over when nothing came for POLITE_PAUSE."""

BATCH = 4
"""Connections taken in one turn when a burst goes on: nobody else takes them then."""

FULL_PAUSE = 0.01
"""How long those who wait are left to the siblings when there is no room: one that has room takes them."""

PROBE_SECONDS = 1.0

STREAM = int(socket.SOCK_STREAM)

Making = Coroutine[asyncio.Future[None], None, object]


class AcceptedSocket:
    """What uvloop needs of the socket of an accepted connection, whose descriptor it makes non-blocking and
    closes itself."""

    # hot: bench close. An object of the socket module costs two system calls more, and its enums.

    __slots__ = ("_fd", "family", "type")

    def __init__(self, fd: int, family: int) -> None:
        self._fd = fd
        self.family = family
        self.type = STREAM

    def fileno(self) -> int:
        return self._fd

    def getsockname(self) -> Any:
        same = socket.socket(self.family, self.type, 0, self._fd)
        try:
            return same.getsockname()
        finally:
            same.detach()

    def detach(self) -> int:
        return self._fd

    def close(self) -> None:
        """uvloop has closed the descriptor."""


Accepted = SocketType | AcceptedSocket

Admit = Callable[[Accepted, Any, Listener], asyncio.BaseProtocol | None]
"""(connection, the client's address as accept() gives it, where it was accepted) → its protocol, or None if
the connection is to be closed."""


async def make_fair_epoll(loop: asyncio.AbstractEventLoop, backend_fd: int) -> EpollPoller | None:
    """A second handle on the epoll of the running `loop`, if it was seen to work. `backend_fd` may be -1:
    unknown.

    The loop knows each descriptor by its own add_reader and believes that it is watched all the time. It must
    not be asked to change that in between: libuv ends the process when epoll refuses it something.
    """
    if backend_fd < 0 or not hasattr(select, "EPOLLEXCLUSIVE"):
        return None
    epoll = EpollPoller(select.epoll.fromfd(os.dup(backend_fd)))
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    seen = asyncio.Event()
    loop.add_reader(ours.fileno(), seen.set)
    try:
        for _ in range(2):
            await _until_registered()
            epoll.rearm_listener(ours.fileno())
            theirs.send(b"x")
            await asyncio.wait_for(seen.wait(), PROBE_SECONDS)
            ours.recv(1)
            seen.clear()
    except (OSError, TimeoutError):
        epoll.close()
        return None
    finally:
        loop.remove_reader(ours.fileno())
        ours.close()
        theirs.close()
    return epoll


async def _until_registered() -> None:
    """uvloop registers a descriptor when it next waits for events, so a turn of the loop must pass."""
    await asyncio.sleep(0)
    await asyncio.sleep(0.001)


class LoopAcceptor:
    """The listeners of one worker. `room()` says how many more connections may be held; `make_room()` lets
    some go, soon."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        listeners: Sequence[Listener],
        admit: Admit,
        room: Callable[[], int],
        make_room: Callable[[], int],
        log: Log,
        has_siblings: bool,
    ) -> None:
        self.epoll: EpollPoller | None = None  # to be set before it is opened
        self._loop = loop
        self._listeners = tuple(listeners)
        self._admit = admit
        self._room = room
        self._make_room = make_room
        self._errors = AcceptErrors(log, loop.time)
        self._has_siblings = has_siblings
        self._is_uvloop = not isinstance(loop, asyncio.BaseEventLoop)
        self._turns = 0  # of the burst that is being accepted
        self._last_turn = 0.0
        self._opened = False
        self._watching = False  # opened, and there is room
        self._is_withheld = False  # not watched, whatever room there is
        self.is_closed = False
        self.arriving = 0  # how many were accepted and are not with their protocols yet
        self.accepted = 0

    @property
    def watching(self) -> bool:
        """Whether connections are accepted as they come."""
        return self._watching

    async def open(self) -> None:
        """Begin to accept."""
        for listener in self._listeners:
            self._loop.add_reader(listener.fileno(), self._on_readable, listener)
        if self.epoll is not None:
            await _until_registered()
        self._opened = self._watching = True
        self.rearm()

    def rearm(self) -> None:
        """Look again, for a wake-up may have been lost with a sibling that died, or there may be room again.

        To be called about once a second, when a sibling has died, and when a connection has ended.
        """
        if not self._watching:
            self.relieve()
        elif self.epoll is not None:
            for listener in self._listeners:
                self._rearm_one(self.epoll, listener)

    def relieve(self) -> None:
        """If there was no room: accept again if there is, or make some if somebody waits for it.

        To be called a few times a second.
        """
        if not self._opened or self._watching or self._is_withheld:
            return
        if self._room() > self.arriving:
            self._watch()
        elif not is_queue_empty(self._listeners):
            self._make_room()

    def withhold(self) -> None:
        """Accept nothing for the time being: what waits is for the other workers."""
        self._is_withheld = True
        self._unwatch()

    def resume(self) -> None:
        """Accept again."""
        self._is_withheld = False
        self.relieve()

    def close(self) -> None:
        """Accept nothing any more. What waits in the queue is for those who still have the listeners."""
        if self.is_closed:
            return
        self.is_closed = True
        self._opened = self._watching = False
        for listener in self._listeners:
            self._loop.remove_reader(listener.fileno())
            listener.close(unlink=False)
        self._listeners = ()
        if self.epoll is not None:
            self.epoll.close()

    def close_if_empty(self) -> None:
        """Close if no connection waits in the queue."""
        if not self._opened or is_queue_empty(self._listeners):
            self.close()

    def _watch(self) -> None:
        self._watching = True
        for listener in self._listeners:
            if self.epoll is not None:
                self._rearm_one(self.epoll, listener)
            else:
                self._loop.add_reader(listener.fileno(), self._on_readable, listener)

    def _rearm_one(self, epoll: EpollPoller, listener: Listener) -> None:
        """If epoll has no room for it, all is tried again at the next tick."""
        try:
            epoll.remove_listener(listener.fileno())
            epoll.add_listener(listener.fileno())
        except OSError as error:
            self._errors.must_pause(error)
            self._unwatch()

    def _unwatch(self) -> None:
        if not self._watching:
            return
        self._watching = False
        for listener in self._listeners:
            if self.epoll is not None:
                self.epoll.remove_listener(listener.fileno())
            else:
                self._loop.remove_reader(listener.fileno())

    def _on_readable(self, listener: Listener) -> None:
        if not self._watching:
            return
        polite = self._has_siblings and self._is_young_burst()
        # Accept first and look at the room afterwards: the wake-up was for this worker alone.
        for _ in range(1 if polite else BATCH):
            if not self._accept_one(listener):
                break
            if self._room() <= self.arriving:
                self._unwatch()
                self._loop.call_later(FULL_PAUSE, self.relieve)
                return
        if self._has_siblings and self._watching and self.epoll is not None:
            self._rearm_one(self.epoll, listener)
            if polite:
                os.sched_yield()

    def _is_young_burst(self) -> bool:
        now = self._loop.time()
        self._turns = 0 if now - self._last_turn > POLITE_PAUSE else self._turns + 1
        self._last_turn = now
        return self._turns < POLITE_TURNS

    def _accept_one(self, listener: Listener) -> bool:
        """Take one connection, which is on its way to its protocol then; whether there may be more."""
        try:
            if self._is_uvloop:
                fd, address = listener.socket._accept()  # type: ignore[attr-defined]
                connection: Accepted = AcceptedSocket(fd, listener.family)
            else:
                connection, address = listener.accept()
        except (BlockingIOError, InterruptedError):
            return False
        except OSError as error:
            if not self._errors.must_pause(error):
                return True
            self._unwatch()
            if error.errno in EXHAUSTED:
                self._make_room()
            return False
        except Exception:
            self._errors.log_internal()
            self._unwatch()
            return False
        self.accepted += 1
        try:
            protocol = self._admit(connection, address, listener)
            if protocol is None:
                os.close(connection.detach())
                return True
            making = self._loop.connect_accepted_socket(lambda: protocol, cast("socket.socket", connection))
            # hot: bench close. The loop's coroutine is run up to where it waits, and from there when it need
            # not wait any more: a task of its own would take two more turns of the loop.
            making.send(None).add_done_callback(partial(self._go_on, making))
        except Exception as error:
            os.close(connection.detach())
            self._log(error)
        else:
            self.arriving += 1
        return True

    def _go_on(self, making: Making, _: object) -> None:
        """The transport is made, or has closed the connection."""
        self.arriving -= 1
        try:
            making.send(None)
        except StopIteration:
            pass
        except Exception as error:
            self._log(error)

    def _log(self, error: Exception) -> None:
        """A connection cannot be served; an OSError is that the client left meanwhile."""
        if not isinstance(error, OSError):
            self._errors.log_internal()
