import time

import pytest

from appserve.observe.scoreboard import (
    BUSY_SINCE_NS,
    IN_FLIGHT,
    LATENCY_BUCKETS,
    PROGRESS_NS,
    TICK_NS,
    Row,
    Scoreboard,
    latency_bucket,
    size_for,
)
from appserve.observe.tally import CLIENT_LEFT, Counts, Showcase, Tally, publish

SECOND = 10**9


@pytest.fixture
def row() -> Row:
    return Scoreboard.format(bytearray(size_for(1)), 1).row(0)


@pytest.fixture
def tally(row: Row) -> Tally:
    return Tally(row)


def serve(tally: Tally, status: int, nanoseconds: int = 1000, begun: int = SECOND) -> None:
    tally.begin(b"GET /", begun)
    tally.end(status, begun + nanoseconds)


def test_while_the_application_runs_it_shows_since_when_and_with_what(tally: Tally, row: Row):
    tally.publish(5 * SECOND, 1, 0)
    tally.begin(b"GET /a", 7 * SECOND)

    assert row.stall_reference_ns == 7 * SECOND
    assert row.current_request() == b"GET /a"
    tally.end(200, 8 * SECOND)
    assert row.stall_reference_ns == 5 * SECOND, "the last turn of the loop"
    assert row.current_request() == b"GET /a", "what was served last stays to be seen"


def test_a_call_that_nobody_ends_does_not_look_like_one_that_hangs(tally: Tally, row: Row):
    tally.publish(5 * SECOND, 1, 0)
    tally.begin(b"GET /a", 7 * SECOND)
    tally.rest()

    assert row.stall_reference_ns == 5 * SECOND


def test_a_label_that_comes_again_is_not_written_again(tally: Tally, row: Row):
    label = b"GET /a"
    tally.begin(label, 1)
    tally.end(200, 2)
    row.set_request(b"changed")
    tally.begin(label, 3)
    assert row.current_request() == b"changed"

    tally.begin(b"GET /b", 4)
    assert row.current_request() == b"GET /b"


def test_counters_are_public_when_they_are_published(tally: Tally, row: Row):
    tally.accepted, tally.app_errors, tally.timeouts = 7, 3, 2
    serve(tally, 200, 2 * SECOND)
    serve(tally, 404, 1 * SECOND)
    tally.count(413)
    assert row.totals().requests == 0

    tally.publish_requests()
    assert row.totals().requests == 3
    assert row.served_anything
    assert row.totals().responses == (0, 0, 0, 0, 0)

    tally.publish(9 * SECOND, 5, 1)
    totals = row.totals()
    assert totals.responses == (0, 1, 0, 2, 0)
    assert (totals.accepted, totals.app_errors, totals.timeouts) == (7, 3, 2)
    assert totals.busy_seconds == 3.0
    assert row.words[TICK_NS] == 9 * SECOND


@pytest.mark.parametrize("status", [100, 200, 204, 302, 404, 499 + 1, 503, 600, 999])
def test_every_status_has_its_class(tally: Tally, row: Row, status: int):
    serve(tally, status)
    tally.count(status)
    tally.publish(1, 0, 0)

    expected = [0] * 5
    if status < 600:
        expected[status // 100 - 1] = 2
    assert row.totals().responses == tuple(expected)
    assert row.totals().requests == 2


def test_a_client_that_left_got_no_response(tally: Tally, row: Row):
    serve(tally, CLIENT_LEFT)
    tally.count(CLIENT_LEFT)
    tally.publish(1, 0, 0)

    totals = row.totals()
    assert (totals.requests, totals.aborted, totals.responses) == (2, 2, (0, 0, 0, 0, 0))


@pytest.mark.parametrize("microseconds", [0, 1, 2, 3, 1000, 10**6, 3600 * 10**6, 10**13])
def test_durations_are_counted_where_the_scoreboard_has_them(tally: Tally, row: Row, microseconds: int):
    serve(tally, 200, microseconds * 1000)
    tally.publish(1, 0, 0)

    expected = [0] * LATENCY_BUCKETS
    expected[latency_bucket(microseconds / 1e6)] = 1
    assert row.totals().latency == tuple(expected)


def test_publishing_again_counts_nothing_twice(tally: Tally, row: Row):
    serve(tally, 200)
    for _ in range(3):
        tally.publish_requests()
        tally.publish(1, 0, 0)

    assert row.totals().requests == sum(row.totals().latency) == sum(row.totals().responses) == 1


# ── several threads ──


def test_what_threads_have_counted_for_themselves_is_added_up(row: Row):
    threads = [Counts() for _ in range(3)]
    for number, thread in enumerate(threads, 1):
        thread.begin(b"GET /", SECOND)
        assert thread.end(100 * number, SECOND * (number + 1)) == SECOND * number
        thread.count(CLIENT_LEFT)
        thread.accepted, thread.app_errors, thread.timeouts = number, 2 * number, 3 * number
    publish(row, threads, 9 * SECOND, 5, 2)

    totals = row.totals()
    assert (totals.requests, totals.aborted, totals.responses) == (6, 3, (1, 1, 1, 0, 0))
    assert (totals.accepted, totals.app_errors, totals.timeouts) == (6, 12, 18)
    assert (totals.busy_seconds, sum(totals.latency)) == (6.0, 3)
    assert (row.words[TICK_NS], row.words[IN_FLIGHT]) == (9 * SECOND, 2)
    publish(row, threads, 9 * SECOND, 5, 2)
    assert row.totals() == totals


def test_the_request_that_is_shown_is_the_oldest_of_those_that_run(row: Row):
    showcase = Showcase(row)
    first, second = threads = [Counts(), Counts()]
    assert showcase.look(threads) == 0
    first.begin(b"GET /first", 5)
    second.begin(b"GET /second", 7)
    assert showcase.look(threads) == 2
    assert (row.current_request(), row.words[BUSY_SINCE_NS]) == (b"GET /first", 5)

    first.end(200, 9)
    assert showcase.look(threads) == 1
    assert (row.current_request(), row.words[BUSY_SINCE_NS]) == (b"GET /second", 7)

    second.end(200, 10)
    assert showcase.look(threads) == 0
    assert (row.current_request(), row.words[BUSY_SINCE_NS]) == (b"GET /second", 0)


def test_each_piece_that_is_handed_over_is_progress_and_the_call_began_when_it_began(tally: Tally, row: Row):
    before = time.monotonic_ns()
    tally.begin(b"GET /", SECOND)
    tally.progress()

    assert before <= row.stall_reference_ns <= time.monotonic_ns()
    assert row.words[BUSY_SINCE_NS] == SECOND
    tally.end(200, 3 * SECOND)
    tally.publish(4 * SECOND, 0, 0)
    assert row.totals().busy_seconds == 2.0
    assert row.stall_reference_ns == 4 * SECOND, "the last turn of the loop"


def test_progress_of_one_call_is_none_of_the_next(tally: Tally, row: Row):
    tally.begin(b"GET /", SECOND)
    tally.progress()
    tally.end(200, 3 * SECOND)
    later = time.monotonic_ns() + SECOND
    tally.begin(b"GET /", later)

    assert row.stall_reference_ns == later


def test_a_thread_remembers_its_progress_and_shows_none_for_its_worker(row: Row):
    thread = Counts()
    thread.begin(b"GET /", 5)
    assert thread.stall_reference_ns == 5
    before = time.monotonic_ns()
    thread.progress()

    assert before <= thread.stall_reference_ns <= time.monotonic_ns()
    assert row.words[PROGRESS_NS] == 0
    assert (thread.since, thread.end(200, 20)) == (5, 15)


def test_two_threads_that_show_something_at_the_same_moment_do_not_mix_it(row: Row):
    showcase = Showcase(row)
    set_request = row.set_request

    class Interrupted:
        """The row, while another thread looks as well."""

        words = row.words

        def set_request(self, label: bytes) -> None:
            showcase.put(b"GET /other", 9)
            set_request(label)

    showcase._row = Interrupted()  # type: ignore[assignment]
    showcase.put(b"GET /one", 5)

    assert (row.current_request(), row.words[BUSY_SINCE_NS]) == (b"GET /one", 5)


def test_a_call_that_nobody_ends_is_over_for_its_thread(row: Row):
    thread = Counts()
    thread.begin(b"GET /", 5)
    thread.rest()

    assert Showcase(row).look([thread]) == 0
    thread.begin(b"GET /", 10)
    assert thread.end(200, 11) == 1
