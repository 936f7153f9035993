"""What the master holds for a worker, and that nothing is left when the system refuses one."""

import os

import pytest

from appserve.config.settings import Settings
from appserve.master import worker_handle
from appserve.master.events import RosterTimeouts
from appserve.master.generations import Generation
from appserve.master.logs import open_logs
from appserve.master.worker_handle import WorkerHandles
from appserve.master.worker_table import Worker
from appserve.observe.scoreboard import WorkerState


def refuse(*_: object) -> None:
    raise OSError(11, "Resource temporarily unavailable")


@pytest.mark.parametrize("refused", ["make_channel_pair", "fork"])
def test_nothing_is_left_of_a_worker_that_the_system_refused(
    monkeypatch: pytest.MonkeyPatch, refused: str
) -> None:
    settings = Settings(application="app:app")
    handles = WorkerHandles(os.getpid(), (), open_logs(settings))
    before, rows = os.listdir("/dev/fd"), list(handles._free_rows)
    monkeypatch.setattr(worker_handle, refused, refuse)

    with pytest.raises(OSError, match="unavailable"):
        handles.spawn(Worker(1, 1, 1, 0.0, RosterTimeouts()), Generation(settings))

    assert os.listdir("/dev/fd") == before
    assert handles._free_rows == rows
    assert {row.state for row in handles._board} == {WorkerState.EMPTY}
    assert list(handles) == []
    os.close(handles._scoreboard_fd)
