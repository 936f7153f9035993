"""Connections that are turned away before their first request: counted, and told without filling the log.

Whoever can reach the server can be turned away as often as he likes, so there is at most one line a second,
which says how many there were besides.
"""

import time
from _thread import allocate_lock  # threading would be imported for this alone in a worker without threads
from collections.abc import Callable

from appserve.observe.log import Log
from appserve.observe.scoreboard import REFUSED, Row

INTERVAL = 1.0
"""Seconds between two lines."""


class Refusals:
    """Those of one process; any thread may add one. `clock` gives monotonic seconds."""

    __slots__ = ("_clock", "_lock", "_log", "_next", "_untold", "_words")

    def __init__(self, log: Log, row: Row, clock: Callable[[], float] = time.monotonic) -> None:
        self._log = log
        self._words = row.words
        self._clock = clock
        self._lock = allocate_lock()
        self._next = float("-inf")  # when the next line may be written
        self._untold = 0

    def add(self, peer: str, reason: str) -> None:
        """A connection of `peer` (its address, "" for that of a unix socket) was refused.

        `reason` is in our own words: what was seen, and the rule.
        """
        with self._lock:
            self._words[REFUSED] += 1
            now = self._clock()
            if now < self._next:
                self._untold += 1
                return
            self._next = now + INTERVAL
            untold, self._untold = self._untold, 0
        others = f"; {untold} more since the last such line" if untold else ""
        self._log.warning(f"refused a connection of {peer or 'a local client'}: {reason}{others}")
