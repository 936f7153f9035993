"""What all WSGI connections of one process share: the application, the rules, and what WSGI adds to them."""

import os
from dataclasses import dataclass, field
from typing import Any

from appserve.connection.service import Service
from appserve.connection.waiting import DeadlineQueue
from appserve.wsgi.environ import CgiVariables, Environ, Header
from appserve.wsgi.spool import Quota


class KeepAlive:
    """Whether responses end their connections: written by the worker's loop, read for each response."""

    __slots__ = ("closes",)

    def __init__(self, closes: bool = False) -> None:
        self.closes = closes


@dataclass(frozen=True, slots=True)
class WsgiService:
    """What all connections of one process share.

    shared    what an asgi worker has as well
    waiting   the connections that wait for their clients
    pid       of the process that serves; a process that the application forks has another one
    """

    shared: Service[CgiVariables, Header]
    template: Environ
    quota: Quota
    keep_alive: KeepAlive
    waiting: DeadlineQueue[Any] = field(default_factory=DeadlineQueue)
    pid: int = field(default_factory=os.getpid)
