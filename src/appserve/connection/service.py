"""What all connections of one worker share, whichever loop owns them: made once, and never changed."""

from collections.abc import Callable
from typing import Any, Generic

from appserve.connection.preamble import PreambleRules
from appserve.http.date import DateFields
from appserve.http.fields import Fields
from appserve.http.forwarded import Forwarding
from appserve.http.messages import F, Limits, R
from appserve.http.timeouts import Timeouts
from appserve.observe.access import AccessLog
from appserve.observe.counters import Counters
from appserve.observe.log import Log
from appserve.observe.refusals import Refusals


class Service(Generic[F, R]):
    """One application, and the rules by which its clients are served.

    access      None without an access log
    counters    where requests are counted
    root_path   the path that the application is mounted at, without a slash at its end
    forwarding  reads what trusted proxies report of a request; None if no proxy is trusted
    preamble    what comes before HTTP on each connection; None if nothing does
    """

    def __init__(
        self,
        *,
        application: Callable[..., Any],
        fields: Fields[F, R],
        limits: Limits,
        timeouts: Timeouts,
        date_fields: DateFields,
        log: Log,
        access: AccessLog | None,
        counters: Counters,
        refusals: Refusals,
        root_path: str = "",
        forwarding: Forwarding | None = None,
        preamble: PreambleRules | None = None,
    ) -> None:
        self.application = application
        self.fields = fields
        self.limits = limits
        self.timeouts = timeouts
        self.date_fields = date_fields
        self.log = log
        self.access = access
        self.counters = counters
        self.refusals = refusals
        self.root_path = root_path
        self.forwarding = forwarding
        self.preamble = preamble
