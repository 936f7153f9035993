"""What a case of the corpus is: bytes that a client sends, and everything that must come of them.

A case says what the application is to see and how the connection is to end, never how the bytes arrive:
the runners cut them up, and the verdict may not depend on it.
"""

from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from appserve.http.messages import CHUNKED, Limits

DEFAULT = Limits()
SMALL = Limits(request_line=64, fields=8, field_size=64, body=64)
"""Limits that a readable case can exceed; the wire runner starts servers with these two only."""

UNLIMITED = Limits(body=0)


class Then(Enum):
    """What becomes of the connection when all bytes of a case are in and the requests were answered."""

    OPEN = "waits for the next request"
    CLOSES = "closed by the server after the last response"
    WAITS = "waits for the rest of a message"
    ENDS = "closed, as the client ended its side between two messages"


OPEN, CLOSES, WAITS, ENDS = Then.OPEN, Then.CLOSES, Then.WAITS, Then.ENDS


@dataclass(frozen=True, slots=True)
class Rule:
    """Cases that are one thing to an operator: a row of the table in docs/http.md.

    what     what clients send
    why      the section of the RFC, or the attack
    example  a piece of one of its cases, as `shown` shows bytes
    """

    what: str
    why: str
    example: str = ""


NO_RULE = Rule("", "")


def shown(sent: bytes) -> str:
    """Bytes as the table shows them: line ends and all that is not ASCII as escapes."""
    return repr(sent)[2:-1].replace("\\'", "'")


@dataclass(frozen=True, slots=True)
class Request:
    """One request as the application is to see it.

    line      method, target as sent, and version, which a later one than 1.1 is not (RFC 9110 §2.5)
    fields    (lower-case name, value) of the fields that the case is about: lines of one name joined by
              a comma, None for a field that must not be there
    body      after de-chunking
    length    the framing that the head announces: a number of bytes, or CHUNKED
    raw_path  None if it is the target up to its query
    path      decoded; None if it is raw_path as it stands
    cut       the head was delivered and its body never completed
    """

    line: str
    fields: tuple[tuple[str, bytes | None], ...] = ()
    body: bytes = b""
    length: int = 0
    raw_path: str | None = None
    path: str | None = None
    query: str | None = None
    expects_continue: bool = False
    upgrade: bytes = b""
    cut: bool = False

    @property
    def method(self) -> str:
        return self.line.split(" ")[0]

    @property
    def target(self) -> str:
        return self.line.split(" ")[1]

    @property
    def version(self) -> str:
        return min(self.line.split(" ")[2].removeprefix("HTTP/"), "1.1")

    @property
    def expected_raw_path(self) -> str:
        return self.target.partition("?")[0] if self.raw_path is None else self.raw_path

    @property
    def expected_path(self) -> str:
        return self.expected_raw_path if self.path is None else self.path

    @property
    def expected_query(self) -> str:
        return self.target.partition("?")[2] if self.query is None else self.query


@dataclass(frozen=True, slots=True)
class Case:
    """Bytes of a client, and what must come of them.

    name            says the property; unique in the corpus
    why             the section of the RFC, or the attack, and in how far the choice is ours
    requests        seen by the application, in order; only the last may be cut
    then            the fate of the connection, or the status that the rest is refused with
    eof             the client ends its side after `sent`
    refused_method  the method of the head that is refused, as its client sees it: HEAD reads no body
    rule            what it is an instance of
    """

    name: str
    why: str
    sent: bytes
    requests: tuple[Request, ...]
    then: Then | int
    eof: bool = False
    limits: Limits = DEFAULT
    refused_method: str = "GET"
    rule: Rule = NO_RULE


def accepted(
    name: str,
    why: str,
    sent: bytes,
    *requests: Request,
    then: Then = OPEN,
    eof: bool = False,
    limits: Limits = DEFAULT,
) -> Case:
    """A case whose bytes are all right."""
    return Case(name, why, sent, requests, then, eof, limits)


def refused(
    name: str,
    why: str,
    sent: bytes,
    status: int,
    *before: Request,
    eof: bool = False,
    limits: Limits = DEFAULT,
    method: str = "GET",
) -> Case:
    """A case that ends with a refusal, after the requests before it were answered."""
    return Case(name, why, sent, before, status, eof, limits, method)


def rule(what: str, why: str, example: str, *cases: Case) -> tuple[Case, ...]:
    """These cases, as instances of one rule."""
    one = Rule(what, why, example)
    return tuple(replace(case, rule=one) for case in cases)


HOST = "Host: a.example"


def head(*lines: str) -> bytes:
    """These lines as a message head; characters up to U+00FF stand for bytes."""
    return "".join(line + "\r\n" for line in (*lines, "")).encode("latin-1")


def get(*fields: str) -> bytes:
    """A request for / with these field lines after its Host."""
    return head("GET / HTTP/1.1", HOST, *fields)


def post(*fields: str) -> bytes:
    """The head of a POST to / with these field lines after its Host."""
    return head("POST / HTTP/1.1", HOST, *fields)


def seen_get(*fields: tuple[str, bytes | None], **rest: Any) -> Request:
    """What the application sees of `get`."""
    return Request("GET / HTTP/1.1", fields, **rest)


def seen_post(body: bytes, *fields: tuple[str, bytes | None], **rest: Any) -> Request:
    """What the application sees of `post` with a body of known length."""
    rest.setdefault("length", len(body))
    return Request("POST / HTTP/1.1", fields, body, **rest)


def seen_chunked(body: bytes, *fields: tuple[str, bytes | None], **rest: Any) -> Request:
    """What the application sees of `post` with a chunked body."""
    return Request("POST / HTTP/1.1", fields, body, CHUNKED, **rest)


SMUGGLED = head("GET /smuggled HTTP/1.1", "Host: evil.example")
"""A whole request, to be hidden where none belongs."""
