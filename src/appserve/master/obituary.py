"""What the log says when a worker ends: one record each, with what it was doing.

A death that was asked for is a line. One that was not has the request line, its age and the stacks that the
black box kept. Who was killed by the master, and why, is said at the kill; of any other SIGKILL the usual
sender is named, which is the kernel when memory is short.
"""

import signal
from dataclasses import dataclass

from appserve.errors import ExitCode
from appserve.master.decisions import Exit, Reason
from appserve.master.family import Member
from appserve.observe.log import Level, Log
from appserve.observe.scoreboard import BUSY_SINCE_NS
from appserve.system import blackbox

#: Where a worker's own frames begin, as faulthandler writes it.
_FIRST_FRAME = " in run_worker"


@dataclass(frozen=True, slots=True)
class Record:
    """A line for the log and what stands below it (a traceback, stacks, or nothing)."""

    level: Level
    text: str
    block: str = ""

    def write(self, log: Log) -> None:
        if self.block:
            log.block(self.level, self.text, self.block)
        else:
            log.record(self.level, self.text)


def killing(member: Member, reason: Reason, now: float) -> Record:
    """Of a worker that is about to be killed by us; `now` is monotonic."""
    match reason:
        case Reason.STALLED:
            # How long the request has been running stands behind it: that is not what --timeout limits.
            why = f"no progress for {member.stalled:.1f} s (--timeout {member.settings.timeout:g})"
        case Reason.GRACE_OVER:
            why = f"still busy when its time to leave was over ({member.limit})"
        case Reason.FORCED:
            why = "stopped by force"
    text = f"{member} killed: {why}, {_doing(member, now)}, {_age(member, now)}"
    return Record(Level.ERROR, text, _stacks(member))


def slow_boot(member: Member, now: float) -> Record:
    """Of a worker that should be ready by now, with where it is."""
    text = (
        f"{member} is not ready after {now - member.born:.1f} s: "
        f"it imports {member.settings.application} or runs its startup"
    )
    return Record(Level.WARNING, text, _stacks(member))


def death(member: Member, how: Exit, now: float) -> Record:
    """Of a worker that has ended."""
    if member.failed is not None and not member.ready:
        headline = f"{member} failed to start: {member.failed.headline} ({how})"
        return Record(Level.ERROR, headline, member.failed.text)
    if member.failed is not None:
        headline = f"{member} failed: {member.failed.headline} ({how}), {_age(member, now)}"
        return Record(Level.CRITICAL, headline, member.failed.text)
    if member.killed:
        return Record(Level.DEBUG, f"{member} is gone ({how})")
    if member.leaving and how.signal != signal.SIGKILL:
        return Record(Level.INFO, f"{member} left ({how}), {_age(member, now)}, {_served(member)}")
    if how.signal is not None:
        return _death_by_signal(member, how, now)
    if how.code == ExitCode.CLEAN and member.ready:
        return Record(Level.INFO, f"{member} left of its own accord, {_age(member, now)}, {_served(member)}")
    before = "" if member.ready else " before it was ready"
    text = f"{member} exited with code {how.code}{before}, {_doing(member, now)}, {_age(member, now)}"
    return Record(Level.ERROR, text)


def _death_by_signal(member: Member, how: Exit, now: float) -> Record:
    before = "" if member.ready else " before it was ready"
    text = f"{member} died of {how}{before}, {_doing(member, now)}, {_age(member, now)}"
    if how.signal == signal.SIGKILL:
        text += (
            "; appserve did not send this signal: the kernel's out-of-memory killer does (see dmesg and the "
            "memory limit of the container), or an operator"
        )
    # faulthandler writes for SIGSEGV and its like only; nothing can write for SIGKILL.
    return Record(Level.ERROR, text, _stacks(member))


def has_served(member: Member) -> bool:
    """Whether a request came to this worker. Its count of them lags behind by a turn; what it shows does
    not."""
    return member.row.served_anything or bool(member.row.current_request())


def lost_request(member: Member, now: float) -> tuple[str, float] | None:
    """The request that a sync worker took with it, without its query, and its age in seconds."""
    if not member.row.words[BUSY_SINCE_NS]:
        return None
    return member.row.current_request().decode("latin-1"), member.row.busy_seconds(now)


def _doing(member: Member, now: float) -> str:
    request = member.row.current_request().decode("utf-8", "backslashreplace")
    if not request:
        return "no request yet"
    if not member.row.words[BUSY_SINCE_NS]:
        return f"last request {request}"
    # An event loop has many requests at once, and shows the one that began last.
    return f"serving {request} for {member.row.busy_seconds(now):.1f} s"


def _stacks(member: Member) -> str:
    """What the black box holds, without the frames below the worker's own: they are the master's."""
    kept: list[str] = []
    below = False
    for line in blackbox.read(member.box).split("\n"):
        if not line.startswith("  "):
            below = False
        if not below:
            kept.append(line)
        below = below or line.endswith(_FIRST_FRAME)
    return "\n".join(kept)


def _age(member: Member, now: float) -> str:
    return f"generation {member.generation}, {now - member.born:.1f} s old"


def _served(member: Member) -> str:
    requests = member.row.totals().requests
    return f"{requests} request{'' if requests == 1 else 's'} served"
