"""The fields of requests, read, and those of responses, written, in the form of one kind of application.

Values differ from request to request, names do not. So a name that passed the grammar is remembered with what
it becomes for the application, and a head whose names are all known is read in a few calls that run in C:
split into lines, each at its colon. What it says to the connection follows from Host, Connection and
Content-Length. llhttp alone judges the bytes of values then, as RFC 9110 §5.5 asks. Any other head,
and any in which something looks wrong, is read line by line with every rule.

The memories are bounded and belong to one process. A request's values are not kept, but for those of Host and
Connection.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Generic

from appserve.errors import AppMistake, Rejected
from appserve.http.cache import remember
from appserve.http.messages import F, Limits, R, RequestLine, Rules
from appserve.http.policy import KINDS, FieldKind, Special, read_rules
from appserve.http.request_line import FORBIDDEN, METHODS, TOKEN, read_request_line

VERSIONS = (b"HTTP/1.1", b"HTTP/1.0")

LONGEST = 256
"""Longer request lines and response fields are not remembered: they are rarely repeated, and the memory stays
below 1 MiB."""

LONGEST_NAME = 64
"""Longer field names are not remembered."""

LONGEST_VALUE = 256
"""A Host or Connection that is longer is judged each time."""

DROPPED = FieldKind.DROPPED.value

USUAL = frozenset({b"host", b"connection", b"content-length"})
"""The fields that concern the connection and stand in usual heads. The name of another is not remembered, so
a head with it is read with every rule."""

SECRET = frozenset({b"set-cookie", b"www-authenticate", b"authorization"})
"""Response fields that are never remembered."""


class Meaning(IntEnum):
    """What a response field says to the connection itself."""

    LENGTH = 1
    CONNECTION = 2
    DATE = 3
    SERVER = 4
    HOP_BY_HOP = 5
    UPGRADE = 6


MEANINGS = {
    b"content-length": Meaning.LENGTH,
    b"connection": Meaning.CONNECTION,
    b"date": Meaning.DATE,
    b"server": Meaning.SERVER,
    b"transfer-encoding": Meaning.HOP_BY_HOP,
    b"keep-alive": Meaning.HOP_BY_HOP,
    b"proxy-connection": Meaning.HOP_BY_HOP,
    b"upgrade": Meaning.UPGRADE,
}


@dataclass(slots=True)
class Oddities:
    """What was met in messages and left out. The readers and writers of one process set it, and what logs it
    takes it back.

    dropped_field          the name of a request field that was dropped for its underscore
    own_transfer_encoding  the application sent one
    websocket_offered      a client began a WebSocket handshake
    """

    dropped_field: bytes = b""
    own_transfer_encoding: bool = False
    websocket_offered: bool = False


FieldNote = tuple[int, int]
"""A Meaning as a plain int, and its number: the length, or 1 for a Connection that says close."""


class Fields(ABC, Generic[F, R]):
    """How one kind of application reads and writes fields, with the memories of one process.

    F  all fields of a request, in the form that the application is given
    R  a response field, as the application hands it over

    A kind of application derives from it and says what the forms are.
    """

    __slots__ = (
        "_bodies",
        "_coding_seen",
        "_connection",
        "_cookie",
        "_host",
        "_length",
        "_paths",
        "_rules",
        "_websocket_seen",
        "names",
        "oddities",
        "request_lines",
        "written",
    )

    def __init__(self) -> None:
        self._websocket_seen = False
        self._coding_seen = False
        self.oddities = Oddities()
        self.names: dict[Any, Any] = {}  # the name as sent → the application's
        self._host = self.name_form(b"host")
        self._connection = self.name_form(b"connection")
        self._cookie = self.name_form(b"cookie")
        self._length = self.name_form(b"content-length")
        self.request_lines: dict[bytes, RequestLine] = {}
        self._paths: dict[bytes, RequestLine] = {}  # by what stands before the `?` of a query
        self._rules: dict[tuple[str, Any, Any], Rules] = {}  # by version, Host and Connection; without a body
        self._bodies: dict[int, Rules] = {}  # those of a body of so many bytes and nothing else
        self.written: dict[R, tuple[bytes, FieldNote | None]] = {}

    # ── the forms ──

    @abstractmethod
    def name_form(self, name: bytes) -> Any:
        """What the name of a request field becomes, given in lower case."""

    @abstractmethod
    def text(self, octets: bytes) -> Any:
        """Octets of a head, values among them, in the type that the application has them in: str or bytes."""

    @abstractmethod
    def octets(self, text: Any) -> bytes:
        """The opposite of `text`."""

    @abstractmethod
    def known(self, block: bytes) -> dict[Any, Any] | None:
        """The values by name of a block of lines whose names are all in `names`. None if one is not, if two
        lines have one name, or if a line has no colon and blank.

        The kinds of application have it twice for the sake of its types: a compiled build is slow without.
        """

    @abstractmethod
    def of_values(self, values: dict[Any, Any]) -> F:
        """The fields of a request in which each name occurs once, given by name."""

    @abstractmethod
    def of_lines(self, fields: list[tuple[Any, Any]], values: dict[Any, Any]) -> F:
        """The fields of any request, given as (name, value) in order, and by name with the lines of one name
        joined."""

    @abstractmethod
    def copy(self, fields: F) -> F:
        """These fields for another request: what the application may change is its own."""

    @abstractmethod
    def spell(self, field: R) -> tuple[bytes, bytes]:
        """The name and value of a response field. May raise AppMistake."""

    # ── request lines ──

    def read_request_line(self, line: bytes) -> RequestLine:
        """The request line in these bytes (no CRLF). Raises Rejected as request_line.read_request_line()."""
        found = read_request_line(line)
        start, mark, _ = line.partition(b"?")
        if mark and len(start) <= LONGEST and not found.authority and found.method in METHODS:
            remember(self._paths, start, read_request_line(start + b" HTTP/1.1"))
        return found

    def known_line(self, line: bytes) -> RequestLine | None:
        """The request line in these bytes if only its query is new, or nothing is; else None.

        llhttp has to check the bytes of the query: it allows those of RFC 9112 §3.2, and `#`.
        """
        # hot: bench real. Many requests share a path, and few a query.
        known = self.request_lines.get(line)
        if known is not None:
            return known
        start, _, rest = line.partition(b"?")
        base = self._paths.get(start)
        if base is None or b"#" in rest or not rest.endswith(b" HTTP/1.1"):
            return None
        target = line[len(base.method) + 1 : -9]
        return RequestLine(base.method, target, "1.1", base.raw_path, base.path_bytes, rest[:-9], b"", base)

    def remember_request_line(self, line: bytes, request_line: RequestLine) -> None:
        """Keep a request line that was accepted.

        Not one with a query, which seldom repeats and may hold secrets, nor one in absolute-form, whose
        authority would have to replace the Host of every request that repeats it, nor one about which llhttp
        is asked in another form (http1.equivalent).
        """
        if len(line) > LONGEST or request_line.query or request_line.authority:
            return
        if line.endswith(VERSIONS) and request_line.method in METHODS:
            remember(self.request_lines, line, request_line)

    # ── request fields ──

    def read(self, line: RequestLine, block: bytes, limits: Limits) -> tuple[F, dict[Any, Any], Rules]:
        """The fields of a head, `block` (lines with CRLF between them); their values by name; and what they
        say to the connection.

        Raises Rejected: 431 for what is over a limit, and as read_field() and policy.read_rules().
        """
        # hot: bench real.
        values = self.known(block)
        if values is None or line.authority or len(block) > limits.field_size:
            return self._read_any(line, block, limits)
        if len(values) > limits.fields:
            raise limits.too_many_fields()
        host, connection = values.get(self._host), values.get(self._connection)
        rules = self._rules.get((line.version, host, connection))
        if rules is None:
            rules = self._judge_usual(line, host, connection, limits)
        length = values.get(self._length)
        if length is not None:
            # hot: bench sync-post. The length is judged for every message.
            if not length.isdigit() or not length.isascii() or len(length) > 15 or line.version != "1.1":
                return self._read_any(line, block, limits)
            size = int(length)
            if size:
                if size > limits.body > 0:
                    raise limits.body_too_long()
                if line.method == "TRACE":
                    return self._read_any(line, block, limits)
                rules = self._with_body(rules, size)
        return self.of_values(values), values, rules

    def _judge_usual(self, line: RequestLine, host: Any, connection: Any, limits: Limits) -> Rules:
        """What a head amounts to that says no more to the connection than these values. Raises Rejected."""
        specials: list[Special] = []
        if host is not None:
            specials.append((FieldKind.HOST.value, self.octets(host)))
        if connection is not None:
            specials.append((FieldKind.CONNECTION.value, self.octets(connection)))
        rules = read_rules(line, specials, limits)
        if sum(len(value) for _, value in specials) <= LONGEST_VALUE:
            remember(self._rules, (line.version, host, connection), rules)
        return rules

    def _with_body(self, rules: Rules, size: int) -> Rules:
        """The rules of the same head with a body of `size` bytes, in HTTP/1.1."""
        key = size if rules.closes else -size
        found = self._bodies.get(key)
        if found is None:
            found = rules._replace(body_length=size, may_be_held=False)
            remember(self._bodies, key, found)
        return found

    def _read_any(self, line: RequestLine, block: bytes, limits: Limits) -> tuple[F, dict[Any, Any], Rules]:
        """As read(), whatever the fields are: line by line, with every rule."""
        lines = block.split(b"\r\n") if block else []
        if len(lines) > limits.fields:
            raise limits.too_many_fields()
        fields: list[tuple[Any, Any]] = []
        specials: list[Special] = []
        for field_line in lines:
            if len(field_line) > limits.field_size:
                raise limits.field_too_long()
            name, value, special = self.read_field(field_line)
            if special is not None:
                specials.append(special)
                if special[0] == DROPPED:
                    self.oddities.dropped_field = field_line.partition(b":")[0]
                    continue
            if line.authority and special is not None and special[0] == FieldKind.HOST.value:
                continue
            fields.append((name, self.text(value)))
        rules = read_rules(line, specials, limits)
        if line.authority:
            # The authority of an absolute-form target takes the place of Host (RFC 9112 §3.2.2).
            fields.insert(0, (self._host, self.text(line.authority)))
        if rules.upgrade and not self._websocket_seen:
            protocols = [offer.strip(b" \t") for offer in rules.upgrade.lower().split(b",")]
            self._websocket_seen = self.oddities.websocket_offered = b"websocket" in protocols
        values = self._join(fields)
        return self.of_lines(fields, values), values, rules

    def _join(self, fields: Sequence[tuple[Any, Any]]) -> dict[Any, Any]:
        """The value of each name: lines of one name are one list, in order (RFC 9110 §5.3); for Cookie see
        RFC 6265 §5.4."""
        values: dict[Any, Any] = {}
        for name, value in fields:
            if name in values:
                separator = self.text(b"; " if name == self._cookie else b",")
                values[name] = values[name] + separator + value
            else:
                values[name] = value
        return values

    def read_field(self, line: bytes) -> tuple[Any, bytes, Special | None]:
        """The application's name of a field line (no CRLF), its value, and what it means if it concerns the
        connection.

        Raises Rejected(400) if the line is not in the grammar of RFC 9112 §5.
        """
        name, colon, value = line.partition(b":")
        if not colon or TOKEN.fullmatch(name) is None:
            raise Rejected(400, "malformed field line (RFC 9112 §5)")
        if FORBIDDEN.search(value) is not None:
            raise Rejected(400, "control character in a field value (RFC 9110 §5.5)")
        value = value.strip(b" \t")
        lower = name.lower()
        form = self.name_form(lower)
        if b"_" in lower:
            # CGI writes `-` as `_`, so X_Forwarded_For would pass for X-Forwarded-For. Of what is dropped
            # only its presence matters.
            return form, value, (DROPPED, b"")
        kind = KINDS.get(lower)
        if (kind is None or lower in USUAL) and len(name) <= LONGEST_NAME:
            remember(self.names, self.text(name), form)
        return form, value, None if kind is None else (kind.value, value)

    # ── response fields ──

    def write_field(self, field: R) -> tuple[bytes, FieldNote | None]:
        """(`Name: value CRLF`, what it means if anything) of a response field as the application gave it.

        Raises AppMistake if it cannot stand in a response: a header that carries CR or LF would be two
        (response splitting, RFC 9110 §5.5). Without a context: that would be the look-up that did not find
        the field, and its message has the value, which may be a secret.
        """
        name, value = self.spell(field)
        if TOKEN.fullmatch(name) is None:
            raise AppMistake(f"response header name {_shown(name)} is not a token (RFC 9110 §5.1)") from None
        value = value.strip(b" \t")
        if FORBIDDEN.search(value) is not None:
            raise AppMistake(
                f"response header {_shown(name)} has a control character in its value (RFC 9110 §5.5)"
            ) from None
        lower = name.lower()
        meaning = MEANINGS.get(lower)
        note = None if meaning is None else (meaning.value, _number(meaning, value))
        if lower == b"transfer-encoding" and not self._coding_seen:
            self._coding_seen = self.oddities.own_transfer_encoding = True
        entry = (name + b": " + value + b"\r\n", note)
        # A field that is no tuple (a list of two is legal) has no hash, or could change after it was judged.
        if isinstance(field, tuple) and lower not in SECRET and len(entry[0]) <= LONGEST:
            remember(self.written, field, entry)
        return entry


def _number(meaning: Meaning, value: bytes) -> int:
    if meaning is Meaning.LENGTH:
        if not value.isdigit() or len(value) > 18:
            raise AppMistake(
                f"Content-Length {_shown(value)} is not a decimal number (RFC 9110 §8.6)"
            ) from None
        return int(value)
    return int(
        meaning is Meaning.CONNECTION and any(o.strip() == b"close" for o in value.lower().split(b","))
    )


def _shown(text: bytes) -> str:
    """As the application wrote it, more or less, and without a control character."""
    return repr(text.decode("latin-1"))
