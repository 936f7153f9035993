"""What the master gives a worker at its birth, and the worker hands on to its loop."""

from dataclasses import dataclass

from appserve.config.settings import Settings
from appserve.net.listeners import Listener
from appserve.observe.access import AccessLog
from appserve.observe.log import Log
from appserve.observe.scoreboard import Row
from appserve.workers.channel import Channel


@dataclass(frozen=True, slots=True)
class Orders:
    """Everything one worker is born with. `slot` is the number it goes by; `born` is monotonic."""

    slot: int
    generation: int
    master_pid: int
    settings: Settings
    listeners: tuple[Listener, ...]
    channel: Channel
    row: Row
    log: Log
    access: AccessLog | None
    blackbox_fd: int
    born: float
