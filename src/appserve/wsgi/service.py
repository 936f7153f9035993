"""What all WSGI connections of one process share: the application, the rules, and what is counted."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from appserve.http.deadlines import Patience
from appserve.http.fields import Fields
from appserve.http.limits import Limits
from appserve.http.stamp import Stamp
from appserve.observe.access import AccessLog
from appserve.observe.log import Log
from appserve.observe.tally import Tally
from appserve.wsgi.environ import CgiVariable, Environ, Header
from appserve.wsgi.spool import Quota


@dataclass(frozen=True, slots=True)
class Service:
    """What all connections of one process share."""

    application: Callable[..., Any]
    template: Environ
    limits: Limits
    fields: Fields[CgiVariable, Header]
    stamp: Stamp
    patience: Patience
    quota: Quota
    log: Log
    access: AccessLog | None
    tally: Tally
    pid: int = field(default_factory=os.getpid)
