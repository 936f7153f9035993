import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appserve.connection.waiting import AttentionClock, DeadlineQueue, lingering_wait
from appserve.http.timeouts import WaitFor


class Connection:
    rests = False


def test_a_sweep_looks_only_at_those_whose_time_may_have_come():
    queue = DeadlineQueue[Connection]()
    idle = [Connection() for _ in range(5000)]
    for number, connection in enumerate(idle):
        queue.rest(connection, 75.0 + number // 100)

    assert [queue.take(float(now)) for now in range(76)] == [[]] * 76
    assert queue.take(76.0) == idle[:100]
    assert queue.take(77.0) == idle[100:200]


def test_what_happens_wakes_it_and_it_may_rest_again():
    queue = DeadlineQueue[Connection]()
    busy = Connection()
    queue.rest(busy, 5.0)
    assert busy.rests
    queue.wake(busy)
    assert not busy.rests

    assert queue.take(1.0) == [busy]
    assert queue.take(2.0) == []
    queue.rest(busy, 7.5)
    assert [queue.take(now) for now in (5.9, 6.9, 7.9, 8.0)] == [[], [], [], [busy]]


def test_one_that_is_closed_is_not_kept():
    queue = DeadlineQueue[Connection]()
    closed = Connection()
    queue.rest(closed, 5.0)
    queue.forget(closed)

    assert queue.take(100.0) == []
    assert not (queue._resting or queue._buckets or queue._awake)


def test_without_a_limit_it_rests_until_something_happens():
    queue = DeadlineQueue[Connection]()
    one = Connection()
    queue.rest(one, math.inf)
    assert one.rests
    assert queue.take(10_000.0) == []
    queue.wake(one)
    assert queue.take(10_001.0) == [one]


STEPS = st.tuples(st.sampled_from(["wake", "rest", "forget", "take"]), st.integers(0, 4), st.integers(0, 30))


@given(st.lists(STEPS, max_size=200))
def test_each_is_taken_once_when_it_is_due_or_was_woken_and_never_before(steps: list[tuple[str, int, int]]):
    queue = DeadlineQueue[Connection]()
    connections = [Connection() for _ in range(5)]
    due: dict[Connection, float] = {}  # -inf for those that were woken
    now = 0.0
    for what, which, number in steps:
        one = connections[which]
        if what == "wake":
            queue.wake(one)
            due[one] = -math.inf
        elif what == "rest" and due.get(one) != -math.inf:
            queue.rest(one, now + number)
            due[one] = now + number
        elif what == "forget" and due.get(one) != -math.inf:
            queue.forget(one)
            due.pop(one, None)
        elif what == "take":
            now += number
            taken = queue.take(now)
            assert len(set(taken)) == len(taken)
            assert set(taken) == {each for each in due if due[each] < now}
            assert not any(each.rests for each in taken)
            for each in taken:
                del due[each]


# ── the clock ──


@pytest.mark.parametrize(
    ("looks", "seconds"),
    [
        ((1000.0, 1000.25, 1000.5, 1060.5, 1060.75), 0.25 + 0.25 + 0.5 + 0.25),
        ((1000.0, 1000.25, 999.0, 999.25), 0.5),
        ((1000.0,), 0.0),
    ],
    ids=["stands still while the loop is held up", "never goes back", "begins with the first look"],
)
def test_the_clock_of_waits(looks: tuple[float, ...], seconds: float):
    clock = AttentionClock(0.5)
    for now in looks:
        clock.look(now)

    assert clock.now == pytest.approx(seconds)


def test_a_connection_that_lingers_waits_for_its_reader_and_then_for_its_end():
    assert lingering_wait(100, 10, 7) == (WaitFor.READER, 90)
    assert lingering_wait(100, 0, 7) == (WaitFor.END, 7)
