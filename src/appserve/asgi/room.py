"""How many connections an asgi worker holds, and making room when a new client waits and there is none.

Which connections are closed is decided by connection/eviction.py. Without one that may be closed, new clients
wait in the backlog until a connection ends, or until another worker takes them.
"""

import time
from collections.abc import Callable

from appserve.asgi.registry import LoopConnection, Registry
from appserve.connection.eviction import SHARE, Evictable, EvictionLog, choose


class Room:
    """The room of one worker. `arriving` counts connections that were accepted, and are none of the
    registry's yet; `who` is what the log calls the worker."""

    def __init__(
        self,
        registry: Registry,
        most: int,
        arriving: Callable[[], int],
        who: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._registry = registry
        self._most = most
        self._arriving = arriving
        self._clock = clock
        self._eviction_log = EvictionLog(who, most)
        self._leaving: set[LoopConnection] = set()  # those who were closed last

    def left(self) -> int:
        """How many more connections may be held."""
        return self._most - len(self._registry.connections) - self._arriving()

    def make(self) -> int:
        """Close connections; how many were. None, while those of the last time are not gone."""
        if not self._leaving.isdisjoint(self._registry.connections):
            return 0
        is_full = self.left() <= 0  # else it is for want of descriptors, which is told where that is seen
        candidates = ((*found, one) for one in self._registry.connections if (found := one.evictable()))
        chosen = choose(candidates, max(1, self._most // SHARE))
        closed = [
            (kind, connection) for kind, connection in chosen if connection.close_if_idle(or_lacks_head=True)
        ]
        self._leaving = {connection for _, connection in closed}
        if is_full:
            self._report([kind for kind, _ in closed])
        return len(closed)

    def _report(self, closed: list[Evictable]) -> None:
        log, now = self._eviction_log, self._clock()
        line = log.closed(closed, now) if closed else log.not_accepting(now)
        if line:
            self._registry.service.log.warning(line)
