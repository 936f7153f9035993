"""The members of the family: what the master holds for each worker, from its fork to its burial."""

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial

from appserve.config.settings import Settings
from appserve.master.events import MOST_PROCESSES, Spawn
from appserve.master.generations import Generation
from appserve.master.logs import Logs
from appserve.master.process import Child, fork
from appserve.master.stalls import BootWatch, StallWatch
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
    """One worker, as its master sees it. `born` is monotonic."""

    slot: int
    generation: int
    settings: Settings
    child: Child
    channel: Channel
    row: ScoreboardRow
    box: int
    born: float
    ready: bool = False
    worker_class: str = ""  # what it said when it was ready
    leaving: bool = False  # was told to
    limit: str = ""  # what limits its time to leave, for the log
    suspect: bool = False  # told to write its stacks, about to be killed
    killed: bool = False  # by us, which was told in the log
    stalled: float = 0.0  # seconds without progress when it became a suspect
    failed: Failed | None = None  # what it said before it exited
    boot: BootWatch = field(init=False)

    def __post_init__(self) -> None:
        self.boot = BootWatch(self.born, self.settings.timeout)

    @property
    def pid(self) -> int:
        return self.child.pid

    def stalled_for(self, watch: StallWatch, now: int) -> int:
        """How long it has made no progress; nanoseconds. A sync worker's loop stands still during a call."""
        return watch.stalled_for(self.row, now, by_call=self.worker_class == "sync")

    def __str__(self) -> str:
        return f"worker {self.slot} (pid {self.pid})"


class WorkerHandles:
    """All members, and what they are born with."""

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
        self._row_numbers: dict[int, int] = {}
        self._handles: dict[int, WorkerHandle] = {}

    def __iter__(self) -> Iterator[WorkerHandle]:
        return iter(list(self._handles.values()))

    def get(self, pid: int) -> WorkerHandle | None:
        return self._handles.get(pid)

    def spawn(self, wanted: Spawn, generation: Generation) -> WorkerHandle:
        """Fork a worker. Raises OSError when the system refuses a process, a socket or memory; nothing is
        left then."""
        born, settings = time.monotonic(), generation.settings
        box = blackbox.make_box(f"appserve-box-{wanted.slot}")
        try:
            ours, theirs = make_channel_pair()
        except OSError:
            os.close(box)
            raise
        number = self._free_rows.pop()
        row = self._board.row(number)
        row.claim(wanted.slot, wanted.generation, time.monotonic_ns())
        access = self._logs.access(settings.access_logfile)
        spec = WorkerSpec(
            slot=wanted.slot,
            generation=wanted.generation,
            master_pid=self._master_pid,
            settings=settings,
            born=born,
            row=number,
            rows=ROWS,
            bound=tuple(BoundAddress(one.address, one.unix_path) for one in self._listeners),
            descriptors=Descriptors(
                listeners=tuple(listener.fileno() for listener in self._listeners),
                channel=theirs.fileno(),
                scoreboard=self._scoreboard_fd,
                blackbox=box,
                error_log=self._logs.log.given,
                access_log=-1 if access is None else access.given,
            ),
        )
        try:
            child = fork(partial(run_worker, spec, generation.tls), spec.descriptors.numbers())
        except OSError:
            row.clear()
            self._free_rows.append(number)
            ours.close()
            os.close(box)
            raise
        finally:
            theirs.close()
        row.set_pid(child.pid)
        handle = WorkerHandle(wanted.slot, wanted.generation, settings, child, ours, row, box, born)
        self._handles[child.pid] = handle
        self._row_numbers[child.pid] = number
        return handle

    def release(self, handle: WorkerHandle) -> None:
        """Give back what was held for a worker that has been reaped; its counters stay in the totals."""
        del self._handles[handle.pid]
        self._board.fold(handle.row)
        self._free_rows.append(self._row_numbers.pop(handle.pid))
        handle.channel.close()
        handle.child.close()
        os.close(handle.box)
