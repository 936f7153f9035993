"""What all WSGI connections of one process share: the application, the rules, and what is counted."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from appserve.connection.preamble import PreambleRules
from appserve.connection.waiting import DeadlineQueue
from appserve.http.date import DateFields
from appserve.http.fields import Fields
from appserve.http.forwarded import Forwarding
from appserve.http.messages import Limits
from appserve.http.timeouts import Timeouts
from appserve.observe.access import AccessLog
from appserve.observe.log import Log
from appserve.observe.refusals import Refusals
from appserve.observe.tally import Counts
from appserve.wsgi.environ import CgiVariable, Environ, ForwardedVariables, Header
from appserve.wsgi.spool import Quota


class KeepAlive:
    """Whether responses end their connections: written by the worker's loop, read for each response."""

    __slots__ = ("closes",)

    def __init__(self, closes: bool = False) -> None:
        self.closes = closes


@dataclass(frozen=True, slots=True)
class WsgiService:
    """What all connections of one process share."""

    application: Callable[..., Any]
    template: Environ
    limits: Limits
    fields: Fields[CgiVariable, Header]
    date_fields: DateFields
    timeouts: Timeouts
    quota: Quota
    keep_alive: KeepAlive
    log: Log
    access: AccessLog | None
    tally: Counts
    refusals: Refusals
    forwarding: Forwarding | None = None
    forwarded_variables: ForwardedVariables = ()
    preamble: PreambleRules | None = None
    waiting: DeadlineQueue[Any] = field(default_factory=DeadlineQueue)
    pid: int = field(default_factory=os.getpid)

    def counted_by(self, tally: Counts) -> "WsgiService":
        """The same for the connections that one thread has at a time, which counts for itself."""
        return replace(self, tally=tally)
