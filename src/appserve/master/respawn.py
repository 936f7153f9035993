"""How fast dead workers are replaced: a delay per slot, a budget per server. Pure; the clock is an argument.

Two guards, because each misses what the other sees. The delay makes one broken slot slow down; the budget
bounds all slots together, and bugs of our own as well. Both count only *failures*: an exit before READY, or
soon after it with nothing served. A worker that served and was then killed is replaced at once, however
often that happens.

The figures: Erlang's supervisors bound restarts per period (intensity 1 in 5 s), uWSGI's Emperor doubles a
delay up to 180 s, s6 never restarts more than once a second. Gunicorn, Puma, Unicorn, nginx and php-fpm do
nothing of it.
"""

import math
import os
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from appserve.master.events import RosterTimeouts

FIRST_DELAY = 0.25
LONGEST_DELAY = 30.0


#: How far from its value a delay may be.
JITTER = 0.25


def no_jitter() -> float:
    return 1.0


def jitter() -> float:
    """A factor from 0.75 to 1.25: servers that failed together, at a database's restart, come back apart."""
    return 1.0 + JITTER * (int.from_bytes(os.urandom(4)) / 2**31 - 1.0)


def delay_after(failures: int, jitter: Callable[[], float] = no_jitter) -> float:
    """Seconds to wait before the next try after `failures` failures in a row; `jitter` gives a factor near
    1."""
    if failures <= 0:
        return 0.0
    # The exponent is bounded first: 2.0**5000 overflows.
    return min(LONGEST_DELAY, FIRST_DELAY * 2.0 ** min(failures - 1, 16)) * jitter()


@dataclass(slots=True)
class _Slot:
    """How often in a row a slot failed, and when it may be tried again."""

    failures: int = 0
    not_before: float = -math.inf


class Respawn:
    """The failures of all slots and the budget that they share: in each period as many tries as there are
    workers, and some to spare."""

    def __init__(self, size: int, timeouts: RosterTimeouts, jitter: Callable[[], float]) -> None:
        self._timeouts = timeouts
        self._jitter = jitter
        self._tries: deque[float] = deque()  # when slots that had failed were tried, those of the last period
        self._slots: dict[int, _Slot] = {}
        self.resize(size)

    @property
    def slots(self) -> set[int]:
        """Every slot there is: 1 to the number of workers."""
        return set(self._slots)

    @property
    def failing(self) -> set[int]:
        """Slots whose last worker failed."""
        return {number for number, slot in self._slots.items() if slot.failures}

    def resize(self, size: int) -> None:
        """Another number of slots, none of which ever failed."""
        self._slots = {number: _Slot() for number in range(1, size + 1)}

    def failures(self, number: int) -> int:
        return self._slots[number].failures

    def count_failure(self, number: int, now: float) -> float:
        """One more; gives the delay before the next try."""
        slot = self._slots[number]
        slot.failures += 1
        delay = delay_after(slot.failures, self._jitter)
        slot.not_before = now + delay
        return delay

    def clear(self, number: int) -> None:
        """The slot had a worker that did well."""
        self._slots[number] = _Slot()

    def wait_until(self, number: int, now: float) -> float:
        """When this slot may be tried; if that is now, the try has been charged to the budget."""
        slot = self._slots[number]
        if slot.not_before > now:
            return slot.not_before
        if slot.failures:
            period, size = self._timeouts.budget_period, len(self._slots) + self._timeouts.budget_spare
            while self._tries and now >= self._tries[0] + period:
                self._tries.popleft()
            if len(self._tries) >= size:
                return self._tries[-size] + period
            self._tries.append(now)
        return now
