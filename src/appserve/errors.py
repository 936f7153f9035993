"""Every exception that appserve raises, named for its cause, with the answer or exit code.

    Rejected             the peer: an HTTP status
    ClientDisconnected   the client disconnected while the application was sending
    AppMistake           the application, while it serves: a 500
    AppImportError       the application, before it serves: exit 4
    AppStartError        the application, before it serves: exit 3
    ConfigError          the settings: exit 5
    UnfitSettings        settings that do not fit the application: exit 5
    TlsError             certificates and keys that cannot be used: exit 5
    BindError            an address, or another process that uses it: exit 6

Any other exception is a fault of appserve, and ends a process with exit code 71.
"""

from collections.abc import Sequence
from enum import IntEnum


class ExitCode(IntEnum):
    """The exit codes of every appserve process. They are an interface: supervisors read them."""

    CLEAN = 0
    APP_START = 3
    APP_IMPORT = 4
    CONFIG = 5
    BIND = 6
    GAVE_UP = 70
    INTERNAL = 71


class Cause(IntEnum):
    """Why a client was refused: the categories that the scoreboard counts. Numbers are never used again."""

    SYNTAX = 0  # a request line or a field that is not in the grammar
    TARGET = 1
    HOST = 2
    FRAMING = 3  # Content-Length, Transfer-Encoding, chunks: request smuggling
    CONNECTION = 4  # a Connection field that names what it must not
    FORWARDED = 5  # contradictory or malformed fields of a proxy
    INCOMPLETE = 6  # the client ended its side within a request
    PLAIN_HTTP = 7  # where TLS is expected
    PROXY_HEADER = 8  # missing, malformed, or from an untrusted peer
    TIMEOUT = 9
    BODY_SIZE = 10
    LINE_SIZE = 11
    FIELDS_SIZE = 12
    EXPECTATION = 13
    METHOD = 14
    CODING = 15
    VERSION = 16
    UNAVAILABLE = 17  # overloaded, or stopping


_CAUSES = {
    408: Cause.TIMEOUT,
    413: Cause.BODY_SIZE,
    414: Cause.LINE_SIZE,
    417: Cause.EXPECTATION,
    431: Cause.FIELDS_SIZE,
    503: Cause.UNAVAILABLE,
    505: Cause.VERSION,
}


class Rejected(Exception):
    """The peer sent something that is not accepted.

    `status` is the HTTP status of the answer; `reason` says what was seen and cites the rule or the setting,
    and never holds bytes of the peer. `cause` is the category; left out, it follows from the status.
    """

    def __init__(self, status: int, reason: str, cause: Cause | None = None) -> None:
        super().__init__(status, reason)
        self.status = status
        self.reason = reason
        self.cause = _CAUSES.get(status, Cause.SYNTAX) if cause is None else cause

    def __str__(self) -> str:
        return f"{self.status} {self.reason}"


class ClientDisconnected(OSError):
    """The application sent to a client that has disconnected (an OSError, as ASGI HTTP 2.4 requires)."""


class AppMistake(Exception):
    """The application broke the rules of its interface; the message says which and what to do."""


class StartupError(Exception):
    """A worker or the server cannot start; `exit_code` says why, `detail` is a traceback or is empty."""

    exit_code: ExitCode = ExitCode.INTERNAL

    def __init__(self, message: str, detail: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.detail = detail


class AppImportError(StartupError):
    """The application cannot be found or imported."""

    exit_code = ExitCode.APP_IMPORT


class AppStartError(StartupError):
    """The application was found, and failed to start: its factory or its lifespan raised."""

    exit_code = ExitCode.APP_START


class UnfitSettings(StartupError):
    """Settings that are valid by themselves, and cannot serve this application."""

    exit_code = ExitCode.CONFIG


class TlsError(StartupError):
    """A certificate, a key or another TLS setting cannot be used."""

    exit_code = ExitCode.CONFIG


class BindError(StartupError):
    """A listener cannot be bound."""

    exit_code = ExitCode.BIND


class ConfigError(Exception):
    """Settings that cannot be used: every problem found, each with its source and what to do."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)
