"""How many connections a worker holds, and who has to leave when somebody else waits and there is no room.

A connection that nobody uses is not worth refusing a new one for: those that have been idle longest are
closed, a few at once, as if their time had come. One that has sent a byte of a request never is; if all are
such, the others wait in the backlog until one ends, or until another worker takes them.
"""

import heapq
import time
from collections.abc import Callable

from appserve.asgi.protocol import HttpProtocol
from appserve.asgi.site import Site

SHARE = 16
"""One of so many connections is closed at once: making room has to be rare, and to hurt few."""

TOLD_AGAIN = 60.0
"""Seconds after which it is told again that there is no room."""


class Room:
    """The room of one worker. `arriving` counts connections that were accepted, and are none of the site's
    yet; `who` is what the log calls the worker."""

    def __init__(
        self,
        site: Site,
        most: int,
        arriving: Callable[[], int],
        who: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._site = site
        self._most = most
        self._arriving = arriving
        self._who = who
        self._clock = clock
        self._told = float("-inf")
        self._leaving: set[HttpProtocol] = set()  # those who were closed last

    def left(self) -> int:
        """How many more connections may be held."""
        return self._most - len(self._site.connections) - self._arriving()

    def make(self) -> int:
        """Close connections that are idle; how many were. None, while those of the last time are not gone."""
        if not self._leaving.isdisjoint(self._site.connections):
            return 0
        by_age = [(since, id(one), one) for one in self._site.connections if (since := one.idle_since()) >= 0]
        oldest = heapq.nsmallest(max(1, self._most // SHARE), by_age)
        if self.left() <= 0:  # else it is for want of descriptors, which is told where that is seen
            self._tell(bool(oldest))
        self._leaving = {connection for _, _, connection in oldest if connection.close_if_idle()}
        return len(self._leaving)

    def _tell(self, has_idle: bool) -> None:
        now = self._clock()
        if now - self._told < TOLD_AGAIN:
            return
        self._told = now
        does = "closes those that are idle" if has_idle else "accepts nobody, and none is idle"
        self._site.log.warning(
            f"{self._who} has its {self._most} connections and {does} (see --worker-connections)"
        )
