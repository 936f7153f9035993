"""A second reading of requests: where RFC 9112 puts their boundaries in some bytes.

It is made from the grammar by regular expressions, shares nothing with the server, remembers nothing and
knows no limits. What it finds ambiguous or malformed ends it, so it may find fewer requests than were sent;
a server that sees one that is not here has seen one that was not sent.
"""

import re
from dataclasses import dataclass

TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
REQUEST_LINE = re.compile(rb"(%b) ([\x21-\x7e]+) HTTP/1\.([0-9])\r\n" % TOKEN)
FIELD_LINE = re.compile(rb"(%b):([\t\x20-\x7e\x80-\xff]*)\r\n" % TOKEN)
QUOTED = rb'"(?:[\t\x20!\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t\x20-\x7e\x80-\xff])*"'
EXTENSION = rb"[\t ]*;[\t ]*%b(?:[\t ]*=[\t ]*(?:%b|%b))?" % (TOKEN, TOKEN, QUOTED)
CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]+)(?:%b)*\r\n" % EXTENSION)

Field = tuple[bytes, bytes]


@dataclass(frozen=True, slots=True)
class Framed:
    """One request: `sent[start:end]`. What there is of its body if it is not `complete`."""

    method: bytes
    target: bytes
    minor: int
    fields: tuple[Field, ...]
    body: bytes
    start: int
    end: int
    complete: bool

    def values(self, name: bytes) -> list[bytes]:
        """The values of the fields of this (lower-case) name."""
        return [value for field, value in self.fields if field == name]

    @property
    def is_last(self) -> bool:
        """Whether no request can follow it on its connection (RFC 9112 §9.3): it says so, or offers another
        protocol, or has a body in HTTP/1.0 that a recipient might not look for."""
        options = _options(self.values(b"connection"))
        if self.minor == 0:
            unsure = self.method in (b"GET", b"HEAD", b"DELETE") and bool(self.body or not self.complete)
            return b"close" in options or b"keep-alive" not in options or unsure
        offers = b",".join(self.values(b"upgrade")).strip(b", \t")
        return b"close" in options or (b"upgrade" in options and offers != b"")


def _options(values: list[bytes]) -> list[bytes]:
    return [option.strip(b" \t") for option in b",".join(values).lower().split(b",")]


def _is_abused(method: bytes, fields: list[Field], has_body: bool) -> bool:
    """Whether it is a TRACE with a body, or its Connection names what it must not."""
    abused = re.compile(rb"host|content-length|transfer-encoding|forwarded|x-forwarded-.*", re.DOTALL)
    options = _options([value for name, value in fields if name == b"connection"])
    return (method == b"TRACE" and has_body) or any(abused.fullmatch(option) for option in options)


def read_requests(sent: bytes) -> list[Framed]:
    """The requests at the beginning of `sent`, up to the last one, or one that is not in order."""
    found: list[Framed] = []
    at = 0
    while True:
        while sent.startswith(b"\r\n", at):
            at += 2
        framed = _read_request(sent, at)
        if framed is None:
            return found
        found.append(framed)
        if not framed.complete or framed.is_last:
            return found
        at = framed.end


def _read_request(sent: bytes, start: int) -> Framed | None:
    line = REQUEST_LINE.match(sent, start)
    if line is None:
        return None
    fields: list[Field] = []
    at = line.end()
    while (field := FIELD_LINE.match(sent, at)) is not None:
        fields.append((field[1].lower(), field[2].strip(b" \t")))
        at = field.end()
    if not sent.startswith(b"\r\n", at):
        return None
    minor = int(line[3])
    body = _read_body(sent, at + 2, minor, fields)
    if body is None or _is_abused(line[1], fields, body[1] > at + 2 or not body[2]):
        return None
    return Framed(line[1], line[2], minor, tuple(fields), body[0], start, *body[1:])


def _read_body(sent: bytes, at: int, minor: int, fields: list[Field]) -> tuple[bytes, int, bool] | None:
    """(body, where it ends, whether it is complete); None if the head does not say it in one way."""
    lengths = [value for name, value in fields if name == b"content-length"]
    codings = [value.lower() for name, value in fields if name == b"transfer-encoding"]
    if codings:
        if codings != [b"chunked"] or lengths or minor == 0:
            return None
        return _read_chunks(sent, at)
    if not lengths:
        return b"", at, True
    if len(lengths) > 1 or re.fullmatch(rb"[0-9]+", lengths[0]) is None:
        return None
    end = at + int(lengths[0])
    return sent[at:end], min(end, len(sent)), end <= len(sent)


def _read_chunks(sent: bytes, at: int) -> tuple[bytes, int, bool]:
    body = b""
    while (line := CHUNK_LINE.match(sent, at)) is not None:
        size = int(line[1], 16)
        at = line.end()
        if not size:
            while (trailer := FIELD_LINE.match(sent, at)) is not None:
                at = trailer.end()
            return body, at + 2, sent.startswith(b"\r\n", at)
        body += sent[at : at + size]
        at += size
        if not sent.startswith(b"\r\n", at):
            break
        at += 2
    return body, at, False
