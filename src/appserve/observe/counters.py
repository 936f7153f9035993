"""What one process counts while it serves, and when that becomes public.

A store into the scoreboard costs more than one into an attribute, so a request is counted here and the
sums are folded into the worker's row by its loop: how many were served once a turn, the rest once a second
and at the end. What must be readable at any moment, because it tells why a worker hangs, is written at once.

Where several threads serve, each counts for itself, and the loop adds up: a word of the row has one writer.
"""

import time
from _thread import allocate_lock  # threading would be imported for this alone in a worker without threads
from collections.abc import Iterable, Sequence
from typing import Any, Final

from appserve.observe.scoreboard import (
    ABORTED,
    ACCEPTED,
    APP_ERRORS,
    BUSY_NS,
    BUSY_SINCE_NS,
    BYTES_IN,
    BYTES_OUT,
    CONNECTIONS,
    IN_FLIGHT,
    LATENCY,
    LATENCY_BUCKETS,
    PROGRESS_NS,
    REQUESTS,
    RESPONSES_1XX,
    TICK_NS,
    TIMEOUTS,
    ScoreboardRow,
)

CLIENT_LEFT: Final = 499
"""The status of a request whose client left before its response was complete (a habit of access logs)."""


class Counters:
    """What one thread has counted, and the call of the application that it is in. Times are monotonic ns.

    Only the thread itself writes. With a `row` it is the only thread of its worker, and shows in that row
    what it does; with `shown` it is one of several, and is shown when no other one is.

    accepted, app_errors, timeouts, bytes_in and bytes_out are for their users to count up; requests, aborted,
    responses (by hundreds of the status) and latency (by powers of two of microseconds) are counted up by
    connection/record.py

    since    when the current call began; 0 while the application has not got this thread
    progressed   when the application last handed over a piece of a response, in this call or an earlier one
    ended    when the last call ended
    calls    how many have ended
    held_up  for how long other requests were held up at most, since take_held_up()
    busy_ns  how long all of them have taken
    label    the request line of the current or the last call, without its query
    name, ident   of the thread, where there are several
    connection    the one that the thread had last
    """

    __slots__ = (
        "_row",
        "_shown",
        "_words",
        "aborted",
        "accepted",
        "app_errors",
        "busy_ns",
        "bytes_in",
        "bytes_out",
        "calls",
        "connection",
        "ended",
        "held_up",
        "ident",
        "label",
        "latency",
        "name",
        "progressed",
        "requests",
        "responses",
        "since",
        "timeouts",
    )

    def __init__(
        self, row: ScoreboardRow | None = None, *, shown: "ShownRequest | None" = None, name: str = ""
    ) -> None:
        self._row = row
        self._words = None if row is None else row.words
        self._shown = shown
        self.name = name
        self.ident = 0
        self.connection: Any = None
        self.responses = [0] * 10
        self.latency = [0] * 64  # more buckets than the row has, so that no duration needs a check
        self.busy_ns = 0
        self.calls = 0
        self.since = 0
        self.progressed = 0
        self.ended = 0
        self.held_up = 0
        self.label = b""
        self.accepted = 0
        self.requests = 0
        self.aborted = 0
        self.app_errors = 0
        self.timeouts = 0
        self.bytes_in = 0
        self.bytes_out = 0

    def begin(self, label: bytes, now_ns: int) -> None:
        """The application is called and has this thread to itself; that is shown in case it never returns."""
        # hot: bench sync-hello, threads-hello.
        words = self._words
        if words is not None:
            self.since = now_ns
            if label != self.label and self._row is not None:
                self.label = label
                self._row.set_request(label)
            words[BUSY_SINCE_NS] = now_ns
            return
        self.label = label
        self.since = now_ns  # last: the loop reads it first
        shown = self._shown
        if shown is not None and not shown.since:
            shown.put(label, now_ns)

    def end(self, now_ns: int) -> int:
        """The application has returned; gives the nanoseconds that it took."""
        # hot: bench sync-hello, threads-hello.
        nanoseconds = now_ns - self.since
        self.busy_ns += nanoseconds
        self.calls += 1
        words = self._words
        if words is not None:
            words[BUSY_SINCE_NS] = 0
            self.held_up = max(self.held_up, nanoseconds)
        else:
            self.ended = now_ns
            self.since = 0
        return nanoseconds

    def progress(self) -> None:
        """The application has handed over a piece of its response, or waits for the client to take one: it
        is not stuck (--timeout)."""
        self.progressed = now_ns = time.monotonic_ns()
        if self._words is not None:
            self._words[PROGRESS_NS] = now_ns

    @property
    def stall_reference_ns(self) -> int:
        """Since when the current call has made no progress."""
        return max(self.since, self.progressed)

    def take_held_up(self) -> int:
        """For how long other requests were held up at most, in nanoseconds, since the last call."""
        longest, self.held_up = self.held_up, 0
        return longest

    def rest(self) -> None:
        """Whatever happened to the call, the application has this thread no longer."""
        self.since = 0
        if self._words is not None:
            self._words[BUSY_SINCE_NS] = 0


class ShownRequest:
    """The one request that a worker with several threads shows in its row, and since when it runs.

    That is the oldest one, as of the loop's last look. A worker that has shown nothing shows the next one at
    once: a process that dies of a request should not look as if it had never had one.
    """

    __slots__ = ("_label", "_lock", "_row", "since")

    def __init__(self, row: ScoreboardRow) -> None:
        self._row = row
        # Taken or not taken, and never waited for; so a process that is forked meanwhile cannot hang on it.
        self._lock = allocate_lock()
        self._label = b""
        self.since = 0

    def put(self, label: bytes, since: int) -> None:
        """Show this request, unless another thread shows one right now."""
        if self._lock.acquire(False):
            try:
                if label != self._label:
                    self._label = label
                    self._row.set_request(label)
                self.since = self._row.words[BUSY_SINCE_NS] = since
            finally:
                self._lock.release()

    def look(self, threads: Iterable[Counters]) -> int:
        """Show the oldest request of these threads, or that there is none; gives how many there are."""
        running = [(since, one.label) for one in threads if (since := one.since)]
        if running:
            since, label = min(running)
            self.put(label, since)
        elif self.since:
            self.put(self._label, 0)
        return len(running)


def publish(
    row: ScoreboardRow, counts: Sequence[Counters], now_ns: int, connections: int, in_flight: int
) -> None:
    """Show the sums of all these in the row of their worker."""
    words = row.words
    words[TICK_NS] = now_ns
    words[CONNECTIONS] = connections
    words[IN_FLIGHT] = in_flight
    words[REQUESTS] = sum(one.requests for one in counts)
    words[ACCEPTED] = sum(one.accepted for one in counts)
    words[ABORTED] = sum(one.aborted for one in counts)
    words[APP_ERRORS] = sum(one.app_errors for one in counts)
    words[TIMEOUTS] = sum(one.timeouts for one in counts)
    words[BYTES_IN] = sum(one.bytes_in for one in counts)
    words[BYTES_OUT] = sum(one.bytes_out for one in counts)
    words[BUSY_NS] = sum(one.busy_ns for one in counts)
    for hundreds in range(1, 6):
        words[RESPONSES_1XX + hundreds - 1] = sum(one.responses[hundreds] for one in counts)
    for bucket in range(LATENCY_BUCKETS - 1):
        words[LATENCY + bucket] = sum(one.latency[bucket] for one in counts)
    words[LATENCY + LATENCY_BUCKETS - 1] = sum(sum(one.latency[LATENCY_BUCKETS - 1 :]) for one in counts)
