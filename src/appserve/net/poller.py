"""Waiting for sockets: epoll, shared fairly with the other workers, and poll(2) where there is no epoll.

All workers wait on the same listeners. Without EPOLLEXCLUSIVE each connection wakes every idle worker and all
but one find nothing. With it the kernel wakes the first in its queue, which is always the same one: measured,
40 connections one after another went 40/0/0/0 to four idle workers. So a worker that accepted goes to the
end of the queue, by taking its listener out and putting it back: 10/10/10/10.

A woken worker that dies before it accepts takes the wake-up with it. The others find the connection when
they re-arm: on each sweep, and when the master tells them that a sibling has died.

Alternatives: a poller of its own for the listeners, nested in this one, loses the exclusiveness; SO_REUSEPORT
loses the queue of every worker that leaves; a lock around accept costs a system call for each connection.

Where threads serve the connections, each is watched for one event at a time (EPOLLONESHOT): the event takes
it out of the poller, so no second one can be told before whoever serves it has asked for it. To ask for
nothing (`watch(fd, 0)`) would not do: a hang-up is told all the same, and again at every wait.
"""

import os
import select
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable

# Equal for epoll and poll on every system that has both. READ and WRITE can be asked for; GONE comes unasked,
# and comes again at every wait until the descriptor is removed: whoever sees it must remove it or close it.
READ = select.POLLIN
WRITE = select.POLLOUT
GONE = select.POLLHUP | select.POLLERR | select.POLLNVAL

_EXCLUSIVE_READ = getattr(select, "EPOLLIN", 0) | getattr(select, "EPOLLEXCLUSIVE", 0)
_ONCE = getattr(select, "EPOLLONESHOT", 0)
_EACH_RING = getattr(select, "EPOLLIN", 0) | getattr(select, "EPOLLET", 0)


class Poller(ABC):
    """Which of the watched descriptors can be read or written, or are gone. Level-triggered.

    `wait(seconds)` gives (fd, events) pairs, an empty list after that time; it may give at most about a
    thousand pairs at once. Removing a descriptor that is not watched, or is closed already, is no error.
    """

    # hot: sync hello. An attribute, so that the epoll object's own method is called with nothing around it.
    wait: Callable[[float], list[tuple[int, int]]]

    @abstractmethod
    def add_listener(self, fd: int) -> None:
        """Watch a listener (which must listen: a socket that is only bound is reported as GONE)."""

    @abstractmethod
    def rearm_listener(self, fd: int) -> None:
        """Go to the end of the queue of workers that wait for this listener; call it after an accept."""

    @abstractmethod
    def remove_listener(self, fd: int) -> None:
        """Wait for this listener no longer."""

    @abstractmethod
    def add(self, fd: int, events: int = READ) -> None:
        """Watch a descriptor."""

    @abstractmethod
    def watch(self, fd: int, events: int) -> None:
        """Replace what a descriptor is watched for: READ, WRITE, both, or 0 to hear only that it is GONE."""

    @abstractmethod
    def remove(self, fd: int) -> None:
        """Watch a descriptor no longer. One that was closed is forgotten by epoll but not by poll."""

    @abstractmethod
    def add_once(self, fd: int, events: int = READ) -> None:
        """Watch a new descriptor for one event, whatever it is; after that, for nothing. Any thread may call
        it while another waits."""

    @abstractmethod
    def watch_once(self, fd: int, events: int) -> None:
        """Watch a descriptor of add_once() for one more event. Any thread may call it while another waits."""

    @abstractmethod
    def hang_bell(self) -> None:
        """Make `ring` work."""

    @abstractmethod
    def ring(self) -> None:
        """Let `wait` return, now or when it is called next. Any thread may call it."""

    @abstractmethod
    def close(self) -> None:
        """Give the poller's own descriptors back."""


class EpollPoller(Poller):
    """`epoll` is that of an event loop, where this is a second handle on it."""

    __slots__ = ("_bell", "_epoll", "wait")

    def __init__(self, epoll: "select.epoll | None" = None) -> None:
        self._epoll = epoll or select.epoll()
        self.wait = self._epoll.poll
        self._bell = -1

    def add_listener(self, fd: int) -> None:
        self._epoll.register(fd, _EXCLUSIVE_READ)

    def rearm_listener(self, fd: int) -> None:
        # EPOLL_CTL_MOD is refused on an exclusive registration, and would keep the place in the queue.
        self._epoll.unregister(fd)
        self._epoll.register(fd, _EXCLUSIVE_READ)

    def remove_listener(self, fd: int) -> None:
        self.remove(fd)

    def add(self, fd: int, events: int = READ) -> None:
        self._epoll.register(fd, events)

    def watch(self, fd: int, events: int) -> None:
        self._epoll.modify(fd, events)

    def remove(self, fd: int) -> None:
        try:
            self._epoll.unregister(fd)
        except OSError:
            pass  # closed already (EBADF), or not watched (ENOENT)

    def add_once(self, fd: int, events: int = READ) -> None:
        self._epoll.register(fd, events | _ONCE)

    def watch_once(self, fd: int, events: int) -> None:
        self._epoll.modify(fd, events | _ONCE)

    def hang_bell(self) -> None:
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        # Edge-triggered: each write is told once, and nobody has to read.
        self._epoll.register(self._bell, _EACH_RING)

    def ring(self) -> None:
        os.eventfd_write(self._bell, 1)

    def close(self) -> None:
        self._epoll.close()
        if self._bell >= 0:
            os.close(self._bell)
            self._bell = -1


class PollPoller(Poller):
    """For systems without epoll: a connection wakes every idle worker, and the quickest gets it.

    poll(2) knows neither "once" nor other threads: what they ask for waits in a queue until a ring makes
    the thread that polls look there.
    """

    __slots__ = ("_asked", "_bell", "_once", "_poll", "_ringer", "wait")

    def __init__(self) -> None:
        self._poll = select.poll()
        self.wait = self._wait
        self._once: set[int] = set()
        self._asked: deque[tuple[int, int]] = deque()
        self._bell = self._ringer = -1

    def _wait(self, seconds: float) -> list[tuple[int, int]]:
        self._do_as_asked()
        told = self._poll.poll(seconds * 1000)
        if self._bell < 0:
            return told
        ready = []
        for fd, events in told:
            if fd == self._bell:
                os.read(fd, select.PIPE_BUF)
            elif events & select.POLLNVAL:
                pass  # another thread has closed it meanwhile
            elif fd in self._once:
                self._once.discard(fd)
                self._poll.unregister(fd)
                ready.append((fd, events))
            else:
                ready.append((fd, events))
        return ready

    def _do_as_asked(self) -> None:
        while True:
            try:
                fd, events = self._asked.popleft()
            except IndexError:
                return
            self._once.add(fd)
            self._poll.register(fd, events)

    def add_listener(self, fd: int) -> None:
        self._poll.register(fd, READ)

    def rearm_listener(self, fd: int) -> None:
        pass

    def remove_listener(self, fd: int) -> None:
        self.remove(fd)

    def add(self, fd: int, events: int = READ) -> None:
        self._poll.register(fd, events)

    def watch(self, fd: int, events: int) -> None:
        self._poll.modify(fd, events)

    def remove(self, fd: int) -> None:
        self._do_as_asked()  # or it would be watched again after this
        self._once.discard(fd)
        try:
            self._poll.unregister(fd)
        except KeyError:
            pass

    def add_once(self, fd: int, events: int = READ) -> None:
        self.watch_once(fd, events)

    def watch_once(self, fd: int, events: int) -> None:
        self._asked.append((fd, events))
        self.ring()

    def hang_bell(self) -> None:
        self._bell, self._ringer = os.pipe()
        os.set_blocking(self._bell, False)
        os.set_blocking(self._ringer, False)
        self._poll.register(self._bell, READ)

    def ring(self) -> None:
        try:
            os.write(self._ringer, b"r")
        except BlockingIOError:
            pass  # it has been rung often enough

    def close(self) -> None:
        self._poll = select.poll()
        self.wait = self._wait
        for fd in (self._bell, self._ringer):
            if fd >= 0:
                os.close(fd)
        self._bell = self._ringer = -1


def make_poller() -> Poller:
    """The best poller of this system."""
    return EpollPoller() if hasattr(select, "epoll") else PollPoller()
