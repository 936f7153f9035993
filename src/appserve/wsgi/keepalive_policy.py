"""Whether a worker keeps its clients, or sends each back to the queue that it shares with its siblings.

A connection that is kept alive belongs to one worker, so its next request waits for whatever that worker is
doing, while siblings may be idle. Nothing can be handed over in that moment: the thread that could do it is
in the application. What can be done is to keep fewer clients where they would wait: an answer that says
`Connection: close` makes its client come back by the shared queue, to a worker that is free.

How long would a request wait that comes in at any moment? A spell of t seconds in which nobody can be served
meets an arrival with a chance in proportion to t, and then lasts t/2 on average. With λ spells a second that
is λE[t²]/2 (the mean residual life of renewal theory), estimated here over about HORIZON seconds: each spell
adds t²/2 ÷ HORIZON, and what was added decays. So it is long calls that count and not many calls: a thousand
calls of 1 ms a second come to 0.5 ms, one of 2 s to 200 ms, and is forgotten 37 s later.

Not counted is the wait behind others in the queue: a worker that is merely busy has siblings that are as
busy, and there would be nothing to gain.

A long call may come to any worker, and those that had none of late would gather the clients that others let
go. So each looks once a second at what the others expect, and for how long their calls have been running, and
goes by the mean of all if that is longer.
"""

from collections.abc import Sequence
from math import exp

HORIZON = 10.0
"""Seconds over which the estimate looks back."""

TOO_LONG = 0.005
"""Seconds of expected waiting at which a worker lets its clients go; a new connection costs far less."""

TOO_LONG_TLS = 0.05
"""The same where a new connection begins with a handshake: with it come round trips, and calculations."""

LONGEST = 3600.0
"""Seconds of one spell that count. A worker may have been held for days, and would be remembered as long."""

BRIEF = 1_000_000
"""Nanoseconds of a spell that is not worth counting."""


class KeepAlivePolicy:
    """One worker's estimate. `closes` tells whether an answer has to say `Connection: close`.

    Times are monotonic seconds. One thread changes it; any may read `closes`.
    """

    __slots__ = ("_at", "_ends", "_heard", "_is_one", "_is_tls", "_siblings", "closes", "expected")

    def __init__(
        self,
        *,
        keep_alive: bool = True,
        siblings: int = 0,
        is_one: bool = True,
        is_tls: bool = False,
    ) -> None:
        """keep_alive    whether any connection is kept
        siblings      how many others could serve it
        is_one        whether everybody waits during a call, because there is one thread
        is_tls        whether connections begin with a handshake
        """
        self._siblings = siblings
        self._heard = 0.0  # what all siblings expect, added up
        self._is_one = is_one
        self._is_tls = is_tls
        self._ends = not keep_alive
        self._at = 0.0
        self.expected = 0.0  # seconds that a request would wait
        self.closes = self._ends

    def called(self, seconds: float, now: float) -> None:
        """A call of the application took so long, until `now`."""
        if self._is_one:
            self.blocked(seconds, now)

    def blocked(self, seconds: float, now: float) -> None:
        """For so long, until `now`, nobody could be served."""
        self.look(now)
        self.expected += _share(seconds)
        self._judge()

    def look(self, now: float) -> None:
        """Forget as time goes by; to be called about once a second."""
        if now > self._at:
            self.expected *= exp((self._at - now) / HORIZON)
            self._at = now
        self._judge()

    def hear(self, siblings: Sequence[tuple[float, float]]) -> None:
        """Of each that could serve our clients: what it expects, and the seconds that its call has been
        running, which it does not count before the end. To be called about once a second."""
        self._siblings = len(siblings)
        self._heard = sum((expected for expected, _ in siblings), 0.0)
        if self._is_one:
            self._heard += sum((_share(running) for _, running in siblings), 0.0)
        self._judge()

    def end(self) -> None:
        """From now on every answer is its connection's last."""
        self._ends = self.closes = True

    def _judge(self) -> None:
        too_long = TOO_LONG_TLS if self._is_tls else TOO_LONG
        mean = (self.expected + self._heard) / (1 + self._siblings)
        self.closes = self._ends or (self._siblings > 0 and max(self.expected, mean) > too_long)


def _share(seconds: float) -> float:
    """What a spell of so long adds to the seconds that a request is expected to wait."""
    return min(seconds, LONGEST) ** 2 / (2 * HORIZON)
