"""One response as PEP 3333 has an application give it: start_response, write, an iterable."""

import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any, NoReturn

from appserve.errors import AppMistake
from appserve.http.status import STATUS_LINES
from appserve.wsgi.environ import Header
from appserve.wsgi.file_wrapper import FileWrapper, find_part
from appserve.wsgi.sink import ResponseSink

STATUS = re.compile(r"([1-9][0-9]{2})(?: ([^\x00-\x08\x0a-\x1f\x7f]*))?")


@lru_cache(maxsize=256)
def read_status(status: object) -> tuple[int, bytes]:
    """(code, status line with CRLF) of a WSGI status such as "404 Not Found". Raises AppMistake."""
    match = STATUS.fullmatch(status) if isinstance(status, str) else None
    if match is None:
        raise AppMistake(f'the status {status!r} is not like "200 OK" (PEP 3333)')
    code = int(match[1])
    if match[2] is None:
        return code, STATUS_LINES[code]
    try:
        return code, f"HTTP/1.1 {match[1]} {match[2]}\r\n".encode("latin-1")
    except UnicodeEncodeError:
        raise AppMistake(f"the status {status!r} has a character beyond latin-1 (PEP 3333)") from None


class Response:
    """What one application call has said so far.

    code     0 until start_response
    is_over  the call has ended: nothing may reach the answer to the next request
    """

    __slots__ = ("_has_written", "_sink", "code", "is_over")

    def __init__(self, sink: ResponseSink) -> None:
        self._sink = sink
        self._has_written = False
        self.code = 0
        self.is_over = False

    def start_response(
        self, status: object, headers: Iterable[Header], exc_info: Any = None
    ) -> Callable[[object], None]:
        """PEP 3333 "The start_response() Callable". Nothing is sent before the first byte of the body.

        With `exc_info` it replaces an answer that was not sent yet; if one was, the exception is raised
        again, so that the application is ended. Raises AppMistake, here, where the application can see what
        it did; `headers` are read once, and may be changed afterwards. The compiled build checks announced
        types: none is narrower than what is judged here.
        """
        if exc_info:
            if self.is_over or self._sink.started:
                try:
                    _raise_again(exc_info)
                finally:
                    exc_info = None  # else the traceback would hold the frame that holds it
        elif self.code:
            raise AppMistake("start_response() was called a second time without exc_info (PEP 3333)")
        try:
            code, line = read_status(status)
            self._sink.head(code, line, headers)
        except TypeError:
            kinds = f"{type(status).__name__} and {type(headers).__name__}"
            raise AppMistake(
                f"start_response() got {kinds}, not a str and a list of tuples (PEP 3333)"
            ) from None
        self.code = code
        return self.write

    def send_early_hints(self, headers: Iterable[Header]) -> None:
        """`wsgi.early_hints`: send a 103 with these headers now, a `Link` or several (RFC 8297).

        Hints are worth nothing once the response has begun, and HTTP/1.0 has none: then nothing is sent.
        Raises AppMistake for headers that cannot stand in a response, ClientDisconnected.
        """
        if not self.is_over and not self._sink.started:
            self._sink.hints(headers)

    def write(self, data: object) -> None:
        """The imperative way to send a piece of the body (PEP 3333 "The write() Callable")."""
        piece = data if type(data) is bytes else _as_bytes(data)
        if self.is_over:
            raise AppMistake("write() was called after its request had been answered")
        if piece:
            self._check_started("before the body")
            self._has_written = True
            self._sink.body(piece)

    def finish(self, result: Any) -> None:
        """Send what the application returned; an iterable that has close() is closed in any case.

        Raises AppMistake, ClientDisconnected, and whatever the application raises.
        """
        # hot: bench sync-hello. A list's pieces are all there, so they may leave together with the head.
        kind = type(result)
        if (kind is list or kind is tuple) and not self._has_written:
            if not self.code:
                self._check_started("before the body")
            body = result[0] if len(result) == 1 else b"".join(map(_as_bytes, result))
            self._sink.end(body if type(body) is bytes else _as_bytes(body))
            return
        try:
            if isinstance(result, FileWrapper):
                self._send_wrapped(result)
            else:
                self._iterate(result)
        finally:
            close = getattr(result, "close", None)
            if close is not None:
                close()

    def _iterate(self, result: Any) -> None:
        sink = self._sink
        try:
            pieces = iter(result)
        except TypeError:
            if hasattr(result, "__iter__"):
                raise  # it is one, and fails
            raise AppMistake(
                f"the application returned {result!r}, which is not an iterable of bytes"
            ) from None
        if not sink.started and hasattr(type(result), "__len__") and _has_one_piece(result):
            # It says that there is no second piece, so the length is known with the first (PEP 3333 "Handling
            # the Content-Length Header").
            self._end(b"".join(map(_as_bytes, pieces)))
            return
        for data in pieces:
            if type(data) is not bytes:
                data = _as_bytes(data)
            if data:
                self._check_started("before the body")
                sink.body(data)
                if sink.is_bodiless:
                    break  # no client will see the rest, and a stream may be endless
        self._end(b"")

    def _end(self, data: bytes) -> None:
        """Send the last of the body, which may be all of it."""
        self._check_started("before the application's end")
        self._sink.end(data)

    def _send_wrapped(self, wrapper: FileWrapper) -> None:
        """Send what `wsgi.file_wrapper` made, up to the Content-Length: a file as it is, anything else in
        blocks."""
        part = find_part(wrapper.file) if type(wrapper) is FileWrapper else None
        if part is None:
            self._send_blocks(wrapper)
        elif self.code:
            self._sink.file(part)
        else:
            part.close()
            self._check_started("before the body")

    def _send_blocks(self, wrapper: FileWrapper) -> None:
        sink = self._sink
        blocks: Iterable[Any] = wrapper  # what a file gives is not always bytes
        for data in blocks:
            if type(data) is not bytes:
                data = _as_bytes(data)
            if not data:
                continue
            self._check_started("before the body")
            left = sink.left
            sink.body(data if left < 0 else data[:left])
            if sink.is_bodiless or 0 <= left <= len(data):
                break
        self._end(b"")

    def _check_started(self, when: str) -> None:
        if not self.code:
            raise AppMistake(f"start_response() was not called {when} (PEP 3333)")


def _raise_again(exc_info: Any) -> NoReturn:
    error: BaseException | None = exc_info[1]
    try:
        if error is None:
            raise AppMistake("start_response() with an exc_info that is empty, after the body had begun")
        raise error.with_traceback(exc_info[2])
    finally:
        del error, exc_info  # else the traceback would hold the frame that holds it


def _has_one_piece(result: Any) -> bool:
    """Whether it is known beforehand; only a length that is known counts (PEP 3333 "If a call to
    len(iterable) succeeds"). These three mean that there is none, as for wsgiref; others are mistakes."""
    try:
        return len(result) == 1
    except (TypeError, AttributeError, NotImplementedError):
        return False


def _as_bytes(data: object) -> bytes:
    """`data` if it is made of bytes; a memoryview may count its length in something else."""
    if isinstance(data, (bytes, bytearray, memoryview)):
        return bytes(data)
    raise AppMistake(f"the application's body has {type(data).__name__} in it, not bytes (PEP 3333)")
