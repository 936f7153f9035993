"""One request, its response, and the application between them: the `receive` and `send` that it is given.

An exchange does not know which protocol carries it. It asks its Wire for what only the carrier can do, and
the carrier tells it what the client does; HTTP/1.1 is in http1.py.

The head of a response is judged when it comes, and waits until its first body message, as the specification
allows: an application that fails between the two is then answered with a clean 500, and a response of one
body goes out whole.

Two ways for a client to leave, which the application may tell apart:

    ended its side (FIN)   receive() gives http.disconnect, once the body was received; what is sent is still
                           written, because the client may be reading
    is gone (RST, closed)  receive() gives http.disconnect at once, send() raises ClientDisconnected

Nothing here waits on a future unless there is really something to wait for, so an exchange that answers a
small request runs from its first to its last line in one turn of the event loop.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from enum import IntEnum
from typing import Any, Protocol

from appserve.asgi.scope import Field, Headers, Scope
from appserve.errors import AppMistake, ClientDisconnected
from appserve.http.messages import RequestHead

Message = dict[str, Any]
AsgiApplication = Callable[
    [Scope, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Any
]

MESSAGES_PER_TURN = 64
"""How many body messages an application may send before other connections get their turn: if the client
reads as fast as it writes, nothing else would ever interrupt it."""


class Answer(IntEnum):
    """Where the response is."""

    NONE = 0
    HELD = 1  # http.response.start came; nothing is on the wire
    STARTED = 2
    DONE = 3


class ClientState(IntEnum):
    """Where the client is."""

    CONNECTED = 0
    HALF_CLOSED = 1  # it sends nothing more, and may still read
    CLOSED = 2


# hot: bench asgi-hello; see http.messages.END.
NONE, HELD, STARTED, DONE = Answer
CONNECTED, HALF_CLOSED, CLOSED = ClientState


class Wire(Protocol):
    """What carries an exchange. Its methods write and return; none of them waits."""

    @property
    def paused(self) -> bool:
        """Whether the client takes less than it is sent, and enough of it waits in memory."""

    def make_head(self, exchange: "Exchange", status: int, fields: Iterable[Field]) -> None:
        """Make the head of the response, which is kept. Raises AppMistake, and then another may be made."""

    def respond(self, exchange: "Exchange", body: bytes) -> None:
        """The head, and all of the body. Raises AppMistake, and then writes nothing."""

    def start_response(self, exchange: "Exchange", body: bytes) -> None:
        """The head, and the first part of a body that goes on. Raises AppMistake; see `respond`."""

    def send_body(self, exchange: "Exchange", data: bytes, more: bool) -> None:
        """A further part. Raises AppMistake if it is more than was announced, and then writes nothing."""

    def want_body(self, exchange: "Exchange") -> None:
        """The application waits for the request body."""

    def finish(self, exchange: "Exchange", error: BaseException | None) -> None:
        """The application returned, or raised `error`, and the response is not complete."""


class Exchange:
    """The state of one request and its response.

    wire          carries it
    client        where its client is
    called_at     when the application was given to the loop to be called (monotonic ns)
    continue_due  the client waits for a 100 (Continue) before it sends the body

    Of the response, for the carrier, once its head is made:

    status        as the application gave it
    head_parts    what the carrier has made of the head
    length        the Content-Length that the application gave, or -1
    """

    __slots__ = (
        "_body",
        "_body_delivered",
        "_more",
        "_sent_this_turn",
        "_waiters",
        "answer",
        "called_at",
        "client",
        "continue_due",
        "disconnect_sent",
        "head",
        "head_parts",
        "length",
        "scope",
        "status",
        "wire",
    )

    _sent_this_turn: int  # from the first part of a body on
    status: int
    head_parts: list[bytes]
    length: int

    def __init__(self, wire: Wire, head: RequestHead[Headers], scope: Scope, called_at: int) -> None:
        self.wire = wire
        self.head = head
        self.scope = scope
        self.called_at = called_at
        self.continue_due = False
        self._body = b""  # what the application has not received yet
        self._more = head.rules.body_length != 0  # more of it is to come
        self._body_delivered = False  # the application has received the last of it
        self.client = CONNECTED
        self._waiters: list[asyncio.Future[None]] | None = None
        self.answer = NONE
        self.disconnect_sent = False  # the application was told that the client left

    # ── what the carrier tells ──

    def feed(self, data: bytes) -> None:
        """More of the request body came in."""
        self._body = self._body + data if self._body else data
        self._wake()

    def complete_request(self, rest: bytes = b"") -> None:
        """The request body is complete; `rest` is what was missing."""
        if rest:
            self._body = self._body + rest if self._body else rest
        self._more = False
        self._wake()

    def client_left(self) -> None:
        """The client will send nothing more; it may still read. Also tells a stream that the server stops."""
        if self.client is CONNECTED:
            self.client = HALF_CLOSED
            self._wake()

    def client_gone(self) -> None:
        """The client is gone."""
        self.client = CLOSED
        self._wake()

    def resume(self) -> None:
        """The client takes data again."""
        self._wake()

    @property
    def unread(self) -> int:
        """Bytes of the request body that the application has not received."""
        return len(self._body)

    @property
    def is_complete(self) -> bool:
        """Whether the request body has come in."""
        return not self._more

    @property
    def awaits_body(self) -> bool:
        """Whether the application waits for more of the request body."""
        return self._waiters is not None and bool(self._waiters) and self._more and not self.wire.paused

    # ── what the application calls ──

    async def receive(self) -> Message:
        """The next message for the application: http.request until the body is complete, http.disconnect."""
        while self.client is not CLOSED and self.answer is not DONE and not self.disconnect_sent:
            more = self._more
            if not self._body_delivered and (self._body or not more):
                body = self._body
                self._body = b""
                self._body_delivered = not more
                return {"type": "http.request", "body": body, "more_body": more}
            if more:
                self.wire.want_body(self)
                # What had been held back may be there now, or the client turned out to be gone.
                if self._body or not self._more or self.client is CLOSED:
                    continue
            if self.client is not CONNECTED:
                break
            await self._wait()
        self.disconnect_sent = True
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        """Take a message of the application (http.response.start, http.response.body), which may be anything.

        Raises AppMistake for what is no valid message at this point, ClientDisconnected when the client is
        gone. Waits while the client does not read.
        """
        try:
            kind = message["type"]
        except (KeyError, TypeError):
            raise AppMistake(f"an ASGI message is a dict with a type, not {type(message).__name__}") from None
        if kind == "http.response.body":
            body = message.get("body", b"")
            if type(body) is not bytes:
                body = _read_body(body)
            more = message.get("more_body", False)
            if more is not False and more is not True:
                more = _read_more(more)
            answer = self.answer
            if answer is DONE:
                # "Any further messages on the channel will be ignored."
                return
            if self.client is CLOSED:
                self._raise_gone()
            if answer is HELD:
                if more:
                    self.wire.start_response(self, body)
                    self.answer = STARTED
                    self._sent_this_turn = 0
                else:
                    # hot: bench asgi-hello. The usual response; there is nothing to wait for afterwards.
                    self.wire.respond(self, body)
            elif answer is STARTED:
                self.wire.send_body(self, body, more)
            else:
                raise AppMistake("http.response.body before http.response.start")
            if more:
                self._sent_this_turn += 1
                if self.wire.paused or self.client is CLOSED or self._sent_this_turn >= MESSAGES_PER_TURN:
                    await self._keep_pace()
            else:
                self.answer = DONE
                if self._waiters is not None:
                    self._wake()
        elif kind == "http.response.start":
            if self.answer is not NONE:
                raise AppMistake("http.response.start was sent twice")
            status = message.get("status")
            if type(status) is not int:
                status = _read_status(status)
            if not 200 <= status <= 999:
                raise AppMistake(f"http.response.start with status {status}: expected 200 to 999")
            headers = message.get("headers", ())
            if type(headers) is not list:
                headers = _read_headers(headers)
            if self.client is CLOSED:
                self._raise_gone()
            self.wire.make_head(self, status, headers)
            self.answer = HELD
        else:
            raise AppMistake(f"unknown ASGI message type {kind!r} for an http scope")

    async def _keep_pace(self) -> None:
        """Wait until the client has read, or for one turn if it reads as fast as the application sends."""
        self._sent_this_turn = 0
        if not self.wire.paused:
            await asyncio.sleep(0)
        while self.wire.paused and self.client is not CLOSED:
            await self._wait()
        if self.client is CLOSED:
            self._raise_gone()

    def _raise_gone(self) -> None:
        self.disconnect_sent = True
        raise ClientDisconnected("the client has disconnected")

    async def _wait(self) -> None:
        """Until anything happens. Several tasks of an application may wait, each on its own future: one that
        is cancelled must not cancel the others."""
        future = asyncio.get_running_loop().create_future()
        if self._waiters is None:
            self._waiters = []
        self._waiters.append(future)
        try:
            await future
        finally:
            self._waiters.remove(future)

    def _wake(self) -> None:
        if self._waiters:
            for future in self._waiters:
                if not future.done():
                    future.set_result(None)


def _read_body(body: object) -> bytes:
    if isinstance(body, (bytes, bytearray, memoryview)):
        return bytes(body)
    raise AppMistake(f"the body of http.response.body must be bytes, not {type(body).__name__}")


def _read_more(more: object) -> bool:
    if more is None or isinstance(more, int):
        return bool(more)
    raise AppMistake(f"the more_body of http.response.body must be a bool, not {type(more).__name__}")


def _read_headers(headers: object) -> list[Field]:
    try:
        return list(headers)  # type: ignore[call-overload,no-any-return]  # a TypeError is an answer
    except (TypeError, ValueError) as error:
        raise AppMistake(f"response headers must be pairs of bytes: {error}") from None


def _read_status(status: object) -> int:
    if isinstance(status, int) and not isinstance(status, bool):
        return int(status)
    if status is None:
        raise AppMistake("http.response.start without a status")
    raise AppMistake(f"the status of http.response.start must be an int, not {type(status).__name__}")
