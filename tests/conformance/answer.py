"""What a case of the response side is: what an application answers, and what a client is to read."""

from dataclasses import dataclass, replace
from enum import Enum

from tests.conformance.case import HOST, OPEN, Then, get, head

Field = tuple[bytes, bytes]


class Mistake(Enum):
    """Where the application gets the error that it broke a rule."""

    HEAD = "before anything was written: another response may be sent"
    BODY = "inside the response: it is broken off"


@dataclass(frozen=True, slots=True)
class AnswerRule:
    """Answers that are one thing to the author of an application: a row of the table in docs/http.md.

    what   what the application says
    why    the section of the RFC, or the attack
    comes  what the client reads
    """

    what: str
    why: str
    comes: str


NO_RULE = AnswerRule("", "", "")


@dataclass(frozen=True, slots=True)
class Answer:
    """One response of an application to one request, and what a client is to read.

    body      bytes: given as a whole; a tuple: given in these pieces after the head
    received  the body that the client reads
    framing   how the client knows where the body ends: none, length, chunked, close
    has       (lower-case name, every value it must have, in order)
    short     bytes announced and not sent
    mistake   the application gets an error instead
    rule      what it is an instance of
    """

    name: str
    why: str
    fields: tuple[Field, ...]
    body: bytes | tuple[bytes, ...]
    received: bytes = b""
    framing: str = "length"
    status: int = 200
    request: bytes = get()
    has: tuple[tuple[bytes, tuple[bytes, ...]], ...] = ()
    then: Then = OPEN
    short: int = 0
    mistake: Mistake | None = None
    rule: AnswerRule = NO_RULE


HEAD = head("HEAD / HTTP/1.1", HOST)
OLD = head("GET / HTTP/1.0")
OLD_KEPT = head("GET / HTTP/1.0", "Connection: keep-alive")
LAST = get("Connection: close")

LENGTH_OF_5 = ((b"content-length", b"5"),)


def mistaken(name: str, why: str, *fields: Field, status: int = 200) -> Answer:
    """A response whose head is an error for the application."""
    return Answer(name, why, fields, b"hello", status=status, mistake=Mistake.HEAD)


def answers(what: str, why: str, comes: str, *cases: Answer) -> tuple[Answer, ...]:
    """These answers, as instances of one rule."""
    one = AnswerRule(what, why, comes)
    return tuple(replace(case, rule=one) for case in cases)
