"""Where a response goes: four verbs that WSGI drives, and the connection behind them."""

import time
from abc import ABC, abstractmethod
from collections.abc import Iterable

from appserve.errors import ClientDisconnected
from appserve.http.http1 import Http1Connection
from appserve.http.messages import WRITING_HEAD
from appserve.net.sendfile import FilePart
from appserve.wsgi.environ import CgiVariables, Header
from appserve.wsgi.outbox import Outbox


class ResponseSink(ABC):
    """Takes the response of each request: `head`, then `body` any number of times, then `file` or `end`.

    A head is sent with what comes next, so another may replace it until then. All but `head` may raise
    ClientDisconnected; AppMistake tells what the application did wrong.
    """

    __slots__ = ()

    @abstractmethod
    def head(self, code: int, line: bytes, headers: Iterable[Header]) -> None:
        """The status, its line with CRLF, and the fields. Raises AppMistake for what cannot stand there."""

    @abstractmethod
    def hints(self, headers: Iterable[Header]) -> None:
        """Send a 103 with these fields (RFC 8297), if the client knows such a response."""

    @abstractmethod
    def body(self, data: bytes) -> None:
        """A piece of the body, not empty, and not the last. Raises AppMistake if it is too long."""

    @abstractmethod
    def file(self, part: FilePart) -> None:
        """All that is left of the body, from a file, which is closed. What is too long is not sent."""

    @abstractmethod
    def end(self, data: bytes) -> None:
        """The last piece of the body, which may be empty, or all of it. Raises AppMistake as `body` does."""

    @property
    @abstractmethod
    def started(self) -> bool:
        """Whether something of the response was sent, so that it cannot be replaced."""

    @property
    @abstractmethod
    def is_bodiless(self) -> bool:
        """Whether the response that has started has no body, whatever it is given."""

    @property
    @abstractmethod
    def left(self) -> int:
        """Bytes of the body that can still be sent as far as the head announces it, -1 for any number."""


class ConnectionSink(ResponseSink):
    """The client of an HTTP/1.1 connection. `code` is the status of the last head."""

    __slots__ = ("_http", "_length", "_outbox", "_parts", "code")

    def __init__(self, http: Http1Connection[CgiVariables, Header], outbox: Outbox) -> None:
        self._http = http
        self._outbox = outbox
        self.code = 0
        self._parts: list[bytes] = []  # of the head, as http.response has begun it
        self._length = -1

    def head(self, code: int, line: bytes, headers: Iterable[Header]) -> None:
        http = self._http
        date_fields = http.response.date_fields
        now = time.time()
        if now >= date_fields.until:
            # The application may have been at it for longer than the loop's last turn is ago.
            date_fields.renew(now)
        parts = [line, date_fields.date_server]
        self._length = http.response.write_fields(parts, code, headers)
        self._parts = parts
        self.code = code

    def hints(self, headers: Iterable[Header]) -> None:
        self._outbox.counters.progress()
        self._send(self._http.response.send_informational(103, headers))

    def body(self, data: bytes) -> None:
        self._outbox.counters.progress()
        http = self._http
        if http.response.writing is WRITING_HEAD:
            self._send(http.response.start_with(self._parts, self.code, self._length, data))
        else:
            self._send(http.response.send_body(data, True))

    def end(self, data: bytes) -> None:
        # hot: bench real.
        http = self._http
        if http.response.writing is WRITING_HEAD:
            self._outbox.write(http.response.respond_with(self._parts, self.code, self._length, data))
        else:
            self._send(http.response.send_body(data, False))

    def file(self, part: FilePart) -> None:
        http, outbox = self._http, self._outbox
        try:
            head = b""
            if http.response.writing is WRITING_HEAD:
                head = http.response.start_with(self._parts, self.code, self._length, b"", part.size)
            before, part.size, after = http.response.frame_file(part.size, False)
        except BaseException:
            part.close()
            raise
        if not part.size:
            part.close()
            self._send(head + before + after)
            return
        try:
            outbox.send_file(head + before, part, after)
        except ClientDisconnected:
            http.response.abandon_response()
            raise
        if outbox.missing:
            http.response.fall_short(outbox.missing)
            outbox.missing = 0

    @property
    def started(self) -> bool:
        return self._http.response.writing is not WRITING_HEAD

    @property
    def is_bodiless(self) -> bool:
        return self._http.response.is_bodiless

    @property
    def left(self) -> int:
        return self._http.response.left_to_write if self.started else self._length

    def _send(self, framed: bytes) -> None:
        if not framed:
            return
        try:
            self._outbox.write(framed)
        except ClientDisconnected:
            # The application may handle an OSError and go on; the connection may not.
            self._http.response.abandon_response()
            raise
