"""What happens to the master: values of one kind, whether a signal, a message or a death."""

import signal
from dataclasses import dataclass

from appserve.master.events import Exit
from appserve.master.worker_handle import WorkerHandle
from appserve.workers.channel import ChannelMessage


@dataclass(frozen=True, slots=True)
class Asked:
    """Somebody sent a signal."""

    signal: signal.Signals


@dataclass(frozen=True, slots=True)
class Said:
    """A worker sent a message."""

    handle: WorkerHandle
    message: ChannelMessage


@dataclass(frozen=True, slots=True)
class Died:
    """A child has ended and was reaped; it may be none of ours."""

    pid: int
    how: Exit


Fact = Asked | Said | Died
