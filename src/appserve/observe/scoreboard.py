"""The scoreboard: the state and the counters of every worker, in memory that the master shares with them.

    header      8 words    the first is odd while totals move
    retired     one row    the counters of the dead: totals never go down
    rows        one each   one worker, or free

A row is 128 words of 64 bits. **Each word has one writer**, so there are no locks: the master writes the
first eight words (one cache line), the worker all others, and both only while the row is theirs. A dead
worker's row is the master's, which folds it into `retired` and clears it.

A report reads this memory and needs no answer of a worker, so it is possible while workers hang and after
they have died. Times are time.monotonic_ns(), which all processes of one boot share.
"""

from collections.abc import Iterator
from enum import IntEnum
from typing import Any, Final, TypeAlias

from appserve.values import Value

# Something writable that is shared: an mmap, or a bytearray in a test.
Buffer: TypeAlias = Any

_WORD: Final = 8
_HEADER_WORDS: Final = 8
_FOLDING: Final = 0

ROW_WORDS: Final = 128
ROW_SIZE: Final = ROW_WORDS * _WORD

# Words that the master writes.
PID: Final = 0
SLOT: Final = 1
GENERATION: Final = 2
SPAWNED_NS: Final = 3

# Words that the worker writes: what it is doing now.
STATE: Final = 8
STATE_SINCE_NS: Final = 9
TICK_NS: Final = 10  # when its loop last turned
BUSY_SINCE_NS: Final = 11  # sync: since when the application runs; threads: its oldest call; 0 for none
CONNECTIONS: Final = 12  # open
IN_FLIGHT: Final = 13  # requests that the application has and has not finished
REQUEST_SEQUENCE: Final = 15  # sequence << 16 | length; an odd sequence: the text is being written

# Words that the worker counts up: what it has done. They are folded into `retired`.
ACCEPTED: Final = 16
REQUESTS: Final = 17  # requests that have ended: answered, refused, cut short; each is in LATENCY as well
RESPONSES_1XX: Final = 18  # RESPONSES_1XX + status // 100 - 1
APP_ERRORS: Final = 23  # exceptions that came out of the application
ABORTED: Final = 24  # the client left before its response was complete
TIMEOUTS: Final = 25  # requests and connections that a time limit ended
BYTES_IN: Final = 26  # read from clients: HTTP, without what TLS and a PROXY header add
BYTES_OUT: Final = 27  # of responses, given to the kernel; without what TLS adds
BUSY_NS: Final = 28  # from each call of the application to its return, waits included, all calls together
REFUSED: Final = 29  # connections that were refused before their first request
LATENCY: Final = 32  # a histogram of the durations of requests, see Totals and connection/record.py
LATENCY_BUCKETS: Final = 32

# A word that the worker writes for its siblings.
HELD_UP_NS: Final = 64  # WSGI: when requests were last held up for long (workers/keepalive_policy.py)

# More of what the worker is doing now.
PROGRESS_NS: Final = 65  # sync: when the application last handed over a piece of a response

# Words that the worker counts up as well: REFUSALS + errors.Cause.
REFUSALS: Final = 72  # requests and connections that were refused, by cause
REFUSAL_CAUSES: Final = 24

_COUNTERS: Final = slice(ACCEPTED, LATENCY + LATENCY_BUCKETS)
_REFUSALS: Final = slice(REFUSALS, REFUSALS + REFUSAL_CAUSES)
_TEXT_AT: Final = 96 * _WORD
TEXT_SIZE: Final = 240

# A reader meets a writer in the middle of a text at most once in a while; then it looks again.
_READ_ATTEMPTS: Final = 8


class WorkerState(IntEnum):
    """The state that a worker publishes. It only goes forward."""

    EMPTY = 0  # no worker has this row
    BOOTING = 1  # imports the application, or runs its lifespan startup
    READY = 2
    DRAINING = 3  # accepts nothing new, finishes what it has
    STOPPING = 4  # runs the lifespan shutdown


class Totals(Value):
    """Counters, of one worker or of all that ever lived.

    `responses` are the counts of 1xx to 5xx; `latency[n]` counts the requests that took at least 2**(n-1)
    and less than 2**n µs; `refusals[cause]` counts what was refused for an errors.Cause.
    """

    accepted: int
    requests: int
    responses: tuple[int, ...]
    app_errors: int
    aborted: int
    timeouts: int
    bytes_in: int
    bytes_out: int
    refused: int
    busy_seconds: float
    latency: tuple[int, ...]
    refusals: tuple[int, ...]


class ScoreboardRow:
    """One worker's row. `words` is for the hot path: `row.words[REQUESTS] += 1` is one store."""

    __slots__ = ("_sequence", "_text", "words")

    def __init__(self, memory: memoryview) -> None:
        self.words = memory.cast("Q")
        self._text = memory[_TEXT_AT : _TEXT_AT + TEXT_SIZE]
        self._sequence = 0

    # The master's side

    def claim(self, slot: int, generation: int, now_ns: int) -> None:
        """Give the row to a worker that is about to be forked; `set_pid` follows when the fork is done."""
        self.clear()
        words = self.words
        words[SLOT] = slot
        words[GENERATION] = generation
        words[SPAWNED_NS] = now_ns
        words[TICK_NS] = now_ns
        words[STATE_SINCE_NS] = now_ns
        words[STATE] = WorkerState.BOOTING

    def set_pid(self, pid: int) -> None:
        self.words[PID] = pid

    def clear(self) -> None:
        """Make the row free; its worker is dead."""
        self.words[STATE] = WorkerState.EMPTY
        for at in range(ROW_WORDS):
            self.words[at] = 0
        self._sequence = 0

    # The worker's side

    def enter(self, state: WorkerState, now_ns: int) -> None:
        """Publish the state of the worker from now on."""
        self.words[STATE_SINCE_NS] = now_ns
        self.words[STATE] = state

    def set_request(self, line: bytes) -> None:
        """Show what is being served: the method and the path, without the query (it may hold secrets).

        What does not fit is cut; an empty line shows that nothing is.
        """
        length = len(line)
        if length > TEXT_SIZE:
            length = TEXT_SIZE
            line = line[:TEXT_SIZE]
        # A reader that finds the sequence odd, or changed after it copied the text, looks again. Strictly,
        # other processors may see these stores in another order; between two byte codes there is time enough.
        sequence = self._sequence
        words = self.words
        words[REQUEST_SEQUENCE] = (sequence + 1) << 16
        self._text[:length] = line
        self._sequence = sequence = (sequence + 2) & 0xFFFFFFFF
        words[REQUEST_SEQUENCE] = sequence << 16 | length

    # The reader's side

    @property
    def state(self) -> WorkerState:
        """The state; a value that no worker writes is read as BOOTING, of which the least is expected."""
        value = self.words[STATE]
        return WorkerState(value) if value <= WorkerState.STOPPING else WorkerState.BOOTING

    @property
    def stall_reference_ns(self) -> int:
        """Since when there has been no progress: while the application runs, the start of its call or the
        last piece of the response that it handed over; else the last turn of the loop."""
        since = self.words[BUSY_SINCE_NS]
        return max(since, self.words[PROGRESS_NS]) if since else self.words[TICK_NS]

    def busy_seconds(self, now: float) -> float:
        """For how long the current call of the application has been running; 0 when there is none."""
        since = self.words[BUSY_SINCE_NS]
        return max(0.0, now - since / 1e9) if since else 0.0

    def current_request(self) -> bytes:
        """What set_request() showed last; b"" when there is nothing, or it changes too fast to be read."""
        for _ in range(_READ_ATTEMPTS):
            before = self.words[REQUEST_SEQUENCE]
            if before >> 16 & 1:
                continue
            text = bytes(self._text[: before & 0xFFFF])
            if self.words[REQUEST_SEQUENCE] == before:
                return text
        return b""

    def totals(self) -> Totals:
        """The counters of this row."""
        return _totals(_counters(self))


class Scoreboard:
    """All rows over one shared buffer: a new one, of zeros, or one that another process has made."""

    __slots__ = ("_header", "retired", "rows")

    def __init__(self, buffer: Buffer, rows: int) -> None:
        memory = memoryview(buffer).cast("B")
        if len(memory) < size_for(rows):
            raise ValueError(f"a scoreboard of {rows} rows needs {size_for(rows)} bytes, not {len(memory)}")
        start = _HEADER_WORDS * _WORD
        self._header = memory[:start].cast("Q")
        self.retired, *self.rows = (
            ScoreboardRow(memory[at : at + ROW_SIZE])
            for at in range(start, start + (rows + 1) * ROW_SIZE, ROW_SIZE)
        )

    def row(self, at: int) -> ScoreboardRow:
        return self.rows[at]

    def siblings(self, row: ScoreboardRow) -> list[ScoreboardRow]:
        """The other workers that serve."""
        ready = int(
            WorkerState.READY
        )  # to look this up for each of a thousand rows takes longer than the rest
        return [one for one in self.rows if one is not row and one.words[STATE] == ready]

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[ScoreboardRow]:
        return iter(self.rows)

    def fold(self, row: ScoreboardRow) -> None:
        """Add the counters of a dead worker to `retired` and make its row free. The master's alone."""
        header, retired = self._header, self.retired.words
        header[_FOLDING] += 1
        for at in (*range(_COUNTERS.start, _COUNTERS.stop), *range(_REFUSALS.start, _REFUSALS.stop)):
            # A worker that wrote rubbish into its row must not end the master with an OverflowError.
            retired[at] = (retired[at] + row.words[at]) & 0xFFFFFFFFFFFFFFFF
        row.clear()
        header[_FOLDING] += 1

    def totals(self) -> Totals:
        """The counters of all workers, living and dead; between two calls no counter goes down."""
        for _ in range(_READ_ATTEMPTS):
            before = self._header[_FOLDING]
            rows = (self.retired, *self.rows)
            sums = [sum(column) for column in zip(*map(_counters, rows), strict=True)]
            if before & 1 == 0 and self._header[_FOLDING] == before:
                break
        return _totals(sums)


def size_for(rows: int) -> int:
    """Bytes that a scoreboard of this many rows needs."""
    return _HEADER_WORDS * _WORD + (rows + 1) * ROW_SIZE


def _counters(row: ScoreboardRow) -> list[int]:
    """The words that only go up: from ACCEPTED on, then those from REFUSALS on."""
    return row.words[_COUNTERS].tolist() + row.words[_REFUSALS].tolist()


def _totals(counters: list[int]) -> Totals:
    """`counters` are as _counters() gives them."""
    accepted, requests, *responses = counters[: APP_ERRORS - ACCEPTED]
    app_errors, aborted, timeouts, bytes_in, bytes_out, busy_ns, refused = counters[APP_ERRORS - ACCEPTED :][
        :7
    ]
    return Totals(
        accepted=accepted,
        requests=requests,
        responses=tuple(responses),
        app_errors=app_errors,
        aborted=aborted,
        timeouts=timeouts,
        bytes_in=bytes_in,
        bytes_out=bytes_out,
        refused=refused,
        busy_seconds=busy_ns / 1e9,
        latency=tuple(counters[LATENCY - ACCEPTED : -REFUSAL_CAUSES]),
        refusals=tuple(counters[-REFUSAL_CAUSES:]),
    )
