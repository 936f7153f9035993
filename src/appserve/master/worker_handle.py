"""What the master holds for each worker, from its fork until it is reaped."""

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial

from appserve.config.settings import Settings
from appserve.master.events import MOST_PROCESSES
from appserve.master.generations import Generation
from appserve.master.logs import Logs
from appserve.master.process import Child, fork
from appserve.master.stalls import Look, StallWatch, boot_looks
from appserve.master.worker_table import Worker
from appserve.net.listeners import Listener
from appserve.observe.scoreboard import Scoreboard, ScoreboardRow, size_for
from appserve.system import blackbox
from appserve.system.memory import make_shared
from appserve.workers.base import run_worker
from appserve.workers.channel import Channel, Failed, make_channel_pair
from appserve.workers.context import BoundAddress, Descriptors, WorkerSpec

#: Rows of the scoreboard: one for each process that there can be, and some for those that die hard.
ROWS = MOST_PROCESSES + 16


@dataclass(eq=False, slots=True)
class WorkerHandle:
    """What the master holds for one worker; the roster's `worker` has its state. `born` is monotonic.

    looks         when the master has to look at it if it is still booting, and what for
    worker_class  empty until it was ready
    failed        what it reported before it exited
    """

    worker: Worker
    settings: Settings
    child: Child
    channel: Channel
    row: ScoreboardRow
    box: int
    born: float
    row_number: int
    looks: list[Look]
    worker_class: str = ""
    failed: Failed | None = None

    @property
    def pid(self) -> int:
        return self.child.pid

    def stalled_for(self, watch: StallWatch, now: int) -> int:
        """How long it has made no progress; nanoseconds. A sync worker's loop stands still during a call."""
        return watch.stalled_for(self.row, now, by_call=self.worker_class == "sync")

    def __str__(self) -> str:
        return f"worker {self.worker.slot} (pid {self.pid})"


class WorkerHandles:
    """All of them, and what workers are started with."""

    def __init__(
        self,
        master_pid: int,
        listeners: tuple[Listener, ...],
        logs: Logs,
    ) -> None:
        self._master_pid = master_pid
        self._listeners = listeners
        self._logs = logs
        self._scoreboard_fd, memory = make_shared(size_for(ROWS), "appserve-scoreboard")
        self._board = Scoreboard(memory, ROWS)
        self._free_rows = list(range(ROWS - 1, -1, -1))
        self._handles: dict[int, WorkerHandle] = {}

    def __iter__(self) -> Iterator[WorkerHandle]:
        return iter(list(self._handles.values()))

    def get(self, pid: int) -> WorkerHandle | None:
        return self._handles.get(pid)

    def spawn(self, worker: Worker, generation: Generation) -> WorkerHandle:
        """Fork a worker. Raises OSError when the system refuses a process, a socket or memory; nothing is
        left then."""
        born, settings = time.monotonic(), generation.settings
        with ExitStack() as undo:
            box = blackbox.make_box(f"appserve-box-{worker.slot}")
            undo.callback(os.close, box)
            ours, theirs = make_channel_pair()
            undo.callback(ours.close)
            number = self._free_rows.pop()
            undo.callback(self._free_rows.append, number)
            row = self._board.row(number)
            undo.callback(row.clear)
            row.claim(worker.slot, worker.generation, time.monotonic_ns())
            with closing(theirs):
                spec = self._spec(worker.slot, settings, number, theirs, box)
                child = fork(partial(run_worker, spec, generation.tls), spec.descriptors.numbers())
            undo.pop_all()
        row.set_pid(child.pid)
        looks = boot_looks(born, settings.timeout)
        handle = WorkerHandle(worker, settings, child, ours, row, box, born, number, looks)
        self._handles[child.pid] = handle
        return handle

    def _spec(self, slot: int, settings: Settings, row: int, channel: Channel, box: int) -> WorkerSpec:
        access = self._logs.access(settings.access_logfile)
        return WorkerSpec(
            slot=slot,
            master_pid=self._master_pid,
            settings=settings,
            row=row,
            rows=ROWS,
            bound=tuple(BoundAddress(one.address, one.unix_path) for one in self._listeners),
            descriptors=Descriptors(
                listeners=tuple(listener.fileno() for listener in self._listeners),
                channel=channel.fileno(),
                scoreboard=self._scoreboard_fd,
                blackbox=box,
                error_log=self._logs.log.given,
                access_log=-1 if access is None else access.given,
            ),
        )

    def release(self, handle: WorkerHandle) -> None:
        """Give back what was held for a worker that has been reaped; its counters stay in the totals."""
        del self._handles[handle.pid]
        self._board.fold(handle.row)
        self._free_rows.append(handle.row_number)
        handle.channel.close()
        handle.child.close()
        os.close(handle.box)
