"""The pool of a threads worker: in every order of events each connection has one owner, and nothing is lost.

Real processes and sockets are in test_threads.py.
"""

import pytest

from appserve.observe.scoreboard import BUSY_SINCE_NS
from appserve.workers import pool
from appserve.workers.pool import Pool
from appserve.wsgi.connection import Next, WsgiConnection
from tests.interleaving import Deadlock
from tests.workers.pool_model import LISTENER, Client, FakeConnection, FakePoller, Fleet

pytestmark = pytest.mark.pure  # the classes of a connection, a poller and an acceptor are replaced


@pytest.mark.parametrize("seed", range(60))
def test_in_whatever_order_each_connection_has_one_owner_and_nothing_is_lost(
    seed: int, monkeypatch: pytest.MonkeyPatch
):
    fleet = Fleet(seed, monkeypatch, threads=1 + seed // 3 % 3)
    fleet.schedule.run()
    fleet.check()


class LetsGoTooEarly(Pool):
    """A thread says that it has let go before it has."""

    def _give_back(self, connection: WsgiConnection, events: int) -> None:
        connection.out.pop()
        self._watch(connection, events)


class LetsGoForOthers(Pool):
    """A thread that has let go says that no thread has it."""

    def _give_back(self, connection: WsgiConnection, events: int) -> None:
        out = connection.out
        super()._give_back(connection, events)
        out.clear()


class FreesNumberTooEarly(Pool):
    """A number is free before its connection is forgotten."""

    def _close(self, connection: WsgiConnection) -> None:
        connection.socket.close()
        del self.connections[connection.fd]


class WatchesOn(Pool):
    """A connection that the loop hands over between two batches is still watched."""

    def settle(self, connection: WsgiConnection, needed: Next) -> None:
        if needed is Next.AGAIN:
            self._hand_over(connection, False, 0)
        else:
            super().settle(connection, needed)


class ClosesWhatThreadsHave(Pool):
    """The loop closes what threads have."""

    def is_out(self, connection: WsgiConnection) -> bool:
        return False


class NeverRings(FakePoller):
    """No thread wakes the loop."""

    def ring(self) -> None:
        if not self.schedule.is_inside(Pool._work):
            super().ring()


MUTANTS: list[tuple[type[Pool], type[FakePoller], int]] = [
    (LetsGoTooEarly, FakePoller, 3),
    (LetsGoForOthers, FakePoller, 43),
    (FreesNumberTooEarly, FakePoller, 85),
    (WatchesOn, FakePoller, 1196),
    (ClosesWhatThreadsHave, FakePoller, 0),
    (Pool, NeverRings, 0),
]
"""Each with the seed that found it last: that is tried first, then all."""


@pytest.mark.parametrize(("make_pool", "make_poller", "known"), MUTANTS)
def test_mistakes_that_can_be_made_here_are_found(
    make_pool: type[Pool], make_poller: type[FakePoller], known: int, monkeypatch: pytest.MonkeyPatch
):
    def fails(seed: int) -> bool:
        threads = 1 + seed // 3 % 3
        fleet = Fleet(seed, monkeypatch, threads, make_pool=make_pool, make_poller=make_poller)
        try:
            fleet.schedule.run()
            fleet.check()
        except (AssertionError, Deadlock, OSError, KeyError):
            return True
        return False

    assert any(fails(seed) for seed in (known, *range(3000))), "the test above would not notice it"


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
    fleet.turned()
    assert not fleet.accepts

    fleet.pool._busy = Shrinking([None])
    fleet.turned()
    assert fleet.accepts


def test_a_worker_whose_threads_are_all_busy_does_not_accept(monkeypatch: pytest.MonkeyPatch):
    fleet = Fleet(0, monkeypatch, threads=2)
    for accepts in (True, True, False):
        fleet.turned()
        assert fleet.accepts is accepts
        if accepts:
            fleet.kernel.backlog.append(Client(fleet.schedule, fleet.kernel, 1))
            fleet.acceptor.on_readable(LISTENER)

    fleet.pool._busy.pop()
    fleet.turned()
    assert fleet.accepts


def test_where_calls_end_all_the_time_a_thread_is_about_to_be_free(monkeypatch: pytest.MonkeyPatch):
    fleet = Fleet(0, monkeypatch, threads=2)
    fleet.pool._busy += [None] * 64
    fleet.turned()
    assert not fleet.accepts

    fleet.pool.threads[1].ended = int(fleet.now * 1e9)
    fleet.turned(later=1.0)
    assert fleet.accepts, "a call has ended since the last turn"
    assert fleet.pool.turn_within <= pool.LULL, "the loop looks again"
    fleet.turned(later=2 * pool.LULL)
    assert not fleet.accepts

    fleet.pool.threads[1].ended = int(fleet.now * 1e9)
    fleet.pool._new |= dict.fromkeys(map(FakeConnection, fleet.clients[:2]))  # type: ignore[arg-type]
    fleet.turned(later=1.0)
    assert not fleet.accepts, "as many as there are threads wait for their first turn"


def test_a_worker_that_ends_shows_no_request_that_was_answered(monkeypatch: pytest.MonkeyPatch):
    """Else the master takes it for one that died with the worker, and records it again, as a 500."""
    fleet = Fleet(0, monkeypatch, threads=1)
    fleet.turned()
    fleet.pool._busy.append(None)  # the thread has closed the connection, and has not come back yet
    fleet.pool.threads[0].begin(b"GET /answered", 1)
    assert fleet.row.words[BUSY_SINCE_NS] == 1
    fleet.pool.threads[0].end(2)

    fleet.turned(later=pool.BREATH / 2)
    fleet.pool.look(3)

    assert fleet.row.words[BUSY_SINCE_NS] == 0
