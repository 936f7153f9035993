"""What the log says when a worker ends: one record each, with what it was doing.

The exit of a worker that had an order is one line. Any other has the request line, its age and the stacks
that the black box kept. A kill by the master is logged when it is sent, with the reason; for any other
SIGKILL the log names the usual sender, which is the kernel when memory is short.
"""

import signal

from appserve.errors import ExitCode
from appserve.master.events import Exit
from appserve.master.worker_handle import WorkerHandle
from appserve.master.worker_table import Life
from appserve.observe.log import Level, Log
from appserve.observe.scoreboard import BUSY_SINCE_NS, REQUESTS
from appserve.system import blackbox
from appserve.values import Value

#: Where a worker's own frames begin, as faulthandler writes it.
_FIRST_FRAME = " in run_worker"

_UNKNOWN_KILL = (
    "; appserve did not send this signal: the usual sender is the kernel's out-of-memory killer "
    "(see dmesg and the memory limit of the container)"
)


class Record(Value):
    """A line for the log and what stands below it (a traceback, stacks, or nothing)."""

    level: Level
    text: str
    block: str = ""

    def write(self, log: Log) -> None:
        log.block(self.level, self.text, self.block)


def killing(handle: WorkerHandle, why: str, now: float) -> Record:
    """Of a worker that is about to be killed by us; `now` is monotonic."""
    text = f"{handle} killed: {why}, {_doing(handle, now)}, {_age(handle, now)}"
    return Record(Level.ERROR, text, _stacks(handle))


def slow_boot(handle: WorkerHandle, now: float) -> Record:
    """Of a worker that should be ready by now, with where it is."""
    text = (
        f"{handle} is not ready after {now - handle.born:.1f} s: "
        f"it imports {handle.settings.application} or runs its startup"
    )
    return Record(Level.WARNING, text, _stacks(handle))


def death(handle: WorkerHandle, how: Exit, now: float) -> Record:
    """Of a worker that has ended."""
    worker = handle.worker
    if handle.failed is not None and not worker.was_ready:
        headline = f"{handle} failed to start: {handle.failed.headline} ({how})"
        return Record(Level.ERROR, headline, handle.failed.text)
    if handle.failed is not None:
        headline = f"{handle} failed: {handle.failed.headline} ({how}), {_age(handle, now)}"
        return Record(Level.CRITICAL, headline, handle.failed.text)
    if worker.state in (Life.KILLED, Life.GONE):
        return Record(Level.DEBUG, f"{handle} ended ({how})")
    if worker.ordered and how.signal != signal.SIGKILL:
        return Record(Level.INFO, f"{handle} stopped ({how}), {_age(handle, now)}, {_served(handle)}")
    if how.code == ExitCode.CLEAN and worker.was_ready:
        text = f"{handle} stopped without an order, {_age(handle, now)}, {_served(handle)}"
        return Record(Level.INFO, text)
    what = f"exited with code {how.code}" if how.signal is None else f"died of {how}"
    before = "" if worker.was_ready else " before it was ready"
    text = f"{handle} {what}{before}, {_doing(handle, now)}, {_age(handle, now)}"
    if how.signal == signal.SIGKILL:
        text += _UNKNOWN_KILL
    # faulthandler writes for SIGSEGV and its like only; nothing can write for an exit or for SIGKILL.
    return Record(Level.ERROR, text, "" if how.signal is None else _stacks(handle))


def has_served(handle: WorkerHandle) -> bool:
    """Whether a request came to this worker. Its count of them lags behind by a turn; what it shows does
    not."""
    return bool(handle.row.words[REQUESTS] or handle.row.current_request())


def lost_request(handle: WorkerHandle, now: float) -> tuple[str, float] | None:
    """The request that a sync worker took with it, without its query, and its age in seconds."""
    if not handle.row.words[BUSY_SINCE_NS]:
        return None
    return handle.row.current_request().decode("latin-1"), handle.row.busy_seconds(now)


def _doing(handle: WorkerHandle, now: float) -> str:
    request = handle.row.current_request().decode("utf-8", "backslashreplace")
    if not request:
        return "no request yet"
    if not handle.row.words[BUSY_SINCE_NS]:
        return f"last request {request}"
    # An event loop has many requests at once, and shows the one that began last.
    return f"serving {request} for {handle.row.busy_seconds(now):.1f} s"


def _stacks(handle: WorkerHandle) -> str:
    """What the black box holds, without the frames below the worker's own: they are the master's."""
    kept: list[str] = []
    below = False
    for line in blackbox.read(handle.box).split("\n"):
        if not line.startswith("  "):
            below = False
        if not below:
            kept.append(line)
        below = below or line.endswith(_FIRST_FRAME)
    return "\n".join(kept)


def _age(handle: WorkerHandle, now: float) -> str:
    return f"generation {handle.worker.generation}, {now - handle.born:.1f} s old"


def _served(handle: WorkerHandle) -> str:
    requests = handle.row.totals().requests
    return f"{requests} request{'' if requests == 1 else 's'} served"
