"""The master's own part of a stop: what it does, and in which order."""

import pytest

from appserve.master.events import Decision, Order, Plan
from appserve.master.master import Master
from appserve.master.roster import Roster
from appserve.net.listeners import bind_all
from appserve.workers.channel import StopOrder


def test_at_a_stop_the_master_closes_its_listeners_before_the_workers_have_the_order(
    monkeypatch: pytest.MonkeyPatch,
):
    """The last copy that is closed ends a socket, and resets what came in after its queue was found empty."""
    [listener] = bind_all(["127.0.0.1:0"])
    open_at_order: list[bool] = []

    def carry_out(master: Master, decision: Decision) -> None:
        open_at_order.append(listener.socket.fileno() >= 0)

    monkeypatch.setattr(Master, "_do", carry_out)
    master = Master.__new__(Master)
    master._roster = Roster(Plan(1, 25.0), now=0.0)
    master._roster.stop(0.0, graceful=True)
    master._listeners = (listener,)
    master._carry_out([Order(1, StopOrder(1.0, 25.0)), Order(2, StopOrder(1.0, 25.0))])

    assert open_at_order == [False, False]
