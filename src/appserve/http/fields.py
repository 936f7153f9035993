"""Field lines, read from requests and written into responses: each distinct line is judged once.

Clients repeat themselves: of a browser's sixteen fields fifteen are the same in its next request, and
behind a proxy in everybody's. So a line that passed the grammar is remembered with what it means, and
the next one costs a dictionary look-up. The memory is bounded, belongs to one process, and never holds
what must be judged afresh (framing fields) or kept secret (Cookie, Authorization).

The two kinds of application want fields in two forms, so a Fields is made with three functions: `name_form`
and `value_form` turn a request field into what the application is given, `spell` turns what the application
hands over into bytes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Generic, cast

from appserve.errors import AppMistake, Rejected
from appserve.http.cache import REMEMBERED, remember
from appserve.http.messages import F, Limits, R, RequestLine, Rules
from appserve.http.policy import (
    KINDS,
    LENGTH,
    MARKED,
    ODD,
    ONCE,
    VERSION_1_1,
    FieldKind,
    Special,
    mark_of,
    read_rules,
)
from appserve.http.request_line import FORBIDDEN, LEGAL, QUERY_BYTES, TOKEN, read_request_line

VERSIONS = (b"HTTP/1.1", b"HTTP/1.0")

LONGEST = 256
"""Longer lines are not remembered: they are rarely repeated, and the memory stays below 1 MiB."""

LINES_OF_NAME = 64
"""How many lines of one name are remembered: a name with more values than that (an id of each request, a
Referer) would push out what is repeated."""


DROPPED_KIND = FieldKind.DROPPED.value

FORGOTTEN = frozenset(
    {b"content-length", b"transfer-encoding", b"expect", b"cookie", b"authorization", b"proxy-authorization"}
)
"""Request fields that are never remembered: framing is judged afresh for every message, secrets not kept."""

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


class Fields(Generic[F, R]):
    """How one kind of application reads and writes fields, with the memories of one process.

    name_form(name)    what the name of a request field becomes; it is given in lower case
    value_form(value)  what its value becomes; it is given without outer blanks
    spell(field)       the (name, value) bytes of a response field; may raise AppMistake

    F, a request field for the application, is the pair of both forms.
    """

    __slots__ = (
        "_coding_seen",
        "_name_form",
        "_names",
        "_paths",
        "_spell",
        "_value_form",
        "_websocket_seen",
        "marked",
        "oddities",
        "read",
        "request_lines",
        "rules",
        "written",
    )

    def __init__(
        self,
        name_form: Callable[[bytes], object],
        value_form: Callable[[bytes], object],
        spell: Callable[[R], tuple[bytes, bytes]],
    ) -> None:
        self._name_form = name_form
        self._value_form = value_form
        self._spell = spell
        self._websocket_seen = False
        self._coding_seen = False
        self.oddities = Oddities()
        self._names: dict[bytes, list[Any]] = {}
        self.request_lines: dict[bytes, RequestLine] = {}
        self._paths: dict[bytes, RequestLine] = {}  # by what stands before the `?` of a query
        self.read: dict[bytes, F] = {}  # lines that say nothing to the connection
        self.marked: dict[bytes, tuple[F, int, bytes]] = {}  # lines that do
        self.rules: dict[int, Rules] = {}
        self.written: dict[R, tuple[bytes, FieldNote | None]] = {}

    def form(self, name: bytes, value: bytes) -> F:
        """What this request field becomes for the application."""
        return self._pair(self._read_name(name)[0], value)

    def read_request_line(self, line: bytes) -> RequestLine:
        """The request line in these bytes (no CRLF). Raises Rejected as target.read_request_line."""
        # hot: bench sync-real. Many requests share a path, and few a query.
        start, mark, rest = line.partition(b"?")
        if not mark:
            return read_request_line(line)
        base = self._paths.get(start)
        if base is not None and rest.endswith(b" HTTP/1.1"):
            query = rest[:-9]
            if 0 not in query.translate(QUERY_BYTES):
                path = base.raw_path
                target = b"%b?%b" % (path, query)
                return RequestLine(base.method, target, "1.1", path, base.path_bytes, query, b"", base)
        found = read_request_line(line)
        if len(start) <= LONGEST and not found.authority:
            remember(self._paths, start, read_request_line(start + b" HTTP/1.1"))
        return found

    def remember_request_line(self, line: bytes, request_line: RequestLine) -> None:
        """Keep a request line that was accepted.

        Not one with a query, which seldom repeats and may hold secrets, nor one in absolute-form, whose
        authority would have to replace the Host of every request that repeats it, nor one of a later minor
        version, which has to be translated for llhttp.
        """
        if len(line) > LONGEST or request_line.query or request_line.authority:
            return
        if line.endswith(VERSIONS):
            remember(self.request_lines, line, request_line)

    def usual_rules(self, line: RequestLine, marks: int, length: bytes, limits: Limits) -> Rules | None:
        """What a head amounts to whose fields have these marks, and this as the value of Content-Length; None
        if it has to be judged in full. Raises Rejected.
        """
        # hot: bench sync-post. The length is judged for every message; of the rest there are few kinds.
        if marks & ODD:
            return None
        is_1_1 = line.version == "1.1"
        key = marks | VERSION_1_1 if is_1_1 else marks
        size = 0
        if marks & LENGTH:
            if not is_1_1 or line.method == "TRACE" or not length.isdigit() or len(length) > 15:
                return None
            size = int(length)
            if 0 < limits.body < size:
                return None
            key -= LENGTH
        rules = self.rules.get(key)
        if rules is None:
            specials = [special for mark, special in MARKED.items() if marks & mark]
            rules = self.rules[key] = read_rules(line, specials, limits)
        if size:
            return Rules(rules.version, rules.is_last, rules.closes, size, False, b"", False)
        return rules

    def judge(self, line: RequestLine, specials: Sequence[Special], limits: Limits) -> Rules:
        """What the fields that concern the connection amount to. Raises Rejected."""
        rules = read_rules(line, specials, limits)
        if rules.upgrade and not self._websocket_seen:
            protocols = [offer.strip(b" \t") for offer in rules.upgrade.lower().split(b",")]
            self._websocket_seen = self.oddities.websocket_offered = b"websocket" in protocols
        return rules

    def read_lines(
        self, lines: list[bytes], head: bytes, end: int, limits: Limits
    ) -> tuple[list[Any], int, bytes]:
        """The application's forms of the field lines of `head`, which ends at `end`; what they say to the
        connection, as marks; and the value of Content-Length, if it is marked.

        Raises Rejected for a line that is longer than the limit, or not in the grammar of RFC 9112 §5.
        """
        # hot: bench real. A look-up in C for each line that was seen before; then those that concern the
        # connection, and those that differ from request to request.
        fields: list[Any] = list(map(self.read.get, lines))
        marked, names, value_form = self.marked.get, self._names.get, self._value_form
        marks = 0
        length = b""
        is_checked = False
        for at, form in enumerate(fields):
            if form is not None:
                continue
            line = lines[at]
            entry = marked(line)
            if entry is None:
                if not is_checked:
                    # Nothing but legal bytes and the line ends at which it was split.
                    if head[:end].translate(LEGAL).count(0) != 2 * len(lines):
                        raise Rejected(400, "control character in a request head (RFC 9110 §5.5)")
                    is_checked = True
                if len(line) > limits.field_size:
                    raise limits.field_too_long()
                name, colon, value = line.partition(b":")
                known = names(name)
                if known is not None and colon and not known[1] and not known[2]:
                    fields[at] = (known[0], value_form(value.strip(b" \t")))  # as in read_marked()
                    continue
                entry = self.read_marked(line)
            fields[at], mark, value = entry
            if mark:
                marks |= ODD if mark & marks & ONCE else mark
                if mark == LENGTH:
                    length = value
        return fields, marks, length

    def read_marked(self, line: bytes) -> tuple[F, int, bytes]:
        """The application's form of a field line (no CRLF), what it says to the connection, and its value
        if it says anything. It is remembered, in `read` or `marked`, unless it is a secret or frames a body.

        Raises Rejected(400) if the line is not in the grammar of RFC 9112 §5, or is wrong by itself. The
        caller has to know that there is no control character in it.
        """
        # hot: bench sync-real.
        name, colon, value = line.partition(b":")
        known = self._names.get(name) or self._read_name(name)
        if not colon:
            raise Rejected(400, "malformed field line (RFC 9112 §5)")
        value = value.strip(b" \t")
        form: Any = (known[0], self._value_form(value))
        kind = known[1]
        if not kind:
            if known[2] and len(line) <= LONGEST:
                known[2] -= 1
                if len(self.read) >= REMEMBERED:
                    self.read.clear()
                    self._names.clear()  # with it what each name may still have remembered
                self.read[line] = form
            return form, 0, b""
        mark = mark_of((kind, value))
        entry = (form, mark, value)
        if known[2] and len(line) <= LONGEST:
            remember(self.marked, line, entry)
        return entry

    def read_field(self, line: bytes) -> tuple[F, Special | None]:
        """The application's form of a field line (no CRLF), and what it means if it concerns the connection.

        Raises Rejected(400) if the line is not in the grammar of RFC 9112 §5.
        """
        name, colon, value = line.partition(b":")
        known = self._names.get(name) or self._read_name(name)
        if not colon:
            raise Rejected(400, "malformed field line (RFC 9112 §5)")
        if FORBIDDEN.search(value) is not None:
            raise Rejected(400, "control character in a field value (RFC 9110 §5.5)")
        value = value.strip(b" \t")
        kind = known[1]
        # Of what is dropped nothing but its presence matters.
        special = (kind, b"" if kind == DROPPED_KIND else value) if kind else None
        return self._pair(known[0], value), special

    def _read_name(self, name: bytes) -> list[Any]:
        """[the application's form of a field name, its Kind or 0, how many more lines to remember]."""
        if TOKEN.fullmatch(name) is None:
            raise Rejected(400, "malformed field line (RFC 9112 §5)")
        lower = name.lower()
        # CGI writes `-` as `_`, so X_Forwarded_For would speak for X-Forwarded-For behind a proxy's back.
        kind = FieldKind.DROPPED if b"_" in lower else KINDS.get(lower)
        lines = 0 if lower in FORGOTTEN else LINES_OF_NAME
        entry = [self._name_form(lower), 0 if kind is None else kind.value, lines]
        if len(name) <= LONGEST:
            remember(self._names, name, entry)
        return entry

    def _pair(self, name_form: object, value: bytes) -> F:
        return cast(F, (name_form, self._value_form(value)))

    def write_field(self, field: R) -> tuple[bytes, FieldNote | None]:
        """(`Name: value CRLF`, what it means if anything) of a response field as the application gave it.

        Raises AppMistake if it cannot stand in a response: a header that carries CR or LF would be two
        (response splitting, RFC 9110 §5.5). Without a context: that would be the look-up that did not find
        the field, and its message has the value, which may be a secret.
        """
        name, value = self._spell(field)
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
