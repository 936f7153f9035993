"""Workers that make no progress, found from rows and a clock."""

import pytest

from appserve.master.stalls import TICK, TOLERATED, StallWatch, is_stalled, next_look
from appserve.observe.scoreboard import (
    BUSY_SINCE_NS,
    PROGRESS_NS,
    ROW_SIZE,
    TICK_NS,
    ScoreboardRow,
    WorkerState,
)

SECOND = 1_000_000_000
START = 1000 * SECOND


def make_row(state: WorkerState = WorkerState.READY, busy_since: int = 0, tick: int = START) -> ScoreboardRow:
    row = ScoreboardRow(memoryview(bytearray(ROW_SIZE)))
    row.enter(state, START)
    row.words[BUSY_SINCE_NS] = busy_since
    row.words[TICK_NS] = tick
    return row


def test_a_busy_worker_stalls_by_the_age_of_its_request():
    watch = StallWatch(START)

    assert watch.stalled_for(make_row(busy_since=START), START + 3 * SECOND) == 3 * SECOND


def test_a_piece_that_the_application_has_handed_over_is_progress():
    watch = StallWatch(START)
    row = make_row(busy_since=START)
    row.words[PROGRESS_NS] = START + 50 * SECOND

    assert watch.stalled_for(row, START + 53 * SECOND) == 3 * SECOND
    assert row.busy_seconds((START + 53 * SECOND) / 1e9) == 53.0


def test_progress_before_the_call_is_not_progress_of_the_call():
    row = make_row(busy_since=START)
    row.words[PROGRESS_NS] = START - SECOND

    assert StallWatch(START).stalled_for(row, START + 3 * SECOND) == 3 * SECOND


def test_a_worker_whose_loop_turns_beside_its_calls_stalls_by_the_loop():
    watch = StallWatch(START)
    now = START + 100 * SECOND

    assert watch.stalled_for(make_row(busy_since=START, tick=now), now, by_call=False) == 0
    stuck = make_row(busy_since=now, tick=START)
    assert watch.stalled_for(stuck, now, by_call=False) == 100 * SECOND - TICK


def test_an_idle_worker_owes_nothing_before_its_next_tick():
    watch = StallWatch(START)
    row = make_row()

    assert watch.stalled_for(row, START + TICK) == 0
    assert watch.stalled_for(row, START + 3 * SECOND) == 3 * SECOND - TICK


@pytest.mark.parametrize("state", [WorkerState.EMPTY, WorkerState.BOOTING, WorkerState.STOPPING])
def test_a_worker_that_boots_or_stops_does_not_stall(state: WorkerState) -> None:
    assert StallWatch(START).stalled_for(make_row(state), START + 1000 * SECOND) == 0


def test_a_draining_worker_can_stall():
    row = make_row(WorkerState.DRAINING, busy_since=START)

    assert StallWatch(START).stalled_for(row, START + SECOND) == SECOND


def test_a_row_from_the_future_is_no_stall():
    assert StallWatch(START).stalled_for(make_row(tick=2**63), START) == 0


def test_a_pause_of_the_master_is_not_charged_to_workers():
    watch = StallWatch(START)
    row = make_row(busy_since=START)
    resumed = START + 61 * SECOND

    assert watch.turned(resumed, SECOND) == 60 * SECOND
    assert watch.stalled_for(row, resumed) == SECOND
    assert watch.stalled_for(row, resumed + 5 * SECOND) == 6 * SECOND


def test_a_request_that_began_after_the_pause_is_charged_in_full():
    watch = StallWatch(START)
    watch.turned(START + 61 * SECOND, SECOND)
    row = make_row(busy_since=START + 62 * SECOND)

    assert watch.stalled_for(row, START + 65 * SECOND) == 3 * SECOND


def test_a_turn_that_is_a_little_late_is_no_pause():
    watch = StallWatch(START)

    assert watch.turned(START + SECOND + TOLERATED, SECOND) == 0


def test_pauses_add_up():
    watch = StallWatch(START)
    row = make_row(busy_since=START)
    watch.turned(START + 11 * SECOND, SECOND)
    watch.turned(START + 22 * SECOND, SECOND)

    assert watch.stalled_for(row, START + 22 * SECOND) == 2 * SECOND


def test_a_timeout_of_0_is_none():
    assert not is_stalled(10**18, 0.0)
    assert is_stalled(30 * SECOND, 30.0)
    assert not is_stalled(30 * SECOND - 1, 30.0)


def test_the_next_look_is_when_the_first_could_be_overdue():
    assert next_look([(10 * SECOND, 30.0), (10 * SECOND, 12.0), (99 * SECOND, 0.0)]) == 2.0
    assert next_look([(70 * SECOND, 30.0)]) == 0.0
    assert next_look([]) == float("inf")
