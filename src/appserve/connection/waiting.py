"""What connections wait for, and which of them have to be looked at, without a look at all of them.

A worker sweeps about once a second. A connection on which something happened since the last sweep is looked
at by the next one, and rests then until the earliest time at which its wait may end; whatever happens on it
before wakes it. So thousands that are idle cost a sweep nothing, and a request costs the look at a flag.

All times are those of an AttentionClock.
"""

import math
from typing import Generic, Protocol, TypeVar

from appserve.http.timeouts import WaitFor

FRESH = 0.5
"""Seconds that a new client has for the first byte of its request before it may be closed as idle."""


class AttentionClock:
    """Seconds in which the loop has had an eye on its clients, from 0.

    It stands still while the application holds the loop up, so that no client is charged for that: when two
    looks are further apart than `most` seconds, the application was the cause.
    """

    __slots__ = ("_looked", "_most", "now")

    def __init__(self, most: float) -> None:
        self._most = most
        self._looked = math.inf
        self.now = 0.0

    def look(self, now: float) -> None:
        """The loop turns at `now` (monotonic)."""
        self.now += min(max(0.0, now - self._looked), self._most)
        self._looked = now


def lingering_wait(taken: int, untaken: int, dropped: int) -> tuple[WaitFor, int]:
    """What a connection waits for that has ended its side, and a number that grows with progress: that the
    client takes the `untaken` of the bytes that the kernel took, then that it ends its own side, of which
    `dropped` bytes came in."""
    return (WaitFor.READER, taken - untaken) if untaken else (WaitFor.END, dropped)


class Resting(Protocol):
    """A connection. DeadlineQueue sets `rests`; code that handles an event on it wakes it then."""

    rests: bool


C = TypeVar("C", bound=Resting)


class DeadlineQueue(Generic[C]):
    """The connections of one worker: those that are awake, and those that rest, by the time until when.

    The loop's thread calls the methods; `wake` may be called by the thread that has the connection.
    """

    __slots__ = ("_awake", "_buckets", "_grain", "_next", "_resting")

    def __init__(self, grain: float = 1.0) -> None:
        """`grain`: seconds between two sweeps."""
        self._grain = grain
        self._awake: dict[C, None] = {}
        self._resting: dict[C, int] = {}  # in which bucket each is
        self._buckets: dict[int, dict[C, None]] = {}  # by their time in grains
        self._next = 0  # the first bucket that was not taken yet

    def wake(self, connection: C) -> None:
        """Something happened on it: the next sweep looks at it."""
        connection.rests = False
        self._awake[connection] = None

    def rest(self, connection: C, until: float) -> None:
        """Nothing has to be looked at before `until`, which may be inf, as long as nothing happens on it."""
        self._remove(connection)
        connection.rests = True
        if until < math.inf:
            bucket = max(int(until / self._grain) + 1, self._next)
            self._resting[connection] = bucket
            self._buckets.setdefault(bucket, {})[connection] = None

    def forget(self, connection: C) -> None:
        """It is closed."""
        connection.rests = False
        self._awake.pop(connection, None)  # or it would stay in memory until the next sweep
        self._remove(connection)

    def take(self, now: float) -> list[C]:
        """Those to look at now. They are no longer here: each is to rest, or to be woken, unless it is
        closed, as one that was awake may have been since."""
        taken: dict[C, None] = {}
        for connection in tuple(self._awake):
            del self._awake[connection]
            self._remove(connection)
            taken[connection] = None
        for bucket in range(self._next, int(now / self._grain) + 1):
            self._next = bucket + 1
            for connection in self._buckets.pop(bucket, ()):
                del self._resting[connection]
                connection.rests = False
                taken[connection] = None
        return list(taken)

    def _remove(self, connection: C) -> None:
        bucket = self._resting.pop(connection, None)
        if bucket is not None:
            others = self._buckets[bucket]
            del others[connection]
            if not others:
                del self._buckets[bucket]
