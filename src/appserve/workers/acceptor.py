"""Where connections come in: one worker's share of the listening sockets.

A worker watches the listeners only while nothing bars its door. Whoever cannot serve at once leaves new
connections to its siblings, who wait on the same queue (net/poller.py). But the wake-up that a connection
brings is for one worker alone: one that is woken accepts first, and bars its door then.
"""

import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from enum import Enum
from socket import SocketType

from appserve.connection.accepting import EXHAUSTED, AcceptErrors, is_queue_empty
from appserve.net.address import SocketAddress
from appserve.net.listeners import Listener
from appserve.net.poller import Poller
from appserve.observe.log import Log

BATCH = 16
"""Connections that are accepted at once at most, where no sibling could take some of them."""

PAUSE = 0.001
"""Seconds after which a listener that is ready again is no burst of connections any more."""


class PauseReason(Enum):
    """Why a worker takes no new connections."""

    EARLY = "the listeners do not listen yet"
    LEAVING = "it is about to leave, and the queue is for its siblings"
    CROWDED = "it holds as many as it may"
    NO_FILES = "accept() fails, for want of descriptors most likely"
    NO_THREAD = "every thread has something to do"


class Acceptor:
    """The listeners of one worker.

    admit(socket, peer, local)   takes a new connection over, and gives whether another may follow at once;
                          may raise OSError when the client has left since
    guard                 is held from the accept until a connection is admitted
    lacks_descriptors     a connection waits that cannot be accepted; for the loop to set back
    """

    def __init__(
        self,
        listeners: Iterable[Listener],
        poller: Poller,
        log: Log,
        admit: Callable[[SocketType, SocketAddress, SocketAddress], bool],
        guard: AbstractContextManager[object],
        *,
        has_siblings: bool = True,
    ) -> None:
        self._has_siblings = has_siblings
        self._batch = 1  # connections that were taken when a listener was ready last
        self._accepted_at = 0.0  # monotonic seconds
        self._goes_on = False  # the last one was taken, and another may follow
        self._listeners = tuple(listeners)
        self._poller = poller
        self._admit = admit
        self._guard = guard
        self._watched: dict[int, Listener] = {}
        self._bars = {PauseReason.EARLY}
        self._errors = AcceptErrors(log)
        self._is_closed = False
        self.lacks_descriptors = False

    def pause(self, reason: PauseReason) -> None:
        """Accept nobody while this holds."""
        self._bars.add(reason)
        for fd in self._watched:
            self._poller.remove_listener(fd)
        self._watched.clear()

    def resume(self, *reasons: PauseReason) -> None:
        """These hold no longer."""
        bars = self._bars
        if not bars:
            return
        bars.difference_update(reasons)
        if not bars:
            for listener in self._listeners:
                self._watched[listener.fileno()] = listener
                if not self._watch(self._poller.add_listener, listener.fileno()):
                    return

    @property
    def awaits_departures(self) -> bool:
        """Whether something changes here when a connection ends. Any thread may ask."""
        bars = self._bars
        return bool(bars - {PauseReason.EARLY, PauseReason.NO_THREAD}) if bars else False

    def on_readable(self, fd: int) -> None:
        """Something happened on a descriptor: if it is a listener, take one connection. Where there are no
        siblings, take more at once while more are there each time."""
        listener = self._watched.get(fd)
        if listener is None:
            return
        if self._has_siblings:
            if self._accept(listener) and fd in self._watched:  # the next one is for another worker
                self._watch(self._poller.rearm_listener, fd)
            return
        now = time.monotonic()
        self._batch = 1 if now - self._accepted_at > PAUSE else min(2 * self._batch, BATCH)
        self._accepted_at = now
        for _ in range(self._batch):
            self._goes_on = False
            if not self._accept(listener) or not self._goes_on:
                self._batch = 1
                return

    def rearm(self) -> None:
        """Look at the listeners again: a sibling that was woken for a connection may have died over it."""
        for fd in tuple(self._watched):
            if not self._watch(self._poller.rearm_listener, fd):
                return

    def _watch(self, watch: Callable[[int], None], fd: int) -> bool:
        """Whether the poller could do it; else all is tried again when a connection ends, or at a sweep."""
        try:
            watch(fd)
        except OSError as error:
            self._errors.must_pause(error)
            self.pause(PauseReason.NO_FILES)
            return False
        return True

    @property
    def is_closed(self) -> bool:
        """Whether the listeners are closed: nothing can be accepted any more."""
        return self._is_closed

    def close(self) -> None:
        """Accept nothing any more. What waits in the queue is for those who still have the listeners."""
        if self._is_closed:
            return
        self._is_closed = True
        self.pause(PauseReason.LEAVING)
        for listener in self._listeners:
            listener.close(unlink=False)

    def close_if_empty(self) -> None:
        """Close if no connection waits in the queue."""
        if PauseReason.EARLY in self._bars or (not self._is_closed and is_queue_empty(self._listeners)):
            self.close()

    def _accept(self, listener: Listener) -> bool:
        """Take one connection; whether there may be more."""
        with self._guard:
            try:
                client, peer = listener.accept()
            except BlockingIOError:
                return False
            except OSError as error:
                if not self._errors.must_pause(error):
                    return True
                # The connection stays in the queue, where it would wake us again and again; we look again
                # when one of ours ends, or at the next sweep.
                self.pause(PauseReason.NO_FILES)
                if error.errno in EXHAUSTED:
                    self.lacks_descriptors = True
                return False
            except Exception:
                self._errors.log_internal()
                self.pause(PauseReason.NO_FILES)
                return False
            try:
                self._goes_on = self._admit(client, peer, listener.local_address(client))
            except OSError:
                client.close()  # it left since, or epoll has no room
            except Exception:
                client.close()
                self._errors.log_internal()
            return True
