"""Orders for a worker that a test plays itself."""

import os
from pathlib import Path

from appserve.config.derive import make_tls
from appserve.config.settings import Settings
from appserve.net.listeners import Listener
from appserve.observe.log import Level, Log
from appserve.observe.scoreboard import Scoreboard, size_for
from appserve.system import blackbox
from appserve.workers.channel import Channel, make_channel_pair
from appserve.workers.context import WorkerContext


def make_context(
    folder: Path,
    settings: Settings | None = None,
    listeners: tuple[Listener, ...] = (),
    master_pid: int | None = None,
) -> tuple[WorkerContext, Channel]:
    """A context whose master is by default this process's parent; and the master's end of the channel.

    The log is the file `log` in the folder.
    """
    ours, theirs = make_channel_pair()
    fd = os.open(folder / "log", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    board = Scoreboard(bytearray(size_for(1)), 1)
    context = WorkerContext(
        slot=3,
        master_pid=os.getppid() if master_pid is None else master_pid,
        settings=settings or Settings(application="app:app"),
        listeners=listeners,
        channel=theirs,
        board=board,
        row=board.row(0),
        log=Log(fd, Level.DEBUG),
        access=None,
        blackbox_fd=blackbox.make_box("test"),
        tls=make_tls(settings or Settings(), print),
    )
    return context, ours
