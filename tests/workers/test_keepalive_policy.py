"""Whether a worker keeps its connections; the clock is an argument."""

from typing import Any

import pytest

from appserve.observe.scoreboard import BUSY_SINCE_NS, HELD_UP_NS, Scoreboard, WorkerState, size_for
from appserve.workers.keepalive_policy import LONG_NS, LONG_TLS_NS, MEMORY_NS, KeepAlivePolicy
from appserve.wsgi.service import KeepAlive

START = 1_000_000_000_000


class Worker:
    """A worker beside `siblings` others; `rows` are theirs."""

    def __init__(self, siblings: int = 3, keeps: bool = True, **facts: Any) -> None:
        board = Scoreboard(bytearray(size_for(siblings + 1)), siblings + 1)
        self.row, *self.rows = board
        for row in board:
            row.enter(WorkerState.READY, START)
        self.keep_alive = KeepAlive(closes=not keeps)
        facts = {"has_one_thread": True, "is_tls": False, **facts}
        self.policy = KeepAlivePolicy(self.keep_alive, board, self.row, **facts)

    def closes(self, now: int, held_up: int = 0) -> bool:
        self.policy.update(now, held_up)
        return self.keep_alive.closes


def test_one_long_call_closes_connections_until_it_is_forgotten():
    worker = Worker()
    assert not worker.closes(START)
    assert not worker.closes(START, held_up=LONG_NS)

    assert worker.closes(START, held_up=LONG_NS + 1)
    assert worker.closes(START + MEMORY_NS - 1)
    assert not worker.closes(START + MEMORY_NS)


def test_where_a_new_connection_begins_with_a_handshake_it_takes_a_longer_call():
    worker = Worker(is_tls=True)
    assert not worker.closes(START, held_up=LONG_TLS_NS)
    assert worker.closes(START, held_up=LONG_TLS_NS + 1)


def test_without_siblings_connections_are_kept():
    worker = Worker(siblings=0)
    assert not worker.closes(START, held_up=1 << 62)


def test_only_siblings_that_serve_count():
    worker = Worker(siblings=1)
    worker.rows[0].enter(WorkerState.DRAINING, START)
    assert not worker.closes(START, held_up=LONG_NS + 1)

    worker.rows[0].enter(WorkerState.READY, START)
    assert worker.closes(START)


def test_a_long_call_in_a_sibling_may_come_here_too():
    worker = Worker()
    other = Worker()
    other.policy.update(START, LONG_NS + 1)
    worker.rows[1].words[HELD_UP_NS] = other.row.words[HELD_UP_NS]
    assert worker.closes(START + 1)
    assert not worker.closes(START + MEMORY_NS)


def test_the_call_that_runs_in_a_sibling_counts_before_its_end():
    worker = Worker()
    worker.rows[2].words[BUSY_SINCE_NS] = START
    assert not worker.closes(START + LONG_NS)
    assert worker.closes(START + LONG_NS + 1)


def test_with_several_threads_a_call_that_runs_holds_up_no_other_request():
    worker = Worker(has_one_thread=False)
    worker.rows[0].words[BUSY_SINCE_NS] = START
    assert not worker.closes(START + 100 * LONG_NS)


def test_without_keep_alive_and_at_the_end_every_response_is_the_last():
    assert Worker(keeps=False).closes(START)

    worker = Worker()
    worker.policy.end()
    assert worker.keep_alive.closes
    assert worker.closes(START)


@pytest.mark.parametrize("now", [1, MEMORY_NS // 2])
def test_a_machine_that_has_just_started_has_held_up_nothing(now: int):
    assert not Worker().closes(now)
