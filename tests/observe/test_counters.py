import time

import pytest

from appserve.observe.counters import Counters, ShownRequest, publish
from appserve.observe.scoreboard import (
    BUSY_SINCE_NS,
    IN_FLIGHT,
    PROGRESS_NS,
    TICK_NS,
    Scoreboard,
    ScoreboardRow,
    size_for,
)

SECOND = 10**9


@pytest.fixture
def row() -> ScoreboardRow:
    return Scoreboard(bytearray(size_for(1)), 1).row(0)


@pytest.fixture
def counters(row: ScoreboardRow) -> Counters:
    return Counters(row)


def test_while_the_application_runs_it_shows_since_when_and_with_what(counters: Counters, row: ScoreboardRow):
    publish(row, (counters,), 5 * SECOND, 1, 0)
    counters.begin(b"GET /a", 7 * SECOND)

    assert row.stall_reference_ns == 7 * SECOND
    assert row.current_request() == b"GET /a"
    counters.end(8 * SECOND)
    assert row.stall_reference_ns == 5 * SECOND, "the last turn of the loop"
    assert row.current_request() == b"GET /a", "what was served last stays to be seen"


def test_a_call_that_is_never_ended_does_not_look_like_a_call_that_hangs(
    counters: Counters, row: ScoreboardRow
):
    publish(row, (counters,), 5 * SECOND, 1, 0)
    counters.begin(b"GET /a", 7 * SECOND)
    counters.rest()

    assert row.stall_reference_ns == 5 * SECOND


def test_a_label_that_comes_again_is_not_written_again(counters: Counters, row: ScoreboardRow):
    label = b"GET /a"
    counters.begin(label, 1)
    counters.end(2)
    row.set_request(b"changed")
    counters.begin(label, 3)
    assert row.current_request() == b"changed"

    counters.begin(b"GET /b", 4)
    assert row.current_request() == b"GET /b"


def test_counters_are_public_when_they_are_published(counters: Counters, row: ScoreboardRow):
    counters.accepted, counters.app_errors, counters.timeouts = 7, 3, 2
    counters.bytes_in, counters.bytes_out, counters.aborted = 1000, 5000, 1
    counters.requests, counters.responses[2], counters.responses[4], counters.latency[5] = 4, 1, 2, 3
    for seconds in (2, 1):
        counters.begin(b"GET /", SECOND)
        assert counters.end((1 + seconds) * SECOND) == seconds * SECOND
    assert row.totals() == Scoreboard(bytearray(size_for(1)), 1).totals(), "nothing is public yet"
    assert counters.calls == 2

    for _ in range(3):  # again counts nothing twice
        publish(row, (counters,), 9 * SECOND, 5, 1)
    totals = row.totals()
    assert (totals.requests, totals.responses, totals.aborted) == (4, (0, 1, 0, 2, 0), 1)
    assert (totals.accepted, totals.app_errors, totals.timeouts) == (7, 3, 2)
    assert (totals.bytes_in, totals.bytes_out, totals.busy_seconds) == (1000, 5000, 3.0)
    assert (totals.latency[5], sum(totals.latency)) == (3, 3)
    assert row.words[TICK_NS] == 9 * SECOND


def test_a_dead_worker_leaves_what_it_had_published():
    board = Scoreboard(bytearray(size_for(1)), 1)
    row = board.row(0)
    first, second = Counters(row), Counters(row)
    row.claim(1, 1, SECOND)
    first.responses[2], first.responses[5] = 3, 1
    publish(row, (first,), 2 * SECOND, 0, 0)
    first.responses[2] = 100
    assert board.totals().responses == (0, 3, 0, 0, 1), "the rest is not published"

    board.fold(row)
    assert board.totals().responses == (0, 3, 0, 0, 1)
    row.claim(1, 1, 3 * SECOND)
    second.responses[2] = 1
    publish(row, (second,), 4 * SECOND, 0, 0)
    assert board.totals().responses == (0, 4, 0, 0, 1)


# ── several threads ──


def test_what_threads_have_counted_for_themselves_is_added_up(row: ScoreboardRow):
    threads = [Counters() for _ in range(3)]
    for number, thread in enumerate(threads, 1):
        thread.begin(b"GET /", SECOND)
        assert thread.end(SECOND * (number + 1)) == SECOND * number
        thread.requests, thread.aborted, thread.responses[number], thread.latency[9] = 2, 1, 1, 1
        thread.bytes_in, thread.bytes_out = number, 10 * number
        thread.accepted, thread.app_errors, thread.timeouts = number, 2 * number, 3 * number
    publish(row, threads, 9 * SECOND, 5, 2)

    totals = row.totals()
    assert (totals.requests, totals.aborted, totals.responses) == (6, 3, (1, 1, 1, 0, 0))
    assert (totals.accepted, totals.app_errors, totals.timeouts) == (6, 12, 18)
    assert (totals.busy_seconds, totals.latency[9], sum(totals.latency)) == (6.0, 3, 3)
    assert (totals.bytes_in, totals.bytes_out) == (6, 60)
    assert (row.words[TICK_NS], row.words[IN_FLIGHT]) == (9 * SECOND, 2)
    publish(row, threads, 9 * SECOND, 5, 2)
    assert row.totals() == totals


def test_the_request_that_is_shown_is_the_oldest_of_those_that_run(row: ScoreboardRow):
    shown = ShownRequest(row)
    first, second = threads = [Counters(), Counters()]
    assert shown.look(threads) == 0
    first.begin(b"GET /first", 5)
    second.begin(b"GET /second", 7)
    assert shown.look(threads) == 2
    assert (row.current_request(), row.words[BUSY_SINCE_NS]) == (b"GET /first", 5)

    first.end(9)
    assert shown.look(threads) == 1
    assert (row.current_request(), row.words[BUSY_SINCE_NS]) == (b"GET /second", 7)

    second.end(10)
    assert shown.look(threads) == 0
    assert (row.current_request(), row.words[BUSY_SINCE_NS]) == (b"GET /second", 0)


def test_each_piece_that_is_handed_over_is_progress_and_the_call_began_when_it_began(
    counters: Counters, row: ScoreboardRow
):
    before = time.monotonic_ns()
    counters.begin(b"GET /", SECOND)
    counters.progress()

    assert before <= row.stall_reference_ns <= time.monotonic_ns()
    assert row.words[BUSY_SINCE_NS] == SECOND
    counters.end(3 * SECOND)
    publish(row, (counters,), 4 * SECOND, 0, 0)
    assert row.totals().busy_seconds == 2.0
    assert row.stall_reference_ns == 4 * SECOND, "the last turn of the loop"


def test_progress_of_one_call_is_none_of_the_next(counters: Counters, row: ScoreboardRow):
    counters.begin(b"GET /", SECOND)
    counters.progress()
    counters.end(3 * SECOND)
    later = time.monotonic_ns() + SECOND
    counters.begin(b"GET /", later)

    assert row.stall_reference_ns == later


def test_a_thread_remembers_its_progress_and_shows_none_for_its_worker(row: ScoreboardRow):
    thread = Counters()
    thread.begin(b"GET /", 5)
    assert thread.stall_reference_ns == 5
    before = time.monotonic_ns()
    thread.progress()

    assert before <= thread.stall_reference_ns <= time.monotonic_ns()
    assert row.words[PROGRESS_NS] == 0
    assert (thread.since, thread.end(20)) == (5, 15)


def test_two_threads_that_show_something_at_the_same_moment_do_not_mix_it(row: ScoreboardRow):
    shown = ShownRequest(row)
    set_request = row.set_request

    class Interrupted:
        """The row, while another thread looks as well."""

        words = row.words

        def set_request(self, label: bytes) -> None:
            shown.put(b"GET /other", 9)
            set_request(label)

    shown._row = Interrupted()  # type: ignore[assignment]
    shown.put(b"GET /one", 5)

    assert (row.current_request(), row.words[BUSY_SINCE_NS]) == (b"GET /one", 5)


def test_a_call_that_is_never_ended_is_over_for_its_thread(row: ScoreboardRow):
    thread = Counters()
    thread.begin(b"GET /", 5)
    thread.rest()

    assert ShownRequest(row).look([thread]) == 0
    thread.begin(b"GET /", 10)
    assert thread.end(11) == 1
