"""What the master gives a worker at its birth, and the worker hands on to its loop."""

from dataclasses import dataclass

from appserve.config.settings import Settings
from appserve.http.deadlines import Patience
from appserve.http.limits import Limits
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


def make_limits(settings: Settings) -> Limits:
    """The bounds of a request."""
    return Limits(
        request_line=settings.limit_request_line,
        fields=settings.limit_request_fields,
        field_size=settings.limit_request_field_size,
        body=settings.limit_request_body,
    )


def make_patience(settings: Settings) -> Patience:
    """How long clients are waited for. Without keep-alive, the first byte is still due at some time."""
    return Patience(
        idle=settings.keep_alive or settings.head_timeout,
        head=settings.head_timeout,
        body=settings.body_timeout,
        write=settings.write_timeout,
    )
