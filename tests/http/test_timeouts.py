import math
from collections.abc import Callable, Iterable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appserve.http.timeouts import LINGER_LONGEST, LINGER_SILENCE, Timeouts, WaitFor, WaitTimer

TIMEOUT = Timeouts(first=20, idle=75, head=30, body=60, body_rate=0, write=50)
LIMITS = {WaitFor.FIRST: 20, WaitFor.IDLE: 75, WaitFor.HEAD: 30, WaitFor.BODY: 60, WaitFor.READER: 50}

every_wait = pytest.mark.parametrize("waiting", list(LIMITS))


@every_wait
def test_a_wait_may_last_as_long_as_it_is_allowed(waiting: WaitFor):
    watch = WaitTimer()

    assert not watch.expired(waiting, 0, 100.0, TIMEOUT)
    assert not watch.expired(waiting, 0, 100.0 + LIMITS[waiting], TIMEOUT)
    assert watch.expired(waiting, 0, 100.1 + LIMITS[waiting], TIMEOUT)


@every_wait
def test_progress_begins_it_anew(waiting: WaitFor):
    watch = WaitTimer()
    assert not watch.expired(waiting, 0, 0.0, TIMEOUT)

    assert not watch.expired(waiting, 1, 1000.0, TIMEOUT)
    assert not watch.expired(waiting, 1, 1000.0 + LIMITS[waiting], TIMEOUT)
    assert watch.expired(waiting, 1, 1001.0 + LIMITS[waiting], TIMEOUT)


def test_another_wait_begins_anew_with_the_same_mark():
    watch = WaitTimer()
    assert not watch.expired(WaitFor.IDLE, 0, 0.0, TIMEOUT)

    assert not watch.expired(WaitFor.HEAD, 0, 1000.0, TIMEOUT)
    assert watch.expired(WaitFor.HEAD, 0, 1031.0, TIMEOUT)


def test_time_in_the_application_is_never_the_peers_fault():
    watch = WaitTimer()

    assert not any(watch.expired(WaitFor.APPLICATION, 0, now, TIMEOUT) for now in (0.0, 1e6))


@every_wait
def test_0_disables_a_timeout(waiting: WaitFor):
    watch = WaitTimer()

    assert not any(watch.expired(waiting, 0, now, Timeouts(0, 0, 0, 0, 100, 0)) for now in (0.0, 1e9))


def test_a_peer_that_was_sent_our_last_response_and_is_silent_is_not_waited_for():
    watch = WaitTimer()
    assert not watch.expired(WaitFor.END, 0, 0.0, TIMEOUT)
    assert not watch.expired(WaitFor.END, 5, 1.0, TIMEOUT)

    assert not watch.expired(WaitFor.END, 5, 1.0 + LINGER_SILENCE, TIMEOUT)
    assert watch.expired(WaitFor.END, 5, 1.1 + LINGER_SILENCE, TIMEOUT)


def test_the_time_to_send_after_the_last_response_is_bounded():
    watch = WaitTimer()

    sent = [watch.expired(WaitFor.END, second, float(second), TIMEOUT) for second in range(60)]

    assert sent.index(True) == LINGER_LONGEST + 1


RATED = Timeouts(first=0, idle=0, head=0, body=10, body_rate=100, write=0)


def test_a_body_that_trickles_is_overdue():
    watch = WaitTimer()
    assert not watch.expired(WaitFor.BODY, 0, 0.0, RATED)

    assert not any(watch.expired(WaitFor.BODY, second, float(second), RATED) for second in range(1, 11))
    assert watch.expired(WaitFor.BODY, 11, 11.0, RATED)


def end_of(watch: WaitTimer, looks: Iterable[tuple[float, int]]) -> float | None:
    """When the body of these (time, bytes received) is overdue."""
    return next((now for now, mark in looks if watch.expired(WaitFor.BODY, mark, now, RATED)), None)


def every_second(received: Callable[[int], int], seconds: int = 1000) -> Iterator[tuple[float, int]]:
    return ((float(second), received(second)) for second in range(seconds))


def test_a_burst_buys_no_slowness_later():
    assert end_of(WaitTimer(), every_second(lambda second: 0 if second < 2 else 10**9 + second)) is not None


@given(burst=st.integers(0, 10**9), at=st.integers(0, 9), pause=st.integers(1, 10))
def test_however_a_body_began_it_ends_when_it_trickles(burst: int, at: int, pause: int):
    def received(second: int) -> int:
        return second // pause + (burst if second >= at else 0)

    end = end_of(WaitTimer(), every_second(received))

    assert end is not None
    assert end <= 5 * RATED.body


@given(pause=st.integers(0, 9), at=st.integers(11, 60), factor=st.integers(1, 50))
def test_a_body_may_pause_that_comes_at_the_rate_over_the_window(pause: int, at: int, factor: int):
    """It comes so quickly that what is left of the window beside the pause makes up for it."""
    rate = factor * 100 * 10 / (10 - pause)

    def received(second: int) -> int:
        return int(rate * (min(second, at) + max(0, second - at - pause))) + 1

    assert end_of(WaitTimer(), every_second(received)) is None


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(0, 10**6)), max_size=100))
def test_a_body_is_ended_only_when_it_was_too_slow_for_a_whole_window(steps: list[tuple[int, int]]):
    looks = [(0.0, 0)]
    for seconds, size in steps:
        looks.append((looks[-1][0] + seconds, looks[-1][1] + size))

    end = end_of(WaitTimer(), looks)

    if end is not None:
        last = next(mark for now, mark in looks if now == end)
        assert any(
            end - now > RATED.body and last - mark < RATED.body_rate * (end - now) for now, mark in looks
        )


def test_each_body_has_a_time_of_its_own():
    watch = WaitTimer()
    assert not watch.expired(WaitFor.BODY, 0, 0.0, RATED)
    assert not watch.expired(WaitFor.APPLICATION, 0, 8.0, RATED)

    assert not watch.expired(WaitFor.BODY, 0, 9.0, RATED)
    assert not watch.expired(WaitFor.BODY, 1, 18.0, RATED)


@pytest.mark.parametrize(("body", "rate"), [(0, 100), (10, 0)])
def test_without_a_limit_of_either_kind_a_body_never_expires(body: int, rate: int):
    timeouts = Timeouts(first=0, idle=0, head=0, body=body, body_rate=rate, write=0)
    watch = WaitTimer()

    assert not any(watch.expired(WaitFor.BODY, turn, turn * 9.0, timeouts) for turn in range(100))


def test_what_is_answered_names_the_wait_that_was_too_long_and_its_setting():
    timeouts = Timeouts(first=20, idle=75, head=30, body=2, body_rate=1000, write=50)

    def answered(looks: list[tuple[WaitFor, int, float]]) -> str:
        watch = WaitTimer()
        assert [watch.expired(*look, timeouts) for look in looks] == [False] * (len(looks) - 1) + [True]
        return str(watch.rejection(timeouts))

    head, body = WaitFor.HEAD, WaitFor.BODY
    late = "408 request head incomplete after 30 s (--head-timeout)"
    assert answered([(head, 0, 0.0), (head, 0, 31.0)]) == late
    silent = "408 no data of the request body for 2 s (--body-timeout)"
    assert answered([(body, 0, 0.0), (body, 0, 3.0)]) == silent
    assert answered([(body, 0, 0.0), (body, 9000, 1.0), (body, 9000, 4.0)]) == silent
    slow = "408 request body slower than 1000 bytes a second (--body-rate)"
    assert answered([(body, 0, 0.0), (body, 1, 1.0), (body, 2, 3.0)]) == slow


def test_since_is_the_time_of_the_last_progress():
    watch = WaitTimer()
    watch.expired(WaitFor.IDLE, 0, 5.0, TIMEOUT)
    watch.expired(WaitFor.IDLE, 0, 9.0, TIMEOUT)

    assert watch.since == 5.0


def test_a_wait_has_been_seen_when_it_was_looked_at_as_it_is():
    watch = WaitTimer()
    watch.expired(WaitFor.IDLE, 3, 5.0, TIMEOUT)

    assert watch.has_seen(WaitFor.IDLE, 3)
    assert not watch.has_seen(WaitFor.IDLE, 4)
    assert not watch.has_seen(WaitFor.HEAD, 3)


@every_wait
def test_it_need_not_be_looked_at_before_it_is_due(waiting: WaitFor):
    watch = WaitTimer()
    watch.expired(waiting, 0, 100.0, TIMEOUT)
    now, looks = 100.0, 0
    while not watch.expired(waiting, 0, now, TIMEOUT):
        assert now < watch.due(now, TIMEOUT) <= 100.0 + LIMITS[waiting]
        now = watch.due(now, TIMEOUT) + 0.001
        looks += 1

    assert now <= 100.01 + LIMITS[waiting]
    assert looks <= (8 if waiting is WaitFor.READER else 1) + 1


def test_without_a_limit_it_is_never_due():
    watch = WaitTimer()
    assert watch.due(5.0, TIMEOUT) == math.inf, "the application"
    watch.expired(WaitFor.IDLE, 0, 5.0, Timeouts(0, 0, 0, 0, 100, 0))
    assert watch.due(5.0, Timeouts(0, 0, 0, 0, 100, 0)) == math.inf
