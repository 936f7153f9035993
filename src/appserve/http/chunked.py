"""The chunked transfer coding, decoded (RFC 9112 §7.1).

Pull-style like the connection that owns it: it looks at the bytes at hand and says how many it used. Its
verdicts do not depend on how the bytes were split, because what may still become right is only waited
for, and what can no longer become right is refused at its first wrong byte.
"""

import re
from enum import IntEnum

from appserve.errors import Cause, Rejected
from appserve.http.messages import HEAD_SETTINGS, Limits
from appserve.http.request_line import FORBIDDEN, TOKEN

# Sizes of more than 16 digits are an attack on the integers of some reader. Blanks around the size (BWS) are
# refused: chunk parsers disagree about them.
SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,16})((?:;[\t\x20-\x7e\x80-\xff]*)?)")
# Extensions are not used here. But a reader that finds a line end inside of quotes that were not closed sees
# other chunks than a reader that does not, so what is no extension is refused.
EXTENSION_LIST = re.compile(
    rb"(?:[\t ]*;[\t ]*[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
    rb"(?:[\t ]*=[\t ]*(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
    rb'|"(?:[\t\x20\x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t\x20-\x7e\x80-\xff])*"))?)*'
)
VIABLE_SIZE_LINE = re.compile(rb"[0-9A-Fa-f]{0,16}(?:(?<=[0-9A-Fa-f]);[\t\x20-\x7e\x80-\xff]*)?\r?")

EXTENSION = 256
"""Bytes that one chunk's extensions may have; hardly any client sends them but for an attack."""
EXTENSIONS = 16384
"""Bytes that all extensions of one body may have together."""


class _Expect(IntEnum):
    SIZE = 0
    DATA = 1
    DATA_END = 2
    TRAILER = 3
    DONE = 4


# hot: see messages.END. A body may come in chunks of one byte.
SIZE, DATA, DATA_END, TRAILER = _Expect.SIZE, _Expect.DATA, _Expect.DATA_END, _Expect.TRAILER


class ChunkedBody:
    """One chunked request body. `done` is true once the last CRLF of its trailer section was taken."""

    __slots__ = (
        "_expect",
        "_extensions",
        "_fault",
        "_left",
        "_limits",
        "_total",
        "_trailers",
        "_trailers_size",
        "done",
    )

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._expect = SIZE
        self._fault: Rejected | None = None  # found behind data that was given first
        self._left = 0
        self._total = 0
        self._extensions = 0
        self._trailers = 0
        self._trailers_size = 0
        self.done = False

    def next_data(self, buffer: bytes) -> tuple[bytes, int]:
        """(body bytes, how many bytes of `buffer` were used): the data of all chunks at hand, as one.

        No bytes and not `done` means that more input is needed; the caller keeps what was not used.
        Raises Rejected: 400 for the coding, 413 for the body's size, 431 for the trailer section's; the data
        before the fault was given by then.
        """
        if self._fault is not None:
            raise self._fault
        pieces: list[bytes] = []
        try:
            used = self._read_chunks(buffer, pieces)
        except Rejected as fault:
            if not pieces:
                raise
            self._fault = fault
            used = len(buffer)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces), used

    def _read_chunks(self, buffer: bytes, pieces: list[bytes]) -> int:
        """Append the data to `pieces`; gives how many bytes of `buffer` were used."""
        used = 0
        while True:
            expect = self._expect
            if expect is DATA:
                data = buffer[used : used + self._left]
                if not data:
                    return used
                pieces.append(data)
                used += len(data)
                self._left -= len(data)
                if not self._left:
                    self._expect = DATA_END
            elif expect is DATA_END:
                end = buffer[used : used + 2]
                if end != b"\r\n"[: len(end)]:
                    raise Rejected(400, "chunk data is longer than its size (RFC 9112 §7.1)", Cause.FRAMING)
                if len(end) < 2:
                    return used
                used += 2
                self._expect = SIZE
            elif expect is SIZE:
                end_of_line = buffer.find(b"\n", used)
                if end_of_line < 0:
                    self._check_partial_size_line(buffer[used : used + EXTENSION + 18])
                    return used
                self._read_size_line(buffer[used : end_of_line + 1])
                used = end_of_line + 1
            elif expect is TRAILER:
                end_of_line = buffer.find(b"\n", used)
                if end_of_line < 0:
                    self._check_trailer_size(len(buffer) - used)
                    return used
                self._read_trailer(buffer[used : end_of_line + 1])
                used = end_of_line + 1
            else:
                return used

    def _check_partial_size_line(self, line: bytes) -> None:
        if VIABLE_SIZE_LINE.fullmatch(line) is None or len(line) > EXTENSION + 17:
            raise Rejected(400, "malformed chunk size (RFC 9112 §7.1)", Cause.FRAMING)

    def _read_size_line(self, line: bytes) -> None:
        match = SIZE_LINE.fullmatch(line[:-2]) if line[-2:] == b"\r\n" else None
        if match is None or len(match[2]) > EXTENSION:
            raise Rejected(400, "malformed chunk size (RFC 9112 §7.1)", Cause.FRAMING)
        if match[2]:
            self._check_extensions(match[2])
        self._left = int(match[1], 16)
        self._total += self._left
        if self._limits.body and self._total > self._limits.body:
            raise self._limits.body_too_long()
        self._expect = DATA if self._left else TRAILER

    def _check_extensions(self, extensions: bytes) -> None:
        self._extensions += len(extensions)
        if self._extensions > EXTENSIONS:
            raise Rejected(400, "too many chunk extensions (RFC 9112 §7.1.1)", Cause.FRAMING)
        if EXTENSION_LIST.fullmatch(extensions) is None:
            raise Rejected(400, "malformed chunk extension (RFC 9112 §7.1.1)", Cause.FRAMING)

    def _check_trailer_size(self, pending: int) -> None:
        limits = self._limits
        left = limits.head - self._trailers_size
        if pending > left <= limits.field_size:
            raise Rejected(431, f"trailer section longer than {limits.head} bytes ({HEAD_SETTINGS})")
        if pending > limits.field_size + 1:
            size = limits.field_size
            raise Rejected(431, f"trailer field longer than {size} bytes (--limit-request-field-size)")

    def _read_trailer(self, line: bytes) -> None:
        """Judges one trailer line and drops it: a trailer never becomes a field of the head.

        A server that merged them would let a client add X-Forwarded-For after the proxy looked.
        """
        self._check_trailer_size(len(line) - 1)
        self._trailers_size += len(line)
        if line == b"\r\n":
            self._expect = _Expect.DONE
            self.done = True
            return
        self._trailers += 1
        if self._trailers > self._limits.fields:
            most = self._limits.fields
            raise Rejected(431, f"more than {most} trailer fields (--limit-request-fields)")
        name, colon, value = line[:-2].partition(b":")
        if line[-2:] != b"\r\n" or not colon or TOKEN.fullmatch(name) is None or FORBIDDEN.search(value):
            raise Rejected(400, "malformed trailer field (RFC 9112 §7.1.2)", Cause.FRAMING)
