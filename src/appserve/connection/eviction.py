"""Too many connections: which of them are closed to make room for new ones, and what is logged of that.

A connection without a request is not worth refusing a new client for, and half a request head is none: the
client has sent no request yet, so nothing is answered. Those that are idle go first, then those with an
incomplete head, of each kind the oldest. A connection whose request has come as far as the end of its head is
never closed for others; nor is a new one whose client had no time to send anything.

Neither loop nor clock are here: workers/sync_loop.py and asgi/registry.py do what is decided.
"""

import heapq
from collections.abc import Iterable
from enum import IntEnum
from typing import TypeVar

SHARE = 16
"""One in this many connections is closed at once: making room has to be rare, and to hurt few."""

LOG_INTERVAL = 60.0
"""Seconds between two log lines about too many connections."""

C = TypeVar("C")


class Evictable(IntEnum):
    """What a connection that may be closed is doing; the lower goes first."""

    IDLE = 0  # no byte of a request has come in
    HEAD = 1  # a part of a request head has


def choose(candidates: Iterable[tuple[Evictable, float, C]], count: int) -> list[tuple[Evictable, C]]:
    """The `count` connections to close, and of which kind each is, of (kind, since when, connection)."""
    chosen = heapq.nsmallest(count, candidates, key=lambda candidate: candidate[:2])
    return [(kind, connection) for kind, _, connection in chosen]


class EvictionLog:
    """The log lines of one worker. `worker` is its name there, `most` how many connections it may hold.

    Both methods give a line, or "" while the last one is recent; counts are those since the last line.
    """

    __slots__ = ("_closed", "_logged", "_reached")

    def __init__(self, worker: str, most: int) -> None:
        self._reached = f"{worker} reached --worker-connections ({most})"
        self._logged = float("-inf")
        self._closed = [0, 0]

    def closed(self, kinds: Iterable[Evictable], now: float) -> str:
        """Connections were closed; `now` is monotonic seconds."""
        for kind in kinds:
            self._closed[kind] += 1
        if not any(self._closed) or not self._is_due(now):
            return ""
        idle, heads = self._closed
        self._closed = [0, 0]
        parts = [_count(idle, "idle connection")] if idle else []
        if heads:
            parts.append(f"{_count(heads, 'connection')} with an incomplete request head")
        return f"{self._reached}; closed {' and '.join(parts)}"

    def not_accepting(self, now: float) -> str:
        """None may be closed."""
        return f"{self._reached}; not accepting" if self._is_due(now) else ""

    def _is_due(self, now: float) -> bool:
        if now - self._logged < LOG_INTERVAL:
            return False
        self._logged = now
        return True


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("s" if number != 1 else "")
