"""The pool of a threads worker: whoever goes on when, each connection has one owner, and nothing is lost.

Real processes and sockets are in test_threads.py.
"""

import inspect
from types import ModuleType

import pytest

from appserve.net.poller import READ
from appserve.observe.scoreboard import BUSY_SINCE_NS
from appserve.workers import pool
from tests.interleaving import Deadlock
from tests.workers.pool_model import LISTENER, Fleet


@pytest.mark.parametrize("seed", range(60))
def test_in_whatever_order_each_connection_has_one_owner_and_nothing_is_lost(
    seed: int, monkeypatch: pytest.MonkeyPatch
):
    fleet = Fleet(seed, monkeypatch, threads=1 + seed // 3 % 3)
    fleet.schedule.run()
    fleet.check()


MUTANTS = {
    "a thread says that it has let go before it has": (
        "                    watch_once(connection.fd, READ if needed is NEXT_READ else WRITE)\n"
        "                    # From here on it may be somebody else's.\n"
        "                    out.pop()\n",
        "                    out.pop()\n"
        "                    watch_once(connection.fd, READ if needed is NEXT_READ else WRITE)\n",
    ),
    "a thread that has let go says that nobody has it": (
        "                    out.pop()\n",
        "                    out.clear()\n",
    ),
    "a number is free before its connection is forgotten": (
        "    def _hand_over(",
        "    def _close(self, connection: WsgiConnection) -> None:\n"
        "        connection.socket.close()\n        del self.connections[connection.fd]\n\n"
        "    def _hand_over(",
    ),
    "one that the loop hands over between two batches is still watched": (
        "            self._poller.remove(connection.fd)  # it is watched",
        "            # it is watched",
    ),
    "nobody rings": ("                self._poller.ring()\n", "                pass\n"),
    "the loop closes what threads have": ("        return bool(connection.out)\n", "        return False\n"),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_mistakes_that_can_be_made_here_are_found(name: str, monkeypatch: pytest.MonkeyPatch):
    source = inspect.getsource(pool)
    before, after = MUTANTS[name]
    assert source.count(before) == 1
    mutant = ModuleType(pool.__name__)
    mutant.__file__ = pool.__file__
    exec(compile(source.replace(before, after), str(pool.__file__), "exec"), mutant.__dict__)

    def fails(seed: int) -> bool:
        fleet = Fleet(seed, monkeypatch, mutant, threads=1 + seed // 3 % 3)
        try:
            fleet.schedule.run()
            fleet.check()
        except (AssertionError, Deadlock, OSError, KeyError):
            return True
        return False

    assert any(fails(seed) for seed in range(1000)), "the test above would not notice it"


class Shrinking(list[None]):
    """What a thread does between the loop's look and its next step."""

    def __len__(self) -> int:
        length = super().__len__()
        self.clear()
        return length


def test_a_thread_that_becomes_free_between_the_loops_look_and_its_going_to_sleep_is_seen(
    monkeypatch: pytest.MonkeyPatch,
):
    fleet = Fleet(0, monkeypatch, threads=1)
    fleet.pool._busy.append(None)
    fleet.pool._mind_door()
    assert LISTENER not in fleet.poller.watched

    fleet.pool._busy = Shrinking([None])
    fleet.pool._mind_door()
    assert LISTENER in fleet.poller.watched


def come_in(fleet: Fleet) -> None:
    """Somebody does, and the loop has turned."""
    fleet.kernel.backlog.append(fleet.clients[0])
    fleet.acceptor.on_readable(LISTENER)
    fleet.pool.turned(0.0)


def test_for_who_has_just_come_in_a_thread_is_kept_free(monkeypatch: pytest.MonkeyPatch):
    """Else the next one comes in with his request, and waits, although a sibling has a thread for him."""
    fleet = Fleet(0, monkeypatch, threads=1)
    come_in(fleet)
    assert LISTENER not in fleet.poller.watched

    fleet.pool.serve([(fleet.clients[0].fd, READ)])
    fleet.pool.turned(pool.PROMPT)
    assert LISTENER not in fleet.poller.watched, "now he has it"


def test_who_comes_in_and_is_silent_needs_none(monkeypatch: pytest.MonkeyPatch):
    fleet = Fleet(0, monkeypatch, threads=1)
    come_in(fleet)
    assert fleet.pool.turn_within <= pool.PROMPT, "the loop looks again"

    fleet.pool.turned(pool.PROMPT)
    assert LISTENER in fleet.poller.watched
    assert fleet.pool.turn_within > pool.PROMPT


def test_who_has_left_is_expected_no_more(monkeypatch: pytest.MonkeyPatch):
    fleet = Fleet(0, monkeypatch, threads=1)
    come_in(fleet)
    fleet.pool.drop(fleet.pool.connections[fleet.clients[0].fd])
    fleet.pool.turned(0.0)

    assert LISTENER in fleet.poller.watched


def test_two_threads_take_two_at_once(monkeypatch: pytest.MonkeyPatch):
    fleet = Fleet(0, monkeypatch, threads=2)
    come_in(fleet)

    assert LISTENER in fleet.poller.watched


def test_those_who_keep_every_thread_busy_let_somebody_in_after_each_round(monkeypatch: pytest.MonkeyPatch):
    fleet = Fleet(0, monkeypatch, threads=2)
    fleet.pool.desks[0].calls = 100
    fleet.pool._busy += [None, None]
    for _ in range(3):
        fleet.pool.turned(0.0)
        assert LISTENER not in fleet.poller.watched, "nothing was served since"

        fleet.pool.desks[0].calls += 1
        fleet.pool.turned(0.0)
        assert LISTENER not in fleet.poller.watched, "one thread has more to do than the others"

        fleet.pool.desks[1].calls += 1
        fleet.pool.turned(0.0)
        assert LISTENER in fleet.poller.watched


def test_a_round_begins_when_the_last_thread_is_taken(monkeypatch: pytest.MonkeyPatch):
    fleet = Fleet(0, monkeypatch, threads=1)
    for _ in range(3):
        fleet.pool._busy.append(None)
        fleet.pool.turned(0.0)
        assert LISTENER not in fleet.poller.watched

        fleet.pool.desks[0].calls += 1
        fleet.pool._busy.pop()
        fleet.pool.turned(0.0)
        assert LISTENER in fleet.poller.watched


def test_a_worker_that_ends_shows_no_request_that_was_answered(monkeypatch: pytest.MonkeyPatch):
    """Else the master takes it for one that died with the worker, and records it again, as a 500."""
    fleet = Fleet(0, monkeypatch, threads=1)
    fleet.pool.turned(0.0)
    fleet.pool._busy.append(None)  # the thread has closed the connection, and has not come back yet
    fleet.pool.desks[0].begin(b"GET /answered", 1)
    assert fleet.row.words[BUSY_SINCE_NS] == 1
    fleet.pool.desks[0].end(2)

    fleet.pool.turned(pool.BREATH / 2)
    fleet.pool.look(3)

    assert fleet.row.words[BUSY_SINCE_NS] == 0
