"""What the roster is given and what it decides: values, so that both can be written down in a test.

The master reads facts from the kernel and from its workers; each becomes a call of Roster, which answers with
decisions. The master carries them out in the order given. A new decision also belongs into master.py (`_do`)
and tests/master/simulated.py.
"""

from signal import Signals

from appserve.errors import ExitCode
from appserve.observe.log import Level
from appserve.values import Value
from appserve.workers.channel import QuitOrder, RetireOrder, StopOrder

#: The most processes at a time, whatever the settings say: a row of the scoreboard for each.
MOST_PROCESSES = 1024 + 16


class Plan(Value):
    """What one generation asks for: how many workers, seconds for requests in flight when one has to leave,
    and how many more than `workers` may boot or serve while workers are replaced."""

    workers: int
    graceful: float
    surge: int = 1


class RosterTimeouts(Value):
    """The roster's own limits, seconds; tests shorten them."""

    give_up: float = 120.0  # an outage this long ends the server
    outage_reminder: float = 60.0
    min_uptime: float = 5.0  # an exit sooner after READY, with nothing served and not drained, is a failure
    boot_attempts: int = 3  # tries of a slot at the first boot that end by a signal
    canary: float = 30.0  # a canary that boots for longer is given up for the next reload
    linger: float = 1.0
    quick: float = 2.0  # for requests in flight at a quick stop
    quick_margin: float = 1.0  # and for the shutdown of the application after it
    grace_margin: float = 0.5
    dump: float = 0.3  # for a suspect to write its stacks
    death: float = 5.0  # for SIGKILL to end a process
    budget_spare: int = 4
    budget_period: float = 10.0


class Exit(Value):
    """How a process ended: an exit code, or the signal that ended it.

    `served`: whether it answered anything. `orderly`: whether it drained first, after a signal from
    outside.
    """

    code: int | None
    signal: int | None = None
    served: bool = False
    orderly: bool = False

    @property
    def server_code(self) -> ExitCode:
        """What the server exits with because of this: the same code, if it is one of ours and no success."""
        try:
            return ExitCode(self.code or ExitCode.APP_START)
        except ValueError:
            return ExitCode.APP_START

    def __str__(self) -> str:
        if self.signal is None:
            return f"exit code {self.code}"
        try:
            return Signals(self.signal).name
        except ValueError:
            return f"signal {self.signal}"


class Spawn(Value):
    """Fork a worker. A request: `spawned(ticket, pid)` or `fork_failed(ticket)` comes later, once."""

    ticket: int
    slot: int
    generation: int


class Order(Value):
    """Send a worker an order to leave."""

    pid: int
    order: RetireOrder | StopOrder | QuitOrder


class Interrupt(Value):
    """End a worker that is not ready yet: it reads no orders while it imports the application."""

    pid: int


class Dump(Value):
    """Have a worker leave its stacks in its black box; a Kill follows shortly."""

    pid: int


class Kill(Value):
    """Kill a worker; `why` is for the log."""

    pid: int
    why: str


class Reread(Value):
    """Read the settings again, then call `settings_read`."""


class Commit(Value):
    """This generation proved itself: its settings are the server's from now on."""

    generation: int


class Abandon(Value):
    """This generation could not boot: forget its settings."""

    generation: int


class Note(Value):
    """A line for the log."""

    level: Level
    text: str


class Halt(Value):
    """All processes are gone: exit with `code`. `reason` is empty after a stop that was requested."""

    code: int
    reason: str


Decision = Spawn | Order | Interrupt | Dump | Kill | Reread | Commit | Abandon | Note | Halt


def workers_text(number: int) -> str:
    """ "1 worker", "2 workers": for notes."""
    return f"{number} worker{'' if number == 1 else 's'}"
