"""A strict reader of responses: what is ambiguous, or more than asked for, is no response.

Written apart from the server, so that the two cannot share a misunderstanding.
"""

import re
from dataclasses import dataclass

STATUS_LINE = re.compile(rb"HTTP/1\.1 ([1-9][0-9]{2}) ([\t\x20-\x7e\x80-\xff]*)")
FIELD = re.compile(
    rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+): ?"
    rb"([\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?"
)
CHUNK_SIZE = re.compile(rb"[0-9a-f]{1,16}")


class Malformed(AssertionError):
    """Bytes that no client should have to make sense of."""


@dataclass(frozen=True, slots=True)
class Response:
    """One response. `framing` says how its body ended: none, length, chunked or close."""

    status: int
    reason: bytes
    fields: tuple[tuple[bytes, bytes], ...]
    body: bytes
    framing: str
    closes: bool

    def values(self, name: bytes) -> list[bytes]:
        """The values of the fields of this (lower-case) name."""
        return [value for field, value in self.fields if field == name]


def read_response(
    data: bytes, method: str, version: str = "1.1", *, ended: bool = False
) -> tuple[Response, bytes] | None:
    """(the response to `method`, what follows it), or None if it is not complete in `data`.

    `version` is the request's. `ended`: the connection has ended, nothing follows `data`. Raises Malformed.
    """
    text, end, rest = data.partition(b"\r\n\r\n")
    if not end:
        return None
    lines = text.split(b"\r\n")
    match = STATUS_LINE.fullmatch(lines[0])
    if match is None:
        raise Malformed(f"status line {lines[0]!r}")
    status, reason = int(match[1]), match[2]
    fields = tuple(map(_read_field, lines[1:]))
    names = [name for name, _ in fields]
    for single in (b"content-length", b"transfer-encoding", b"date", b"server"):
        if names.count(single) > 1:
            raise Malformed(f"{single!r} more than once in {text!r}")
    known = dict(fields)
    _check_framing(status, known, version)
    listed = b",".join(value for name, value in fields if name == b"connection")
    options = [option.strip().lower() for option in listed.split(b",")]
    if b"upgrade" in known and b"upgrade" not in options:
        raise Malformed("Upgrade without its connection option (RFC 9110 §7.8)")
    if version == "1.0" and status >= 200 and b"close" not in options and b"keep-alive" not in options:
        raise Malformed("an HTTP/1.0 client cannot know whether the connection stays open")
    framing, body = "none", b""
    if method == "HEAD" or status < 200 or status in {204, 304}:
        pass
    elif b"transfer-encoding" in known:
        decoded = _read_chunks(rest)
        if decoded is None:
            return None
        framing, (body, rest) = "chunked", decoded
    elif b"content-length" in known:
        length = int(known[b"content-length"])
        if len(rest) < length:
            return None
        framing, body, rest = "length", rest[:length], rest[length:]
    else:
        if b"close" not in options:
            raise Malformed("a body that the end of the connection ends, without Connection: close")
        if not ended:
            return None
        framing, body, rest = "close", rest, b""
    return Response(status, reason, fields, body, framing, b"close" in options), rest


def _read_field(line: bytes) -> tuple[bytes, bytes]:
    match = FIELD.fullmatch(line)
    if match is None:
        raise Malformed(f"field line {line!r}")
    return match[1].lower(), match[2] or b""


def _check_framing(status: int, known: dict[bytes, bytes], version: str) -> None:
    coding, length = known.get(b"transfer-encoding"), known.get(b"content-length")
    if coding is not None and length is not None:
        raise Malformed("Transfer-Encoding beside Content-Length (RFC 9112 §6.2)")
    if coding is not None and (coding != b"chunked" or version == "1.0" or status < 200 or status == 204):
        raise Malformed(f"Transfer-Encoding {coding!r} in a {status} to HTTP/{version} (RFC 9112 §6.1)")
    if length is not None and (not length.isdigit() or status < 200 or status == 204):
        raise Malformed(f"Content-Length {length!r} in a {status} (RFC 9110 §8.6)")
    if status == 205 and length != b"0":
        raise Malformed(f"Content-Length {length!r} in a 205 (RFC 9110 §15.3.6)")


def _read_chunks(data: bytes) -> tuple[bytes, bytes] | None:
    """(body, rest), or None if the last chunk has not come."""
    pieces: list[bytes] = []
    at = 0
    while (end := data.find(b"\r\n", at)) >= 0:
        size = data[at:end]
        if CHUNK_SIZE.fullmatch(size) is None:
            raise Malformed(f"chunk size {size!r}")
        start, length = end + 2, int(size, 16)
        at = start + length + 2
        if len(data) < at:
            return None
        if data[at - 2 : at] != b"\r\n":
            raise Malformed("a chunk that does not end with CRLF")
        pieces.append(data[start : start + length])
        if length == 0:
            return b"".join(pieces), data[at:]
    return None
