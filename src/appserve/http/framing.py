"""How the body of a response is delimited on the wire (RFC 9112 §6)."""

from enum import IntEnum

RESET_CONTENT = 205

BODILESS = frozenset({204, RESET_CONTENT, 304})
"""The final statuses whose responses never have a body (RFC 9110 §6.4.1, §15.3.6).

Peers look for one after a 205 all the same (RFC 9112 §6.3), so that says that its length is 0.
"""


class Framing(IntEnum):
    """What tells the peer where the body ends."""

    NONE = 0  # there is none: HEAD, 204, 205, 304
    LENGTH = 1  # Content-Length
    CHUNKED = 2
    CLOSE = 3  # the end of the connection, for HTTP/1.0


def response_framing(is_head: bool, is_1_1: bool, status: int, length: int) -> Framing:
    """How the body is delimited, given the announced `length` (-1 if none). Source: RFC 9112 §6.3."""
    if is_head or status in BODILESS:
        return Framing.NONE
    if length >= 0:
        return Framing.LENGTH
    return Framing.CHUNKED if is_1_1 else Framing.CLOSE
