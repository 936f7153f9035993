"""The words that an HTTP connection and its user exchange."""

from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import Any, Final, Generic, NamedTuple, TypeVar

from appserve.errors import Rejected

F = TypeVar("F")
"""What the fields of a request become for the application: a list of pairs (ASGI), CGI variables (WSGI)."""

R = TypeVar("R")
"""What the application hands over as one response field."""

CHUNKED: Final = -1
"""The `body_length` of a request whose body is chunked."""


class Event(Enum):
    """What `Connection.next_event` answers when it is neither a head nor body bytes."""

    END = "end"
    """The request is complete."""
    NEED_DATA = "need data"
    """Nothing can be said before `receive_data` or `receive_eof`."""
    PAUSED = "paused"
    """The request is complete and its response is not: what else came in waits."""
    CLOSED = "closed"
    """The peer ended its side at a clean boundary: no further request will come."""


# hot: every comparison. Python 3.11 finds an enum's member through a descriptor written in Python, which
# costs more than the comparison, so the hot paths compare with these names and those of the states below.
# Compiled, what is Final is no look-up in a dictionary.
END: Final = Event.END
NEED_DATA: Final = Event.NEED_DATA
PAUSED: Final = Event.PAUSED
CLOSED: Final = Event.CLOSED


class Reading(IntEnum):
    """Where the connection is in the request that it reads."""

    HEAD = 0
    BODY = 1
    END = 2  # the body is complete, Event.END was not given yet
    DONE = 3
    CLOSED = 4  # the peer ended its side between two requests
    FAULT = 5  # the input was refused; nothing after it is read


class Writing(IntEnum):
    """Where the connection is in the response that it writes."""

    HEAD = 0  # nothing but informational responses was written
    BODY = 1
    DONE = 2


READING_HEAD: Final = Reading.HEAD
READING_BODY: Final = Reading.BODY
READING_END: Final = Reading.END
READING_DONE: Final = Reading.DONE
READING_CLOSED: Final = Reading.CLOSED
READING_FAULT: Final = Reading.FAULT
WRITING_HEAD: Final = Writing.HEAD
WRITING_BODY: Final = Writing.BODY
WRITING_DONE: Final = Writing.DONE


class RequestLine:
    """A request line that was accepted. Never changed after it was made: requests share it.

    method      as sent; methods are case-sensitive (RFC 9110 §9.1)
    target      as sent
    version     "1.1" or "1.0"
    raw_path    the target's path as sent, without its query; `*` for OPTIONS; `/` if absolute-form has none
    path_bytes  raw_path with percent-encoding decoded
    path        path_bytes as UTF-8, U+FFFD for what is not
    query       what follows the first `?`, as sent
    authority   host and port of an absolute-form target, else empty

    protocol    "HTTP/1.1" or "HTTP/1.0"
    label       method and path without the query, for logs and the scoreboard
    base        the same line without its query, where requests share that; else None
    derived     a place for what a shell makes of the line once, and then has ready when it comes again
    """

    __slots__ = (
        "authority",
        "base",
        "derived",
        "label",
        "method",
        "path",
        "path_bytes",
        "protocol",
        "query",
        "raw_path",
        "target",
        "version",
    )

    def __init__(
        self,
        method: str,
        target: bytes,
        version: str,
        raw_path: bytes,
        path_bytes: bytes,
        query: bytes,
        authority: bytes,
        base: "RequestLine | None" = None,
    ) -> None:
        self.method = method
        self.target = target
        self.version = version
        self.raw_path = raw_path
        self.path_bytes = path_bytes
        self.query = query
        self.authority = authority
        self.protocol = "HTTP/1.1" if version == "1.1" else "HTTP/1.0"
        if base is None:
            # hot: bench sync-real. The first is the quicker one.
            self.path = path_bytes.decode() if path_bytes.isascii() else path_bytes.decode("utf-8", "replace")
            self.label = method.encode("ascii") + b" " + raw_path
        else:
            self.path = base.path
            self.label = base.label
        self.base = base
        self.derived: dict[str, Any] | None = None

    def __repr__(self) -> str:
        return f"<RequestLine {self.method} {self.target!r} HTTP/{self.version}>"


class Rules(NamedTuple):
    """What the connection itself takes from a head of `version`; heads of the same meaning share one.

    is_last       the peer has said that it sends no request after this one
    closes        the connection ends with the response
    may_be_held   its fields may be kept for comparison with the next head: they frame no body, and none of
                  them was dropped
    """

    version: str
    is_last: bool
    closes: bool
    body_length: int
    expects_continue: bool
    upgrade: bytes
    may_be_held: bool


class RequestHead(Generic[F]):
    """The head of one request.

    fields  all of its fields in the application's form
    values  their values by name, both in the application's form; only to be read, as heads that repeat each
            other share it
    """

    __slots__ = ("fields", "line", "rules", "values")

    def __init__(self, line: RequestLine, fields: F, values: dict[Any, Any], rules: Rules) -> None:
        self.line = line
        self.fields = fields
        self.values = values
        self.rules = rules

    @property
    def keep_alive(self) -> bool:
        """Whether the connection may go on after the response, as far as the request is concerned."""
        return not self.rules.closes

    @property
    def body_length(self) -> int:
        """Bytes of the body; 0 none, CHUNKED unknown."""
        return self.rules.body_length

    @property
    def expects_continue(self) -> bool:
        """Whether the peer waits for 100 before it sends the body (RFC 9110 §10.1.1)."""
        return self.rules.expects_continue

    @property
    def upgrade(self) -> bytes:
        """The protocols offered in Upgrade, else empty; taking no notice declines them (RFC 9110 §7.8)."""
        return self.rules.upgrade

    def __repr__(self) -> str:
        return f"<RequestHead {self.line!r} {len(self.values)} fields, body {self.body_length}>"


HEAD_SETTINGS = "from --limit-request-line and --limit-request-field-size"
"""What the limit of a whole head follows from."""

SMALLEST_HEAD: Final = 65536
"""Bytes that a whole head may have, whatever the limits of its lines."""

SHARES = 4
"""One request body, or one response, may hold this part of what is kept for slow clients (--limit-spool)."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on one request, in bytes unless said; what passes them is answered 414, 431 or 413.

    request_line  the request line without its CRLF (RFC 9112 §3 asks for 8000 at least)
    fields        how many field lines a head, or a trailer section, may have
    field_size    one field line without its CRLF
    body          the body after de-chunking; 0 means no limit
    """

    request_line: int = 8190
    fields: int = 100
    field_size: int = 8190
    body: int = 1 << 30

    @property
    def head(self) -> int:
        """The whole head: room for two of the largest lines, and 64 KiB at least.

        Without it the product of `fields` and `field_size` (800 KB by default) would be what one
        silent connection may pin.
        """
        return max(SMALLEST_HEAD, self.request_line + 2 * self.field_size)

    def line_too_long(self) -> Rejected:
        return Rejected(414, f"request line longer than {self.request_line} bytes (--limit-request-line)")

    def field_too_long(self) -> Rejected:
        return Rejected(431, f"header field longer than {self.field_size} bytes (--limit-request-field-size)")

    def too_many_fields(self) -> Rejected:
        return Rejected(431, f"more than {self.fields} header fields (--limit-request-fields)")

    def head_too_long(self) -> Rejected:
        return Rejected(
            431,
            f"request head longer than {self.head} bytes ({HEAD_SETTINGS})",
        )

    def body_too_long(self) -> Rejected:
        return Rejected(413, f"request body longer than {self.body} bytes (--limit-request-body)")
