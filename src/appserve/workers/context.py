"""What the master gives a worker at its birth, and the worker hands on to its loop."""

import os
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from appserve.config.settings import Settings
from appserve.connection.preamble import PreambleRules
from appserve.errors import TlsError
from appserve.http.forwarded import Forwarding, TrustList
from appserve.http.messages import Limits
from appserve.http.timeouts import Timeouts
from appserve.net.listeners import Listener
from appserve.observe.access import AccessLog
from appserve.observe.log import Log
from appserve.observe.scoreboard import Scoreboard, ScoreboardRow
from appserve.values import Value
from appserve.workers.channel import Channel, LogFiles

if TYPE_CHECKING:
    import ssl

USUAL_THREADS = 8
"""Of a worker that was asked for threads and not told how many."""

ABOUT_TLS = ("keyfile", "keyfile_password", "tls_version", "ciphers", "cert_reqs", "ca_certs")
"""Settings that mean something only beside `certfile`."""

STANDARD_ERROR = 2

LAST_WORDS = 0.5
"""Seconds that the reader of each log has to take a worker's last lines."""


class WorkerContext(Value):
    """Everything one worker is born with. `slot` is the number it goes by; `born` is monotonic.

    `row` is its own of the `board`; of the others' it only reads.
    """

    slot: int
    generation: int
    master_pid: int
    settings: Settings
    listeners: tuple[Listener, ...]
    channel: Channel
    board: Scoreboard
    row: ScoreboardRow
    log: Log
    access: AccessLog | None
    blackbox_fd: int
    born: float

    def change_logs(self, logs: LogFiles, files: list[int]) -> None:
        """Write `logs` into `files` from now on, of which there is one for each."""
        wanted = [self.access] * logs.access + [self.log] * logs.error
        for log, fd in zip(wanted, files, strict=False):
            before = fd if log is None else log.replace(fd)
            if before > STANDARD_ERROR:
                os.close(before)

    def drain_logs(self) -> None:
        """Write what the logs still owe, the last act of a worker; waits for slow readers, not for long."""
        if self.access is not None:
            self.access.drain(LAST_WORDS)
        self.log.drain(LAST_WORDS)


def thread_count(settings: Settings) -> int:
    """How many threads a threads worker has."""
    return settings.threads or USUAL_THREADS


def make_limits(settings: Settings) -> Limits:
    """The bounds of a request."""
    return Limits(
        request_line=settings.limit_request_line,
        fields=settings.limit_request_fields,
        field_size=settings.limit_request_field_size,
        body=settings.limit_request_body,
    )


def make_timeouts(settings: Settings) -> Timeouts:
    """How long clients are waited for."""
    return Timeouts(
        first=settings.first_byte_timeout,
        idle=settings.keep_alive,
        head=settings.head_timeout,
        body=settings.body_timeout,
        body_rate=settings.body_rate,
        write=settings.write_timeout,
    )


def make_tls(settings: Settings, warn: Callable[[str], object]) -> "ssl.SSLContext | None":
    """What connections begin with when TLS is spoken, else None. `warn` is told what works and is odd.

    Files are found from the current folder. Raises TlsError if one of them cannot be used.
    """
    if not settings.certfile:
        _check_no_tls(settings)
        return None
    from appserve.net.tls_context import (
        TlsFiles,
        make_context,
    )  # OpenSSL is 3 MB, for those with a certificate

    files = TlsFiles(
        certfile=_only("certfile", settings.certfile),
        keyfile=_only("keyfile", settings.keyfile),
        password=settings.keyfile_password,
        version=settings.tls_version,
        ciphers=settings.ciphers,
        cert_reqs=settings.cert_reqs,
        ca_certs=settings.ca_certs,
    )
    return make_context(files, warn)


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


def make_forwarding(settings: Settings) -> Forwarding | None:
    """Reads what proxies say of a request; None if nobody is believed, or in nothing."""
    if not settings.forwarded_allow_ips or not settings.forwarded_headers:
        return None
    return Forwarding(TrustList(settings.forwarded_allow_ips), settings.forwarded_headers)


def _only(name: str, files: tuple[str, ...]) -> str:
    if len(files) > 1:
        raise TlsError(
            f"{name} has {len(files)} files: one certificate is served on all addresses (use one that holds "
            "all names, or let a proxy in front choose by name)"
        )
    return files[0] if files else ""


def _check_no_tls(settings: Settings) -> None:
    """Who asked for something about TLS must not get a server without."""
    usual = Settings()
    given = [name for name in ABOUT_TLS if getattr(settings, name) != getattr(usual, name)]
    if given:
        raise TlsError(
            f"{', '.join(given)} without certfile: TLS needs a certificate (set certfile, or remove the TLS "
            "settings)"
        )
