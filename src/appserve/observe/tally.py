"""What one process counts while it serves, and when that becomes public.

A store into the scoreboard costs more than one into an attribute, so a request is counted here and the
sums are folded into the worker's row by its loop: how many were served once a turn, the rest once a second
and at the end. What must be readable at any moment, because it tells why a worker hangs, is written at once.
"""

from appserve.observe.scoreboard import (
    ABORTED,
    ACCEPTED,
    APP_ERRORS,
    BUSY_NS,
    BUSY_SINCE_NS,
    CONNECTIONS,
    IN_FLIGHT,
    LATENCY,
    LATENCY_BUCKETS,
    REQUESTS,
    RESPONSES_1XX,
    TICK_NS,
    TIMEOUTS,
    Row,
)

CLIENT_LEFT = 499
"""The status of a request whose client left before its response was complete (a habit of access logs)."""


class Tally:
    """The counters of one worker; `accepted`, `app_errors` and `timeouts` are for their users to count up."""

    __slots__ = (
        "_busy_ns",
        "_label",
        "_latency",
        "_responses",
        "_row",
        "_since",
        "_words",
        "aborted",
        "accepted",
        "app_errors",
        "requests",
        "timeouts",
    )

    def __init__(self, row: Row) -> None:
        self._row = row
        self._words = row.words
        self._responses = [0] * 10
        self._latency = [0] * 64  # more buckets than the row has, so that no duration needs a check
        self._busy_ns = 0
        self._since = 0
        self._label = b""
        self.accepted = 0
        self.requests = 0
        self.aborted = 0
        self.app_errors = 0
        self.timeouts = 0

    def begin(self, label: bytes, now_ns: int) -> None:
        """The application is called and has this thread to itself: show it, in case it never returns."""
        # hot: bench sync-hello.
        self._since = now_ns
        if label != self._label:
            self._label = label
            self._row.set_request(label)
        self._words[BUSY_SINCE_NS] = now_ns

    def end(self, status: int, now_ns: int) -> None:
        """The application has returned."""
        # hot: bench sync-hello.
        self._words[BUSY_SINCE_NS] = 0
        nanoseconds = now_ns - self._since
        self._busy_ns += nanoseconds
        self.requests += 1
        self._latency[(nanoseconds // 1000).bit_length()] += 1
        if status == CLIENT_LEFT:
            self.aborted += 1
        else:
            self._responses[status // 100] += 1

    def count(self, status: int) -> None:
        """A request is over that the application did not have to itself, or never had."""
        self.requests += 1
        if status == CLIENT_LEFT:
            self.aborted += 1
        else:
            self._responses[status // 100] += 1

    def rest(self) -> None:
        """Whatever happened to the call that was shown, the application has this thread no longer."""
        self._words[BUSY_SINCE_NS] = 0

    def publish_requests(self) -> None:
        """Once a turn of the loop."""
        self._words[REQUESTS] = self.requests

    def publish(self, now_ns: int, connections: int, in_flight: int) -> None:
        """Once a second and at the end: the loop turns, and this is what it has done."""
        words = self._words
        words[TICK_NS] = now_ns
        words[CONNECTIONS] = connections
        words[IN_FLIGHT] = in_flight
        words[REQUESTS] = self.requests
        words[ACCEPTED] = self.accepted
        words[ABORTED] = self.aborted
        words[APP_ERRORS] = self.app_errors
        words[TIMEOUTS] = self.timeouts
        words[BUSY_NS] = self._busy_ns
        for hundreds in range(1, 6):
            words[RESPONSES_1XX + hundreds - 1] = self._responses[hundreds]
        for bucket, count in enumerate(self._latency[: LATENCY_BUCKETS - 1]):
            words[LATENCY + bucket] = count
        words[LATENCY + LATENCY_BUCKETS - 1] = sum(self._latency[LATENCY_BUCKETS - 1 :])
