import os
import struct

import pytest

from appserve.errors import Cause
from appserve.observe import scoreboard
from appserve.observe.scoreboard import Scoreboard, ScoreboardRow, WorkerState, size_for
from appserve.system.memory import make_shared
from tests.observe.latency import latency_bucket
from tests.system.child import in_child


def board(rows: int = 3) -> Scoreboard:
    return Scoreboard(bytearray(size_for(rows)), rows)


def claimed(of: Scoreboard, at: int = 0) -> ScoreboardRow:
    row = of.row(at)
    row.claim(slot=at, generation=1, now_ns=1_000)
    row.set_pid(4127)
    return row


def test_the_layout_is_a_header_the_retired_row_and_a_row_for_each_worker() -> None:
    memory = bytearray(size_for(2))
    made = Scoreboard(memory, 2)
    row = claimed(made, 1)
    row.words[scoreboard.REQUESTS] = 77
    row.set_request(b"GET /a")
    assert len(memory) == 64 + 3 * 1024
    start = 64 + 2 * 1024
    assert struct.unpack_from("<4Q", memory, start) == (4127, 1, 1, 1_000)
    assert struct.unpack_from("<3Q", memory, start + 8 * 8) == (WorkerState.BOOTING, 1_000, 1_000)
    assert struct.unpack_from("<Q", memory, start + 15 * 8) == (2 << 16 | 6,)
    assert struct.unpack_from("<2Q", memory, start + 16 * 8) == (0, 77)
    assert memory[start + 96 * 8 :][:7] == b"GET /a\0"


def test_no_two_words_of_a_row_overlap_and_all_precede_the_text() -> None:
    names = [name for name in vars(scoreboard) if name.isupper() and not name.startswith("_")]
    sizes = {"ROW_WORDS", "ROW_SIZE", "LATENCY_BUCKETS", "REFUSAL_CAUSES", "TEXT_SIZE"}
    words = [getattr(scoreboard, name) for name in names if name not in sizes]
    assert len(set(words)) == len(words)
    assert max(words) + scoreboard.REFUSAL_CAUSES <= 96
    blocks = {scoreboard.LATENCY: scoreboard.LATENCY_BUCKETS, scoreboard.REFUSALS: scoreboard.REFUSAL_CAUSES}
    for start, size in blocks.items():
        assert not [word for word in words if start < word < start + size]
    assert 96 * 8 + scoreboard.TEXT_SIZE <= scoreboard.ROW_SIZE


def test_siblings_are_the_others_that_serve() -> None:
    made = board(4)
    rows = [claimed(made, at) for at in range(4)]
    for row, state in zip(rows, (WorkerState.READY, WorkerState.READY, WorkerState.DRAINING), strict=False):
        row.enter(state, 5_000)

    assert made.siblings(rows[0]) == [rows[1]]
    assert made.siblings(rows[3]) == rows[:2]


def test_how_long_a_call_has_been_running() -> None:
    row = claimed(board())
    assert row.busy_seconds(now=100.0) == 0.0
    row.words[scoreboard.BUSY_SINCE_NS] = 98_500_000_000
    assert row.busy_seconds(now=100.0) == pytest.approx(1.5)
    assert row.busy_seconds(now=98.0) == 0.0, "the clock was read before the call began"


def test_what_one_maps_the_other_reads() -> None:
    fd, memory = make_shared(size_for(2), "scoreboard")
    made = Scoreboard(memory, 2)
    row = claimed(made, 1)

    def work() -> None:
        row.enter(WorkerState.READY, 5_000)
        row.words[scoreboard.REQUESTS] += 3
        row.set_request(b"GET /child")

    assert in_child(work) == "None"
    seen = Scoreboard(memory, 2).row(1)
    assert (seen.state, seen.totals().requests, seen.current_request()) == (
        WorkerState.READY,
        3,
        b"GET /child",
    )
    os.close(fd)


def test_a_claimed_row_is_booting_since_now_and_bears_nothing_of_the_one_before() -> None:
    made = board()
    row = claimed(made)
    row.set_request(b"GET /old")
    row.words[scoreboard.REQUESTS] = 5
    row.words[scoreboard.BUSY_SINCE_NS] = 9
    row.claim(slot=2, generation=7, now_ns=2_000)
    assert row.words[: scoreboard.SPAWNED_NS + 1].tolist() == [0, 2, 7, 2_000]
    assert row.state is WorkerState.BOOTING
    assert row.stall_reference_ns == 2_000
    assert row.current_request() == b""
    assert row.words[scoreboard.REQUESTS] == 0


def test_progress_is_measured_from_the_call_of_the_application_or_the_turn_of_the_loop() -> None:
    row = claimed(board())
    row.words[scoreboard.TICK_NS] = 10
    assert row.stall_reference_ns == 10
    row.words[scoreboard.BUSY_SINCE_NS] = 4
    assert row.stall_reference_ns == 4


def test_an_unknown_state_is_read_as_booting() -> None:
    row = claimed(board())
    row.words[scoreboard.STATE] = 2**63
    assert row.state is WorkerState.BOOTING


@pytest.mark.parametrize("length", [0, 1, 239, 240])
def test_a_request_line_that_fits_is_shown_whole(length: int) -> None:
    row = claimed(board())
    row.set_request(b"longer than what follows")
    row.set_request(b"x" * length)
    assert row.current_request() == b"x" * length


def test_a_request_line_that_does_not_fit_is_cut() -> None:
    row = claimed(board())
    row.set_request(b"x" * 10_000)
    assert row.current_request() == b"x" * 240


def test_a_text_that_is_being_written_is_not_shown() -> None:
    row = claimed(board())
    row.set_request(b"GET /whole")
    row.words[scoreboard.REQUEST_SEQUENCE] += 1 << 16  # a writer is at it, or died at it
    assert row.current_request() == b""
    row.words[scoreboard.REQUEST_SEQUENCE] += 1 << 16
    assert row.current_request() == b"GET /whole"


def test_a_reader_never_sees_the_halves_of_two_texts() -> None:
    fd, memory = make_shared(size_for(1), "scoreboard")
    row = claimed(Scoreboard(memory, 1))
    texts = {bytes([letter]) * 240 for letter in b"abc"}
    pid = os.fork()
    if pid == 0:
        try:
            while row.words[scoreboard.TICK_NS] != 0:
                for text in texts:
                    row.set_request(text)
        finally:
            os._exit(0)
    seen: set[bytes] = set()
    while len(seen - {b""}) < 3:
        seen.add(row.current_request())
    for _ in range(5_000):
        seen.add(row.current_request())
    row.words[scoreboard.TICK_NS] = 0
    os.waitpid(pid, 0)
    assert seen <= texts | {b""}
    os.close(fd)


def test_the_sequence_starts_over_before_its_word_is_full() -> None:
    row = claimed(board())
    row._sequence = 0xFFFFFFFE
    for text in (b"one", b"two", b"three"):
        row.set_request(text)
        assert row.current_request() == text


def test_durations_fall_into_buckets_of_doubling_width() -> None:
    assert [latency_bucket(us / 1e6) for us in (0, 1, 2, 3, 4, 1000, 1023.9, 1024)] == [
        0,
        1,
        2,
        2,
        3,
        10,
        10,
        11,
    ]
    assert latency_bucket(1e9) == 31


def test_every_counter_is_in_the_totals_and_survives_its_worker() -> None:
    made = board()
    rows = [claimed(made, 0), claimed(made, 1)]
    counters = [
        *range(scoreboard.ACCEPTED, scoreboard.LATENCY + scoreboard.LATENCY_BUCKETS),
        *range(scoreboard.REFUSALS, scoreboard.REFUSALS + scoreboard.REFUSAL_CAUSES),
    ]
    for row in rows:
        for word in counters:
            row.words[word] = word
    living = made.totals()
    assert living.requests == 2 * scoreboard.REQUESTS
    assert living.responses == tuple(2 * word for word in range(18, 23))
    assert living.busy_seconds == 2 * scoreboard.BUSY_NS / 1e9
    assert living.latency == tuple(2 * word for word in range(32, 64))
    assert living.refusals == tuple(2 * word for word in range(72, 96))
    for name, value in living.fields().items():
        assert value, name
    made.fold(rows[0])
    assert made.totals() == living
    assert rows[0].state is WorkerState.EMPTY
    assert not any(rows[0].words)
    made.fold(rows[1])
    assert made.totals() == living == made.retired.totals()


def test_every_cause_of_a_refusal_has_a_counter() -> None:
    assert max(Cause) < scoreboard.REFUSAL_CAUSES


def test_totals_can_be_read_after_the_master_died_within_a_fold() -> None:
    made = board()
    claimed(made).words[scoreboard.REQUESTS] = 7
    made._header[scoreboard._FOLDING] = 1
    assert made.totals().requests == 7


def test_rubbish_in_a_row_does_not_break_the_fold() -> None:
    made = board()
    for _ in range(2):
        row = claimed(made)
        row.words[scoreboard.REQUESTS] = 2**64 - 1
        made.fold(row)
    assert made.totals().requests == 2**64 - 2


def test_a_board_has_the_rows_it_was_made_with() -> None:
    made = board(5)
    assert len(made) == len(list(made)) == 5
    assert [row.state for row in made] == [WorkerState.EMPTY] * 5


def test_a_board_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="needs 4160 bytes, not 100"):
        Scoreboard(bytearray(100), 3)
