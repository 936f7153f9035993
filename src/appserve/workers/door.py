"""Where connections come in: one worker's share of the listening sockets.

A worker watches the listeners only while nothing bars its door. Whoever cannot serve at once leaves new
connections to its siblings, who wait on the same queue (net/poller.py). But the wake-up that a connection
brings is for one worker alone: one that is woken accepts first, and bars its door then.
"""

import socket
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from enum import Enum

from appserve.net.listeners import Listener
from appserve.net.poller import Poller
from appserve.observe.log import Log

SHORT_AGAIN = 60.0
"""Seconds after which it is told again that there are no descriptors: that comes and goes all the time."""


class Bar(Enum):
    """Why a worker takes no new connections."""

    EARLY = "the listeners do not listen yet"
    LEAVING = "it is about to leave"
    CROWDED = "it holds as many as it may"
    NO_FILES = "there are no descriptors"
    NO_THREAD = "every thread has something to do"


class Door:
    """The listeners of one worker.

    admit(socket, peer)   takes a new connection over; may raise OSError when the client has left since
    fall_short()          is called when one waits that cannot be accepted for want of descriptors
    guard                 is held from the accept until a connection is admitted
    """

    def __init__(
        self,
        listeners: Iterable[Listener],
        poller: Poller,
        log: Log,
        admit: Callable[[socket.socket, object], None],
        fall_short: Callable[[], None],
        guard: AbstractContextManager[object],
    ) -> None:
        self._listeners = tuple(listeners)
        self._poller = poller
        self._log = log
        self._admit = admit
        self._fall_short = fall_short
        self._guard = guard
        self._watched: dict[int, Listener] = {}
        self._bars = {Bar.EARLY}
        self._told_short = float("-inf")  # when it was told that there are no descriptors

    def bar(self, reason: Bar) -> None:
        """Accept nobody while this holds."""
        self._bars.add(reason)
        for fd in self._watched:
            self._poller.remove_listener(fd)
        self._watched.clear()

    def unbar(self, *reasons: Bar) -> None:
        """These hold no longer."""
        bars = self._bars
        if not bars:
            return
        bars.difference_update(reasons)
        if not bars:
            for listener in self._listeners:
                self._poller.add_listener(listener.fileno())
                self._watched[listener.fileno()] = listener

    @property
    def awaits_departures(self) -> bool:
        """Whether something changes here when a connection ends. Any thread may ask."""
        bars = self._bars
        return Bar.LEAVING in bars or Bar.CROWDED in bars or Bar.NO_FILES in bars

    def knock(self, fd: int) -> None:
        """Something happened on a descriptor: if it is a listener, take one connection."""
        listener = self._watched.get(fd)
        if listener is not None and self._accept(listener) and fd in self._watched:
            self._poller.rearm_listener(fd)

    def rearm(self) -> None:
        """Look at the listeners again: a sibling that was woken for a connection may have died over it."""
        for fd in self._watched:
            self._poller.rearm_listener(fd)

    def close(self, most: int) -> None:
        """Take in those that wait, at most so many from each listener, and nobody after them."""
        is_listening = Bar.EARLY not in self._bars
        self.bar(Bar.LEAVING)
        for listener in self._listeners:
            if is_listening:
                for _ in range(most):
                    if not self._accept(listener):
                        break
            listener.close(unlink=False)

    def _accept(self, listener: Listener) -> bool:
        """Take one connection; whether there was one."""
        with self._guard:
            try:
                client, peer = listener.socket.accept()
            except BlockingIOError:
                return False
            except ConnectionError:
                return True  # this one left before it was accepted
            except OSError as error:
                self._pause(error)
                return False
            try:
                client.setblocking(False)
                self._admit(client, peer)
            except OSError:
                client.close()  # it left since, or epoll has no room
            return True

    def _pause(self, error: OSError) -> None:
        """There are no descriptors, most likely. The connection stays in its queue, where it would wake us
        again and again; we look again when one of ours ends, or at the next sweep."""
        now = time.monotonic()
        if now - self._told_short >= SHORT_AGAIN:
            self._told_short = now
            self._log.error(
                f"cannot accept connections for now: {error.strerror} (see the limit of open files)"
            )
        self.bar(Bar.NO_FILES)
        self._fall_short()
