"""What a case of the response side is: what an application answers, and what a client is to read."""

from dataclasses import dataclass
from enum import Enum

from tests.conformance.case import HOST, OPEN, Then, get, head

Field = tuple[bytes, bytes]


class Mistake(Enum):
    """Where the application is told that it broke a rule."""

    HEAD = "before anything was written: another response may be sent"
    BODY = "inside the response: it is broken off"


@dataclass(frozen=True, slots=True)
class Answer:
    """One response of an application to one request, and what a client is to read.

    body      bytes: given as a whole; a tuple: given in these pieces after the head
    received  the body that the client reads
    framing   how the client knows where the body ends: none, length, chunked, close
    has       (lower-case name, every value it must have, in order)
    short     bytes announced and not sent
    mistake   the application is told of a mistake instead
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


HEAD = head("HEAD / HTTP/1.1", HOST)
OLD = head("GET / HTTP/1.0")
OLD_KEPT = head("GET / HTTP/1.0", "Connection: keep-alive")
LAST = get("Connection: close")

LENGTH_OF_5 = ((b"content-length", b"5"),)


def mistaken(name: str, why: str, *fields: Field, status: int = 200) -> Answer:
    """A response whose head the application is told to be wrong."""
    return Answer(name, why, fields, b"hello", status=status, mistake=Mistake.HEAD)
