"""What happens to the master: values of one kind, whether a signal, a message or a death."""

import signal

from appserve.master.events import Exit
from appserve.master.worker_handle import WorkerHandle
from appserve.values import Value
from appserve.workers.channel import ChannelMessage


class Asked(Value):
    """Somebody sent a signal."""

    signal: signal.Signals


class Said(Value):
    """A worker sent a message."""

    handle: WorkerHandle
    message: ChannelMessage


class Died(Value):
    """A child has ended and was reaped; it may be none of ours."""

    pid: int
    how: Exit


Fact = Asked | Said | Died
