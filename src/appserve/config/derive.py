"""What is made of the settings for the layers that know none: limits, timeouts, TLS, trusted proxies."""

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from appserve.config.settings import Settings
from appserve.errors import TlsError
from appserve.http.forwarded import Forwarding, TrustList
from appserve.http.messages import Limits
from appserve.http.timeouts import Timeouts
from appserve.net.listeners import UNIX_MODE
from appserve.system.watch import Watched

if TYPE_CHECKING:
    import ssl

    from appserve.http.fields import Fields

USUAL_THREADS = 8
"""Of a worker of class threads, if the number is not set."""

ABOUT_TLS = ("keyfile", "keyfile_password", "tls_version", "ciphers", "cert_reqs", "ca_certs")
"""Settings that mean something only beside `certfile`."""


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
    """The TLS context of all connections; None without a certificate. `warn` gets what works and is odd.

    Files are found from the current folder. Raises TlsError if one of them cannot be used.
    """
    if not settings.certfile:
        _check_no_tls(settings)
        return None
    # OpenSSL is 3 MB, for servers with a certificate.
    from appserve.net.tls_context import TlsFiles, make_context

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


def unix_mode(settings: Settings) -> int:
    """The permissions of unix sockets."""
    if settings.socket_mode >= 0:
        return settings.socket_mode
    return 0o666 & ~settings.umask if settings.umask >= 0 else UNIX_MODE


def make_watched(settings: Settings) -> Watched:
    """The files whose changes cause a reload (--reload)."""
    app_folders = [os.path.normpath(os.path.join(settings.chdir, folder)) for folder in settings.app_dir]
    return Watched(
        folders=settings.reload_dir or tuple(dict.fromkeys([settings.chdir, *app_folders])),
        include=settings.reload_include,
        exclude=settings.reload_exclude,
        files=settings.reload_extra_file,
    )


def make_forwarding(settings: Settings, fields: "Fields[Any, Any]") -> Forwarding | None:
    """Reads what proxies say of a request; None if no proxy is trusted, or in no field."""
    if not settings.forwarded_allow_ips or not settings.forwarded_headers:
        return None
    return Forwarding(TrustList(settings.forwarded_allow_ips), settings.forwarded_headers, fields)


def _only(name: str, files: tuple[str, ...]) -> str:
    if len(files) > 1:
        raise TlsError(
            f"{name} has {len(files)} files: one certificate is served on all addresses (use one that holds "
            "all names, or let a proxy in front choose by name)"
        )
    return files[0] if files else ""


def _check_no_tls(settings: Settings) -> None:
    """Settings about TLS must not start a server without TLS."""
    usual = Settings()
    given = [name for name in ABOUT_TLS if getattr(settings, name) != getattr(usual, name)]
    if given:
        raise TlsError(
            f"{', '.join(given)} without certfile: TLS needs a certificate (set certfile, or remove the TLS "
            "settings)"
        )
