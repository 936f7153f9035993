"""One HTTP/1.1 connection, seen from the server, without I/O: the sync and asgi workers are shells around it.

Bytes go in by `receive_data` and `receive_eof`, which never fail; `next_event` says what they mean, one
event at a time, and raises Rejected only when it reaches the fault, so the good requests before it are
answered. The response goes out as bytes that `start_response`, `send_body` and their siblings return.

Nothing is parsed before its event is wanted. A head is checked line by line while it arrives, and read as a
whole once it is complete; so no verdict depends on how the bytes were split, a thousand pipelined requests
wait as bytes, and no second request is begun before the first was answered.

Two readers must agree on every head: llhttp reads it in C, and we take it apart at its CRLFs, where a line
that was seen before costs one look-up. Bodies are ours alone (a count, or chunked.py): llhttp ends a
message at an Upgrade it cannot know to be declined, and would read the body as the next request.
"""

from typing import Any, Final, Generic, NoReturn

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from appserve.errors import Cause, Rejected
from appserve.http.chunked import ChunkedBody
from appserve.http.date import DateFields
from appserve.http.fields import Fields
from appserve.http.head import HeadScan
from appserve.http.messages import (
    CHUNKED,
    CLOSED,
    END,
    NEED_DATA,
    PAUSED,
    READING_BODY,
    READING_CLOSED,
    READING_DONE,
    READING_END,
    READING_FAULT,
    READING_HEAD,
    SMALLEST_HEAD,
    WRITING_DONE,
    WRITING_HEAD,
    Event,
    F,
    Limits,
    R,
    RequestHead,
    RequestLine,
    Rules,
)
from appserve.http.request_line import METHODS
from appserve.http.response import ResponseWriter

BLANK_LINES = 2
"""Empty lines that may stand before a request line (RFC 9112 §2.2 asks for one, for old clients)."""

LONGEST_BLOCK: Final = 4096
"""Longer heads are not held for comparison with the next one: memory that every idle connection would pay.
Only those are that are as long as the one before."""

STAND_IN = b"\r\nHost: stand-in\r\n\r\n"
"""Fields for a request line that llhttp reads alone."""

END_OF_HEAD: Final = b"\r\n\r\n"


class _Silent:
    """llhttp gives its verdict only, so it has no callbacks."""


_SILENT = _Silent()


class Http1Connection(Generic[F, R]):
    """The state of one connection: Reading × Writing, and the bytes not read yet.

    A cycle is one request and its response; `start_next_cycle` may be called when `keeps_alive`.
    """

    __slots__ = (
        "_blank_lines",
        "_chunks",
        "_eof",
        "_fault",
        "_fields",
        "_held",
        "_last_size",
        "_left_to_read",
        "_limits",
        "_llhttp",
        "_scan",
        "body_received",
        "cycle",
        "is_last",
        "reading",
        "refused",
        "response",
        "unread",
    )

    def __init__(self, limits: Limits, fields: Fields[F, R], date_fields: DateFields) -> None:
        self._fields = fields
        self.response = ResponseWriter(fields, date_fields)
        self._limits = limits
        self._llhttp: HttpRequestParser | None = HttpRequestParser(_SILENT)
        self.unread = b""  # what was received and not read yet
        self._eof = False
        self._fault: Rejected | None = None
        self._blank_lines = 0
        self._scan: HeadScan | None = None  # while a head comes in pieces
        # Of the last head, if it is held: from the end of its first line to its own, and what that means.
        self._held: tuple[bytes, F, dict[Any, Any], Rules] | None = None
        self._last_size = 0  # of that part of the last head, held or not: it may come again
        self.cycle = 0  # how many requests came before this one
        self.is_last = False  # the peer has said that it sends no request after this one
        self.reading = READING_HEAD
        self.refused = b""  # the first line of a head that was refused, for the access log
        self._left_to_read = 0
        self._chunks: ChunkedBody | None = None
        self.body_received = 0  # bytes of this request's body so far, de-chunked

    # ── reading ──

    def receive_data(self, data: bytes) -> None:
        """Take in what the peer sent. Never raises."""
        self.unread = self.unread + data if self.unread else data

    def receive_eof(self) -> None:
        """The peer ended its side (FIN). It may still read what we send. Never raises."""
        self._eof = True

    @property
    def buffered(self) -> int:
        """Bytes that were received and not read yet: a shell stops reading its socket above some bound."""
        return len(self.unread)

    @property
    def is_read(self) -> bool:
        """Whether this request has been received as a whole."""
        return self.reading is READING_END or self.reading is READING_DONE

    @property
    def may_send_more(self) -> bool:
        """Whether the peer may still be sending: to close now could reset the connection, and the peer would
        lose what it has not read of our last response (RFC 9112 §9.6)."""
        return not self._eof and (not self.is_last or not self.is_read or bool(self.unread))

    @property
    def is_idle(self) -> bool:
        """Whether not a byte of a next request has come in."""
        return self.reading is READING_HEAD and not self.unread

    @property
    def lacks_head(self) -> bool:
        """Whether more must come before the head that has begun can be read."""
        return self.reading is READING_HEAD and not self._eof and END_OF_HEAD not in self.unread

    def next_event(self) -> RequestHead[F] | bytes | Event:
        """What the bytes received so far mean next.

        A RequestHead, then its body as non-empty bytes, then Event.END; Event.NEED_DATA when more must come
        first, Event.PAUSED when the response must be completed first, Event.CLOSED when no further request
        will come. Raises Rejected when the input reaches a fault; from then on always.
        """
        reading = self.reading
        if reading is READING_HEAD:
            # hot: bench sync-hello. A whole head in one piece; whatever else is for _await_head.
            if self._scan is None:
                buffer = self.unread
                held = self._held
                if held is not None and buffer.endswith(held[0]):
                    # The very field lines of this connection's last request: a client that asks for the next
                    # thing says the rest as before (HTTP/2 has HPACK for that). They frame no body.
                    block, fields, values, rules = held
                    first = buffer[: -len(block)]
                    line = self._fields.request_lines.get(first) or self._read_line_alone(first)
                    if line is not None and line.version == rules.version:
                        self.unread = b""
                        self.response.answer(line, rules)
                        self.reading = READING_END
                        return RequestHead(line, self._fields.copy(fields), values, rules)
                end = buffer.find(END_OF_HEAD)
                if end > 0 and buffer[0] > 32:
                    return self._read_head(buffer, end)
            return self._await_head()
        if reading is READING_BODY:
            return self._read_body()
        if reading is READING_END:
            self.reading = READING_DONE
            return END
        if self._fault is not None:
            raise self._fault
        return CLOSED if self.reading is READING_CLOSED else PAUSED

    def _await_head(self) -> RequestHead[F] | Event:
        """No whole head in one piece: skip blank lines, follow what comes, refuse what cannot become one."""
        while self.unread[:2] == b"\r\n" and self._blank_lines < BLANK_LINES:
            self.unread = self.unread[2:]
            self._blank_lines += 1
        buffer = self.unread
        if buffer and buffer != b"\r":
            if self._scan is None:
                self._scan = HeadScan(self._limits)
            try:
                end = self._scan.find_end(buffer)
            except Rejected as rejected:
                self._refuse(rejected)
            if end >= 0:
                return self._read_head(buffer, end)
        if not self._eof:
            return NEED_DATA
        if buffer:
            self._refuse(
                Rejected(400, "the connection ended inside a request head (RFC 9112 §8)", Cause.INCOMPLETE)
            )
        self.reading = READING_CLOSED
        return CLOSED

    def refuse(self, fault: Rejected) -> None:
        """Read no further: next_event raises `fault` from now on. A shell calls it when time is up."""
        self._fault = fault
        if self.reading is READING_HEAD:
            self.refused = self.unread[:200].partition(b"\r\n")[0]
            self.response.answer_refused(self.refused)
        self.reading = READING_FAULT
        self.unread = b""

    def _refuse(self, fault: Rejected) -> NoReturn:
        self.refuse(fault)
        raise fault

    def _read_head(self, buffer: bytes, end: int) -> RequestHead[F]:
        """The head that ends at `end`; what follows stays in the buffer."""
        # hot: bench real.
        memory = self._fields
        limits = self._limits
        start = buffer.find(b"\r\n")
        first = buffer[:start]
        known = memory.known_line(first) if start <= limits.request_line else None
        try:
            line = known or self._read_request_line(first)
            # Compiled, a slice that ends before its beginning is an error: a head may have no fields.
            block = buffer[start + 2 : end] if start < end else b""
            fields, values, rules = memory.read(line, block, limits)
            if end > SMALLEST_HEAD and end > limits.head:
                raise limits.too_many_fields()
            body = rules.body_length
            stop = end + 4
            if 0 < body <= len(buffer) - stop:
                stop += body  # llhttp goes on to the next message only when it has seen the body
                body = 0
            asked = buffer if stop == len(buffer) else buffer[:stop]
            if known is None:
                asked = equivalent(line, first, asked)
            self._ask_llhttp(asked, body)
        except Rejected as rejected:
            self._refuse(self._first_fault(buffer[: end + 4]) or rejected)
        if known is None:
            memory.remember_request_line(first, line)
        size = end - start
        if size == self._last_size and size < LONGEST_BLOCK and rules.may_be_held and not line.authority:
            self._held = buffer[start : end + 4], memory.copy(fields), values, rules
        else:
            self._held = None
            self._last_size = size
        self.unread = buffer[end + 4 :]
        self.response.answer(line, rules)
        self.reading = READING_END
        if rules.body_length:
            self._expect_body(rules)
        if rules.is_last:
            self.is_last = True
        return RequestHead(line, fields, values, rules)

    def _expect_body(self, rules: Rules) -> None:
        self.reading = READING_BODY
        self.body_received = 0
        if rules.body_length == CHUNKED:
            self._chunks = ChunkedBody(self._limits)
        else:
            self._left_to_read = rules.body_length

    def _first_fault(self, head: bytes) -> Rejected | None:
        """Of several faults in a head the first one counts, as if the bytes had come in one by one."""
        try:
            HeadScan(self._limits).find_end(head)
        except Rejected as first:
            return first
        return None

    def _read_line_alone(self, first: bytes) -> RequestLine | None:
        """The request line that stands before field lines which both readers have accepted, after both have
        accepted it as well; None if it has to be read with them (as it is when it is faulty, or several)."""
        try:
            line = self._read_request_line(first)
            if line.authority:
                return None
            self._ask_llhttp(equivalent(line, first, first + STAND_IN), 0)
        except Rejected:
            return None
        self._fields.remember_request_line(first, line)
        return line

    def _read_request_line(self, line: bytes) -> RequestLine:
        if len(line) > self._limits.request_line:
            raise self._limits.line_too_long()
        return self._fields.read_request_line(line)

    def _ask_llhttp(self, head: bytes, body_length: int) -> None:
        """The second opinion. Raises Rejected(400) when llhttp does not accept the head."""
        used = self._llhttp
        parser = used or HttpRequestParser(_SILENT)
        self._llhttp = None
        try:
            parser.feed_data(head)
        except HttpParserUpgrade:
            return
        except HttpParserError as error:
            if used is None:
                raise Rejected(400, "malformed request head (RFC 9112 §2)") from error
            # It takes Proxy-Connection for Connection, so it may expect that no request can follow.
            self._ask_llhttp(head, body_length)
            return
        if not body_length:  # else it waits for a body that it is not given
            self._llhttp = parser

    def take_body(self) -> bytes | None:
        """The body of the request whose head was read last, if the whole of it has come with its head; else
        None, and next_event gives it piece by piece."""
        # hot: bench sync-post.
        size = self._left_to_read
        if self.reading is not READING_BODY or self._chunks is not None or len(self.unread) < size:
            return None
        body, self.unread = self.unread[:size], self.unread[size:]
        self._left_to_read = 0
        self.body_received = size
        self.response.continue_due = False
        self.reading = READING_END
        return body

    def _read_body(self) -> bytes | Event:
        buffer = self.unread
        chunks = self._chunks
        if chunks is not None:
            try:
                data, used = chunks.next_data(buffer)
            except Rejected as rejected:
                self._refuse(rejected)
            self.unread = buffer[used:]
            if chunks.done:
                self._chunks = None
                self.response.continue_due = False
                if not data:
                    self.reading = READING_DONE
                    return END
                self.reading = READING_END
        else:
            data = buffer if len(buffer) <= self._left_to_read else buffer[: self._left_to_read]
            self.unread = buffer[len(data) :]
            self._left_to_read -= len(data)
            if not self._left_to_read:
                self.reading = READING_END
        if data:
            self.response.continue_due = False
            self.body_received += len(data)
            return data
        if self._eof:
            fault = "the connection ended inside a request body (RFC 9112 §8)"
            self._refuse(Rejected(400, fault, Cause.INCOMPLETE))
        return NEED_DATA

    # ── the cycle ──

    @property
    def keeps_alive(self) -> bool:
        """Whether, with this request read and answered, a next one may follow."""
        return not self.response.closes and self.response.writing is WRITING_DONE and self.is_read

    def start_next_cycle(self) -> bool:
        """Go on to the next request if that is possible, see `keeps_alive`; whether it was."""
        # hot: bench sync-hello.
        reading, response = self.reading, self.response
        if (
            response.closes
            or response.writing is not WRITING_DONE
            or (reading is not READING_END and reading is not READING_DONE)
        ):
            return False
        self.cycle += 1
        self.reading = READING_HEAD
        response.writing = WRITING_HEAD
        if self._blank_lines:
            self._blank_lines = 0
        self._scan = None
        return True


def equivalent(line: RequestLine, first: bytes, head: bytes) -> bytes:
    """A head that llhttp reads as it should read `head`, whose first line is `first`: it knows some methods
    only, and no minor version after 1.1, as which a later one is served (RFC 9110 §2.5)."""
    if line.method not in METHODS:
        head = b"POST" + head[len(line.method) :]
        first = b"POST" + first[len(line.method) :]
    return head if first[-1:] <= b"1" else first[:-1] + b"1" + head[len(first) :]
