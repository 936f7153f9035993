"""Field lines, read from requests and written into responses: each distinct line is judged once.

Clients repeat themselves: of a browser's sixteen fields fifteen are the same in its next request, and
behind a proxy in everybody's. So a line that passed the grammar is remembered with what it means, and
the next one costs a dictionary look-up. The memory is bounded, belongs to one process, and never holds
what must be judged afresh (framing fields) or kept secret (Cookie, Authorization).

The two kinds of application want fields in two forms, so a Fields is made with three functions: `name_form`
and `value_form` turn a request field into what the application is given, `spell` turns what the application
hands over into bytes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Generic, cast

from appserve.errors import AppMistake, Rejected
from appserve.http.grammar import FORBIDDEN, TOKEN
from appserve.http.limits import Limits
from appserve.http.memory import remember
from appserve.http.messages import F, R, RequestLine, Rules
from appserve.http.policy import FRAMING_KINDS, KINDS, Kind, Special, read_rules

VERSIONS = (b"HTTP/1.1", b"HTTP/1.0")

LONGEST = 256
"""Longer lines are not remembered: they are rarely repeated, and the memory stays below 1 MiB."""


DROPPED_KIND = Kind.DROPPED.value  # and beyond it SECRET

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


Note = tuple[int, int]
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
        "_spell",
        "_value_form",
        "_websocket_seen",
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
        self._names: dict[bytes, tuple[object, int, bool]] = {}
        self.request_lines: dict[bytes, RequestLine] = {}
        self.read: dict[bytes, tuple[F, Special | None]] = {}
        self.rules: dict[tuple[str | Special, ...], Rules] = {}
        self.written: dict[R, tuple[bytes, Note | None]] = {}

    def form(self, name: bytes, value: bytes) -> F:
        """What this request field becomes for the application."""
        return self._pair(self._read_name(name)[0], value)

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

    def read_rules(self, line: RequestLine, key: tuple[str | Special, ...], limits: Limits) -> Rules:
        """What the fields that concern the connection amount to, remembered if none of them frames the body.

        `key` is the version and those fields. Raises Rejected.
        """
        specials = cast(tuple[Special, ...], key[1:])
        rules = read_rules(line, specials, limits)
        if rules.upgrade and not self._websocket_seen:
            protocols = [offer.strip(b" \t") for offer in rules.upgrade.lower().split(b",")]
            self._websocket_seen = self.oddities.websocket_offered = b"websocket" in protocols
        if FRAMING_KINDS.isdisjoint(kind for kind, _ in specials):
            remember(self.rules, key, rules)
        return rules

    def read_field(self, line: bytes) -> tuple[F, Special | None]:
        """The application's form of a field line (no CRLF), and what it means if it concerns the connection.

        Raises Rejected(400) if the line is not in the grammar of RFC 9112 §5.
        """
        name, colon, value = line.partition(b":")
        if not colon:
            raise Rejected(400, "malformed field line (RFC 9112 §5)")
        name_form, kind, is_remembered = self._names.get(name) or self._read_name(name)
        if FORBIDDEN.search(value) is not None:
            raise Rejected(400, "control character in a field value (RFC 9110 §5.5)")
        value = value.strip(b" \t")
        # hot: bench sync-varied. As in _pair().
        form: Any = (name_form, self._value_form(value))
        special = None
        if kind:  # of secrets and of what is dropped nothing but their presence matters
            special = (kind, b"" if kind >= DROPPED_KIND else value)
        entry = (form, special)
        if is_remembered and len(line) <= LONGEST:
            remember(self.read, line, entry)
        return entry

    def _read_name(self, name: bytes) -> tuple[object, int, bool]:
        """(the application's form of a field name, its Kind or 0, whether its lines are remembered)."""
        if TOKEN.fullmatch(name) is None:
            raise Rejected(400, "malformed field line (RFC 9112 §5)")
        lower = name.lower()
        # CGI writes `-` as `_`, so X_Forwarded_For would speak for X-Forwarded-For behind a proxy's back.
        kind = Kind.DROPPED if b"_" in lower else KINDS.get(lower)
        entry = (self._name_form(lower), 0 if kind is None else kind.value, lower not in FORGOTTEN)
        if len(name) <= LONGEST:
            remember(self._names, name, entry)
        return entry

    def _pair(self, name_form: object, value: bytes) -> F:
        return cast(F, (name_form, self._value_form(value)))

    def write_field(self, field: R) -> tuple[bytes, Note | None]:
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
