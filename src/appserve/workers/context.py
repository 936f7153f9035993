"""What a worker is started with: values and descriptors, and the objects that it makes of them."""

import mmap
import os
import socket
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from appserve.config.derive import make_forwarding, make_limits, make_timeouts, make_tls
from appserve.config.settings import Settings
from appserve.connection.preamble import PreambleRules
from appserve.connection.service import Service
from appserve.http.date import DateFields
from appserve.http.fields import Fields
from appserve.http.forwarded import TrustList
from appserve.http.messages import F, R
from appserve.net.address import Address
from appserve.net.listeners import Listener
from appserve.observe.access import AccessLog
from appserve.observe.counters import Counters
from appserve.observe.log import Level, Log, wants_colour
from appserve.observe.refusals import Refusals
from appserve.observe.scoreboard import Scoreboard, ScoreboardRow, size_for
from appserve.values import Value
from appserve.workers.channel import Channel, LogFiles

if TYPE_CHECKING:
    import ssl

OUTPUT, ERROR = 1, 2

LOG_DRAIN = 0.5
"""Seconds that the reader of each log has to take a worker's last lines."""


class BoundAddress(Value):
    """A listener as values; its descriptor is among those of the worker."""

    address: Address
    unix_path: str | None


class Descriptors(Value):
    """The open files that a worker is started with, beside 0, 1 and 2."""

    listeners: tuple[int, ...]
    channel: int
    scoreboard: int
    blackbox: int
    error_log: int
    access_log: int  # -1 without an access log

    def numbers(self) -> list[int]:
        """All of them; logs may be standard streams."""
        return [
            *self.listeners,
            *(self.channel, self.scoreboard, self.blackbox, self.error_log, self.access_log),
        ]


class WorkerSpec(Value):
    """Everything that one worker is started with. A process that did not fork from the master can be sent it
    through a socket: the values in any form, the descriptors as SCM_RIGHTS.

    `slot` is the number that the worker goes by, `row` its own among the `rows` of the
    scoreboard.
    """

    slot: int
    master_pid: int
    settings: Settings
    row: int
    rows: int
    bound: tuple[BoundAddress, ...]
    descriptors: Descriptors


class WorkerContext(Value):
    """The same in one worker, made ready to be used; `row` is its own of the `board`, of the others' it only
    reads. `tls` is None without a certificate."""

    slot: int
    master_pid: int
    settings: Settings
    listeners: tuple[Listener, ...]
    channel: Channel
    board: Scoreboard
    row: ScoreboardRow
    log: Log
    access: AccessLog | None
    blackbox_fd: int
    tls: "ssl.SSLContext | None" = None

    def __str__(self) -> str:
        return f"worker {self.slot} (pid {os.getpid()})"

    def change_logs(self, logs: LogFiles, files: list[int]) -> None:
        """Write `logs` into `files` from now on, of which there is one for each."""
        wanted = [self.access] * logs.access + [self.log] * logs.error
        for log, fd in zip(wanted, files, strict=False):
            before = fd if log is None else log.replace(fd)
            if before > ERROR:
                os.close(before)

    def drain_logs(self) -> None:
        """Write what the logs still owe, the last act of a worker; waits for slow readers, not for long."""
        if self.access is not None:
            self.access.drain(LOG_DRAIN)
        self.log.drain(LOG_DRAIN)


def prepare(spec: WorkerSpec, tls: "ssl.SSLContext | None" = None) -> WorkerContext:
    """Make the objects of a worker from values and descriptors, which belong to it from now on.

    `tls` is the context of its generation, if this process inherited one: then the worker need not be able to
    read the key, and resumes the sessions of its siblings. Otherwise it is made here.
    """
    fds, settings = spec.descriptors, spec.settings
    log = make_log(fds.error_log, settings)
    board = Scoreboard(mmap.mmap(fds.scoreboard, size_for(spec.rows)), spec.rows)
    os.close(fds.scoreboard)  # the mapping has one of its own
    return WorkerContext(
        slot=spec.slot,
        master_pid=spec.master_pid,
        settings=settings,
        listeners=tuple(map(_listener, spec.bound, fds.listeners)),
        channel=Channel(socket.socket(fileno=fds.channel), takes_files=True),
        board=board,
        row=board.row(spec.row),
        log=log,
        access=make_access_log(fds.access_log, settings.access_logfile, log, settings.access_log_exclude),
        blackbox_fd=fds.blackbox,
        tls=tls or make_tls(settings, log.warning),
    )


def _listener(bound: BoundAddress, fd: int) -> Listener:
    opened = socket.socket(fileno=fd)
    opened.setblocking(False)
    return Listener(opened, bound.address, bound.unix_path)


def stderr_log(settings: Settings) -> Log:
    """What is written before there is a log, and when the log cannot be written."""
    return Log(ERROR, Level[settings.log_level.upper()], wants_colour(ERROR, os.environ))


def make_log(fd: int, settings: Settings) -> Log:
    """The error log, written into `fd`."""
    report = _reporter("the error log", stderr_log(settings))
    return Log(fd, Level[settings.log_level.upper()], wants_colour(fd, os.environ), report=report)


def make_access_log(fd: int, path: str, log: Log, excluded: tuple[str, ...] = ()) -> AccessLog | None:
    """The access log, written into `fd`; None if that is -1."""
    if fd < 0:
        return None
    paths = frozenset(one.encode() for one in excluded)
    return AccessLog(fd, report=_reporter(f"the access log {path}", log), excluded=paths)


def make_service(
    context: WorkerContext, application: Callable[..., Any], fields: Fields[F, R], counters: Counters
) -> Service[F, R]:
    """What all connections of the worker share, whichever loop it has."""
    settings = context.settings
    return Service(
        application=application,
        fields=fields,
        limits=make_limits(settings),
        timeouts=make_timeouts(settings),
        date_fields=DateFields(time.time()),
        log=context.log,
        access=context.access,
        counters=counters,
        refusals=Refusals(context.log, context.row),
        root_path=settings.root_path,
        forwarding=make_forwarding(settings, fields),
        preamble=make_preamble(settings, context.tls),
    )


def make_preamble(settings: Settings, context: "ssl.SSLContext | None") -> PreambleRules | None:
    """What comes before HTTP on each connection; None if nothing does."""
    if settings.proxy_protocol == "off":
        version, proxies = "", None
    else:
        version, proxies = settings.proxy_protocol, TrustList(settings.proxy_allow_from)
    if context is None:
        return PreambleRules(version, proxies) if version else None
    from appserve.net.tls_session import TlsSession

    return PreambleRules(version, proxies, partial(TlsSession, context))


def _reporter(name: str, log: Log) -> Callable[[int], None]:
    """Logs that a log cannot be written, and that it can be again."""

    def report(number: int) -> None:
        if number:
            log.error(f"{name} cannot be written: {os.strerror(number)}; lines beyond the buffer are lost")
        else:
            log.info(f"{name} can be written again")

    return report
