"""The first fault in the bytes of a request head, complete or not.

The connection reads a complete head as a whole, which is fast; this reads it as it would have come in
one byte at a time, which is exact. It judges bytes that cannot become a head while they arrive (so that
a TLS handshake on this port is refused at once, not after a timeout), and it decides which fault a head
with several is refused for, so that the answer does not depend on how the bytes were split.
"""

import re

from appserve.errors import Rejected
from appserve.http.messages import Limits
from appserve.http.request_line import FORBIDDEN, TOKEN, is_viable, malformed_request_line, read_request_line

BARE = re.compile(rb"\n|\r(?!\Z)")
"""CR or LF inside what CRLF has split; a CR at the very end may be half of a CRLF to come."""


class HeadScan:
    """Follows one head line by line; called again with more bytes, it goes on where it stopped."""

    __slots__ = ("_limits", "_number", "_start")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._start = 0  # of the first line that was not complete yet
        self._number = 0  # of that line; 0 is the request line

    def find_end(self, data: bytes) -> int:
        """Where the blank line begins that ends the head in `data`, or -1 if it has not come yet.

        Raises Rejected for the first reason why no head can begin with `data`. Within a line the order is:
        characters that end it wrongly, then its length, then, once the line is complete, its grammar.
        """
        limits = self._limits
        while True:
            end = data.find(b"\r\n", self._start)
            complete = end >= 0
            line = data[self._start : end if complete else len(data)]
            if not complete and line[-1:] == b"\r":
                line = line[:-1]
            room = max(0, limits.head - self._start)
            if self._number == 0:
                _check_request_line(line, complete, limits)
            elif complete and not line:
                return end - 2
            else:
                _check_field(line, complete, room, self._number > limits.fields, limits)
            if not complete:
                return -1
            self._start = end + 2
            self._number += 1


def _check_request_line(line: bytes, complete: bool, limits: Limits) -> None:
    if not is_viable(line[: limits.request_line]):
        raise malformed_request_line(line)
    if len(line) > limits.request_line:
        raise limits.line_too_long()
    if complete:
        read_request_line(line)


def _check_field(line: bytes, complete: bool, room: int, surplus: bool, limits: Limits) -> None:
    """`room` is what is left for the whole head, `surplus` that enough lines came before this one."""
    size = min(limits.field_size, room)
    if BARE.search(line[:size]):
        raise Rejected(400, "bare CR or LF in the request head (RFC 9112 §2.2)")
    if len(line) > size:
        raise limits.field_too_long() if size == limits.field_size else limits.head_too_long()
    if not complete:
        return
    if surplus:
        raise limits.too_many_fields()
    name, colon, value = line.partition(b":")
    if not colon or TOKEN.fullmatch(name) is None:
        raise Rejected(400, "malformed field line (RFC 9112 §5)")
    if FORBIDDEN.search(value) is not None:
        raise Rejected(400, "control character in a field value (RFC 9110 §5.5)")
