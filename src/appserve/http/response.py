"""The response half of an HTTP/1.1 connection: what the application answers in, bytes for the wire out.

It knows of the request what decides the framing of its response: the version, whether it was HEAD, and
whether the peer still waits for a 100. Nothing ambiguous ever leaves here, whatever the application says:
Transfer-Encoding and Connection are this server's, a second Content-Length is a mistake, a body longer
than announced is not written, and one that ends short closes the connection.
"""

from collections.abc import Iterable
from enum import IntEnum
from typing import Final, Generic

from appserve.errors import AppMistake
from appserve.http.date import DateFields
from appserve.http.fields import FieldNote, Fields, Meaning
from appserve.http.messages import WRITING_BODY, WRITING_DONE, WRITING_HEAD, F, R, RequestLine, Rules
from appserve.http.status import STATUS_LINES

RESET_CONTENT: Final = 205

BODILESS: Final = frozenset({204, RESET_CONTENT, 304})
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


LAST_CHUNK = b"0\r\n\r\n"

# hot: see messages.END.
FRAMING_NONE: Final = Framing.NONE
FRAMING_LENGTH: Final = Framing.LENGTH
FRAMING_CHUNKED: Final = Framing.CHUNKED
LENGTH: Final = 1  # Meaning.LENGTH as a plain int: an enum is slow to compare


class ResponseWriter(Generic[F, R]):
    """Writes the responses of a connection, one after the other.

    writing       how far the current one is
    closes        the connection ends after it, whatever else comes in
    continue_due  the peer waits for a 100 and has sent nothing of its body
    body_sent     bytes of its body so far, without its framing
    short         bytes that the application announced and did not send
    """

    __slots__ = (
        "_fields",
        "_framing",
        "_head_closes",
        "_is_1_1",
        "_is_head_request",
        "_left_to_write",
        "body_sent",
        "closes",
        "continue_due",
        "date_fields",
        "short",
        "writing",
    )

    def __init__(self, fields: Fields[F, R], date_fields: DateFields) -> None:
        self._fields = fields
        self.date_fields = date_fields
        self._is_1_1 = True
        self._is_head_request = False
        self.continue_due = False
        self.closes = False
        self._head_closes = False  # the application says so in the fields that were written last
        self._framing = FRAMING_NONE
        self._left_to_write = 0
        self.writing = WRITING_HEAD
        self.body_sent = 0
        self.short = 0

    def answer(self, line: RequestLine, rules: Rules) -> None:
        """The next response is to this request."""
        # hot: bench sync-hello.
        self._is_1_1 = rules.version == "1.1"
        self._is_head_request = line.method == "HEAD"
        self.continue_due = rules.expects_continue
        self.writing = WRITING_HEAD
        if rules.closes:
            self.closes = True

    def answer_refused(self, first_line: bytes) -> None:
        """The next response is to a head that is refused, of which this is the first line."""
        self._is_head_request = first_line[:5] == b"HEAD "

    def close_after_response(self) -> None:
        """Let this response (or the next, when idle) be the last one: it says `Connection: close`."""
        self.closes = True

    def send_informational(self, status: int, fields: Iterable[R] = ()) -> bytes:
        """An interim response, 100 or 103 (RFC 9110 §15.2); empty for HTTP/1.0, which knows none."""
        if self.writing is not WRITING_HEAD:
            raise AppMistake("an informational response after the response has started")
        if status == 100:
            self.continue_due = False
        if not self._is_1_1:
            return b""
        lines = [STATUS_LINES[status]]
        for field in fields:
            text, note = self._fields.write_field(field)
            if note is None:  # it has neither framing nor options of the connection (RFC 9112 §6.1)
                lines.append(text)
        return b"".join(lines) + b"\r\n"

    def start_response(
        self, status: int, fields: Iterable[R], status_line: bytes = b"", data: bytes = b""
    ) -> bytes:
        """The head of the response, and `data`, which begins a body that goes on. `status_line` (with CRLF)
        replaces the usual one of `status`.

        Raises AppMistake if the fields cannot stand in a response, the status is not 200 to 999, or `data` is
        longer than the announced length; nothing was written then, and another response may be started.
        """
        parts = [status_line or STATUS_LINES.get(status, b""), self.date_fields.date_server]
        return self.start_with(parts, status, self.write_fields(parts, status, fields), data)

    def start_with(
        self, parts: list[bytes], status: int, length: int, data: bytes = b"", body_length: int = -1
    ) -> bytes:
        """`start_response` for a head that write_fields() has begun. `body_length`, if it is known, becomes
        the Content-Length that the application left out."""
        parts = parts.copy()
        self._end_head(parts, status, length, body_length)
        if data:
            try:
                parts.append(self.send_body(data, True))
            except AppMistake:
                self.writing = WRITING_HEAD
                raise
        return b"".join(parts)

    def respond(self, status: int, fields: Iterable[R], body: bytes, status_line: bytes = b"") -> bytes:
        """The whole response at once: with its length known, it needs neither chunks nor a close.

        Raises AppMistake as `start_response` does, and if `body` is longer than an announced length.
        """
        parts = [status_line or STATUS_LINES.get(status, b""), self.date_fields.date_server]
        return self.respond_with(parts, status, self.write_fields(parts, status, fields), body)

    def respond_with(self, parts: list[bytes], status: int, length: int, body: bytes) -> bytes:
        """`respond` for a head that write_fields() has begun."""
        size = len(body)
        if length == size and not (
            self.closes
            or self._head_closes
            or self.continue_due
            or not self._is_1_1
            or self._is_head_request
            or status in BODILESS
        ):
            # hot: bench sync-hello. The application's length is right, and nothing is to be added.
            parts.append(b"\r\n")
            parts.append(body)
            self.body_sent = size
            self.writing = WRITING_DONE
            return b"".join(parts)
        parts = parts.copy()
        self._end_head(parts, status, length, size)
        if self._framing is not FRAMING_NONE:
            if size > self._left_to_write:
                self.writing = WRITING_HEAD  # none of it is sent: another response may be
                raise AppMistake(_too_long(self._left_to_write))
            self._left_to_write -= size
            self.body_sent = size
            parts.append(body)
        self._finish()
        return b"".join(parts)

    def write_fields(self, parts: list[bytes], status: int, fields: Iterable[R]) -> int:
        """Append the application's fields to `parts`, so far the status line, Date and Server; gives the
        Content-Length among them or -1.

        Nothing is begun by it: a head that was made may be dropped for another. Raises AppMistake as
        `start_response` does.
        """
        # hot: bench sync-hello. One look-up for each field that was written before.
        if self.writing is not WRITING_HEAD:
            raise AppMistake("the response has started already")
        if not 200 <= status <= 999:
            raise AppMistake(f"{status} is not the status of a final response (RFC 9110 §15)")
        length = -1
        if self._head_closes:  # it was in a head that this one replaces
            self._head_closes = False
        written = self._fields.written
        for field in fields:
            try:
                entry = written.get(field)
            except TypeError:
                entry = None  # it has no hash: a list of two
            # Not in a handler: the field, which may be a secret, would be in the traceback of a mistake.
            text, note = entry or self._fields.write_field(field)
            if note is None:
                parts.append(text)
            elif note[0] == LENGTH:
                if length >= 0:
                    raise AppMistake("two Content-Length headers in one response (RFC 9110 §8.6)")
                length = note[1]
                parts.append(text)
            else:
                self._apply(parts, text, note)
        return length

    def _end_head(self, parts: list[bytes], status: int, length: int, body_length: int) -> None:
        """Append how the body is delimited, what becomes of the connection, and the end of the head."""
        if length < 0 or self._is_head_request or status in BODILESS:
            length = self._add_framing(parts, status, length, body_length)
        else:
            self._framing = FRAMING_LENGTH
        self._left_to_write = length
        self.body_sent = 0
        if self.continue_due:
            # The peer waits for a 100 that will not come; it may send the body or not, so it is not
            # known where its next request begins (RFC 9110 §10.1.1).
            self.closes = True
        if self._head_closes:
            self.closes = True
        if self.closes:
            parts.append(b"Connection: close\r\n")
        elif not self._is_1_1:
            parts.append(b"Connection: keep-alive\r\n")
        parts.append(b"\r\n")
        self.writing = WRITING_BODY

    def _apply(self, parts: list[bytes], text: bytes, note: FieldNote) -> None:
        """A field that this server writes as well, or alone (the hop-by-hop ones, RFC 9110 §7.6.1)."""
        meaning, number = note
        if meaning == Meaning.DATE or meaning == Meaning.SERVER:
            # Of two the first counts: neither field is a list (RFC 9110 §5.3). Ours is found by its name,
            # since another thread may have renewed them by now.
            ours = parts[1].find(b"Date: " if meaning == Meaning.DATE else b"Server: ")
            if ours >= 0:
                end = parts[1].index(b"\r\n", ours) + 2
                parts[1] = parts[1][:ours] + parts[1][end:]
                parts.append(text)
        elif meaning == Meaning.UPGRADE:
            # The protocols that the application offers, as in a 426. Upgrade has to be a Connection option
            # too (RFC 9110 §7.8), and the options are ours.
            parts.append(text + b"Connection: upgrade\r\n")
        elif number:
            self._head_closes = True

    def _add_framing(self, parts: list[bytes], status: int, length: int, body_length: int) -> int:
        """Decide what delimits the body when the application's length does not; gives the length or -1.

        `body_length` is -1 unless the whole body is at hand; then a length that the application left out is
        known. To HEAD only a body says what GET's would be, and to 204 and 304 none does; that of a 205 is 0.
        """
        is_known = length < 0 <= body_length and status not in BODILESS
        if is_known and (body_length or not self._is_head_request):
            length = body_length
            parts.append(b"Content-Length: %d\r\n" % length)
        elif length >= 0 and (status == 204 or status == RESET_CONTENT):
            parts[:] = [part for part in parts if not part.lower().startswith(b"content-length:")]
        if status == RESET_CONTENT:
            parts.append(b"Content-Length: 0\r\n")
        self._framing = response_framing(self._is_head_request, self._is_1_1, status, length)
        if self._framing is FRAMING_CHUNKED:
            parts.append(b"Transfer-Encoding: chunked\r\n")
        elif self._framing is Framing.CLOSE:
            self.closes = True
        return length

    def send_body(self, data: bytes, more: bool) -> bytes:
        """`data` as it goes onto the wire; `more` is false with the last of it.

        A body longer than its Content-Length raises AppMistake and nothing of `data` is written; one that
        ends short sets `short`, and the connection must be closed: the peer still waits.
        Source: RFC 9112 §6.3, PEP 3333 "Handling the Content-Length Header".
        """
        if self.writing is not WRITING_BODY:
            raise AppMistake("body data outside of a response")
        framing = self._framing
        if framing is not FRAMING_NONE:
            self.body_sent += len(data)
        if framing is FRAMING_LENGTH:
            if len(data) > self._left_to_write:
                self.closes = True
                self.body_sent -= len(data)
                raise AppMistake(_too_long(self._left_to_write))
            self._left_to_write -= len(data)
        elif framing is FRAMING_CHUNKED:
            if data:
                data = b"%x\r\n%b\r\n" % (len(data), data)
            if not more:
                data += LAST_CHUNK
        elif framing is FRAMING_NONE:
            data = b""
        if not more:
            self._finish()
        return data

    def frame_file(self, size: int, more: bool) -> tuple[bytes, int, bytes]:
        """Body bytes that the shell sends itself, from a file that has `size` of them: what goes before them,
        how many of them go, and what goes after. `more` is false with the last of the body.

        Of a file that is longer than what is left of the Content-Length only so much goes.
        Source: PEP 3333 "Optional Platform-Specific File Handling".
        """
        if self.writing is not WRITING_BODY:
            raise AppMistake("body data outside of a response")
        before = after = b""
        framing = self._framing
        if framing is FRAMING_NONE:
            size = 0
        elif framing is FRAMING_LENGTH:
            size = min(size, self._left_to_write)
            self._left_to_write -= size
        elif framing is FRAMING_CHUNKED:
            if size:
                before, after = b"%x\r\n" % size, b"\r\n"
            if not more:
                after += LAST_CHUNK
        self.body_sent += size
        if not more:
            self._finish()
        return before, size, after

    def fall_short(self, missing: int) -> None:
        """The last `missing` bytes that frame_file() announced are not to be had: the connection must end."""
        self.body_sent -= missing
        self.short += missing
        self.abandon_response()

    @property
    def left_to_write(self) -> int:
        """Body bytes that can still be sent: what is left of the announced Content-Length, 0 where there is
        no body, -1 for any number."""
        if self._framing is FRAMING_LENGTH:
            return self._left_to_write
        return 0 if self._framing is FRAMING_NONE else -1

    @property
    def is_bodiless(self) -> bool:
        """Whether the response that has begun has no body, whatever the application gives: that to HEAD, a
        204, a 205, a 304."""
        return self._framing is FRAMING_NONE

    @property
    def ends_by_close(self) -> bool:
        """Whether the end of the connection is the end of this response's body: then nothing but a reset
        tells the peer that it was cut short."""
        return self._framing is Framing.CLOSE and self.writing is not WRITING_HEAD

    def abandon_response(self) -> None:
        """The response will not be completed: the peer learns it from a close without the body's end."""
        self.closes = True
        self.writing = WRITING_DONE

    def reject(self, status: int, reason: str) -> bytes:
        """A response of our own that ends the connection; nothing if the application's had started.

        `reason` is shown to the peer; it is ours, never the peer's bytes.
        """
        self.closes = True
        is_first = self.writing is WRITING_HEAD
        self.writing = WRITING_DONE
        if not is_first:
            return b""
        text = f"{status} {reason}\n".encode()
        parts = [
            STATUS_LINES[status],
            self.date_fields.date_server,
            b"Content-Type: text/plain; charset=utf-8\r\n",
        ]
        parts.append(b"Content-Length: %d\r\nConnection: close\r\n\r\n" % len(text))
        self.body_sent = 0
        if not self._is_head_request:
            parts.append(text)
            self.body_sent = len(text)
        return b"".join(parts)

    def _finish(self) -> None:
        self.writing = WRITING_DONE
        if self._framing is FRAMING_LENGTH and self._left_to_write:
            self.short = self._left_to_write
            self.closes = True


def _too_long(left: int) -> str:
    return f"the response body is longer than its Content-Length: only the remaining {left} bytes were sent"
