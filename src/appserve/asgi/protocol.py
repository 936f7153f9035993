"""One HTTP/1.1 connection on an event loop: between a transport, http's Connection and the exchanges.

It moves bytes and decides nothing about them; its own subject is the responses. The application waits in
send() while the client does not read, and the next pipelined request is not begun then. A request is begun in
a fresh context, never in that of the request before it. See requests.py for what comes in, and transport.py
for who waits for how long: no request has a timer.
"""

import asyncio
import time

from appserve import forked
from appserve.asgi.exchange import STARTED, Exchange
from appserve.asgi.proxied import Proxied, make_proxied
from appserve.asgi.registry import Registry
from appserve.asgi.requests import DISCARD_BOUND, LOST, REQUESTS, RequestProtocol
from appserve.asgi.scope import Address, Field, Scope, make_scope, make_template
from appserve.asgi.transport import READ_BOUND, WRITE_BOUND
from appserve.errors import Rejected
from appserve.http.messages import Reading, RequestHead, RequestLine
from appserve.http.status import STATUS_LINES
from appserve.http.timeouts import WaitFor
from appserve.observe.tally import CLIENT_LEFT

SMALL_BODY = 65536
"""A body up to this size may hold the call of the application back, for one turn of the loop."""

TEXT = (b"content-type", b"text/plain; charset=utf-8")
RETRY_AFTER = (b"retry-after", b"1")
"""Of the answer to a request that is one too many: such an overload is over soon, or not at all."""

# hot: bench asgi-hello; see http.messages.END.
READING_BODY, READING_FAULT = Reading.BODY, Reading.FAULT


class HttpProtocol(RequestProtocol):
    """The protocol of one accepted connection, and the Wire of its exchanges, one after the other."""

    __slots__ = (
        "_continue_due",
        "_fields",
        "_head",
        "_length",
        "_proxied",
        "_sending",
        "_status",
        "_template",
    )

    _head: list[bytes]  # of the response, from http.response.start on, as are the two below
    _length: int
    _status: int

    def __init__(self, registry: Registry, client: Address | None, server: Address | None) -> None:
        super().__init__(registry)
        self._fields: list[Field] = []  # of the last request, if there is an access log
        # A response that is complete, and that the kernel has not taken as a whole: the line of its request,
        # its status, the size of its body.
        self._sending: tuple[RequestLine | bytes, int, int] | None = None
        self._continue_due = False
        self.set_endpoints(client, server, registry.service.scheme)

    def set_endpoints(
        self, client: Address | None, server: Address | None, scheme: str, *, vouches: bool = True
    ) -> None:
        """Say between whom this connection is; None is an end that has no address. If the client `vouches`
        for others, and is one who is believed, its requests may be theirs."""
        host = client[0] if client else ""
        self._template = make_template(scheme, client, server, self._service.root_path)
        self._proxied: Proxied | None = make_proxied(
            self._service.forwarding, self._service.root_path, host if vouches else None
        )
        self._record.client = host

    def endpoints(self) -> tuple[Address | None, Address | None, str]:
        """The client, the server and the scheme of this connection."""
        template = self._template
        return template["client"], template["server"], template["scheme"]

    # ── what the transport tells ──

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._registry.connections.add(self)
        self._wake()
        if not self._registry.keep_alive:
            self._connection.close_after_response()

    def _wake(self) -> None:
        self._registry.waiting.wake(self)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self.rests:
            self._wake()
        if self._sending is not None:
            self._record_sent()
        if self._exchange is not None:
            self._exchange.resume()
        elif self._stage is REQUESTS:
            self._go_on_soon()

    def connection_lost(self, error: Exception | None) -> None:
        self._stage = LOST
        self._service.tally.bytes_out -= self._unsent
        if self._sending is not None:
            line, _, sent = self._sending
            self._sending = None
            self._record_now(line, CLIENT_LEFT, sent - self._unsent)
        exchange = self._exchange
        if exchange is not None:
            self._exchange = None
            self._record_now(exchange.head.line, CLIENT_LEFT, self._connection.body_sent - self._unsent)
            exchange.client_gone()
        self._registry.forget(self)

    # ── requests ──

    def _begin(self, head: RequestHead[Field], now: int) -> None:
        registry = self._registry
        self._record.begin()
        if self._record.access is not None:
            self._note_fields(head.fields)
        exchange = Exchange(self, head, make_scope(self._template, head, registry.state))
        exchange.called_at = now or time.monotonic_ns()
        self._exchange = exchange
        if self._proxied is not None and not self._amend(self._proxied, exchange.scope):
            return
        connection = self._connection
        length = head.rules.body_length
        is_small = 0 < length <= SMALL_BODY
        body = connection.take_body() if is_small else None
        if body is not None:
            exchange.feed(body)
            exchange.complete_request()
        elif length:
            self._continue_due = head.rules.expects_continue
            self._read_on(exchange)
            if is_small and not self._continue_due:
                # The rest is likely to be in the next packet, and an application that finds its body there
                # need not be suspended.
                registry.loop.call_soon(self._launch, exchange)
                return
        if connection.unread and connection.reading is not READING_BODY:
            self._bound_reading(len(connection.unread))
        self._launch(exchange)

    def _note_fields(self, fields: list[Field]) -> None:
        """Remember what the access log needs of them: the application may change the list."""
        # hot: bench asgi-browser, access log on. A client repeats itself, and repeated fields are the same
        # objects, so this comparison costs nothing.
        if fields != self._fields:
            self._fields = fields.copy()
            known = dict(fields)
            self._record.referer = known.get(b"referer", b"").decode("latin-1")
            self._record.agent = known.get(b"user-agent", b"").decode("latin-1")

    def _amend(self, proxied: Proxied, scope: Scope) -> bool:
        """Put into the scope what proxies say; whether that can be believed."""
        self._record.client = self._peer
        try:
            proxied.amend(scope)
        except Rejected as rejected:
            self._refuse(rejected)
            return False
        self._record.client = scope["client"][0] if scope["client"] else ""
        return True

    def _launch(self, exchange: Exchange) -> None:
        """Have the application called in the next turn, in a task of its own."""
        if not exchange.gone:
            registry = self._registry
            if registry.cutting:
                self._reject(503, "the server is stopping")
                return
            if 0 < registry.most_exchanges <= len(registry.exchanges):
                client = self._template["client"]
                busy = Rejected(503, f"reached --limit-concurrency ({registry.most_exchanges})")
                self._service.refusals.add_request(client[0] if client else "", busy)
                self.make_head(503, (TEXT, RETRY_AFTER))
                self.respond(b"too many requests in progress\n")
                return
            registry.launch(exchange)

    # ── what exchanges ask for (Wire) ──

    def begin(self, exchange: Exchange) -> None:
        # hot: bench asgi-hello. Clients repeat themselves, and request lines without a query are remembered.
        label = exchange.head.line.label
        if label is not self._registry.label:
            self._registry.show(label)

    def make_head(self, status: int, fields: tuple[Field, ...]) -> None:
        connection = self._connection
        parts = [STATUS_LINES[status], connection.date_fields.date_server]
        self._length = connection.write_fields(parts, status, fields)
        self._head = parts
        self._status = status

    def respond(self, body: bytes) -> None:
        connection = self._connection
        if connection.reading is READING_BODY:
            self._forgo_long_rest()
        data = connection.respond_with(self._head, self._status, self._length, body)
        self.written += len(data)
        self._service.tally.bytes_out += len(data)
        self._transport.write(data)
        self._end_response(self._status)

    def start_response(self, body: bytes) -> None:
        self._send(self._connection.start_with(self._head, self._status, self._length, body))

    def send_body(self, data: bytes, more: bool) -> None:
        connection = self._connection
        framed = connection.send_body(data, more)
        self._send(framed)
        if not more:
            self._end_response(self._status)
        elif self._ended and data and not framed and self._exchange is not None:
            # A body that is not sent, as in answer to HEAD: no write would ever find out that a client who
            # has ended its side is gone, and a stream would go on for ever.
            self._exchange.client_gone()

    def want_body(self) -> None:
        exchange = self._exchange
        if exchange is None:
            return
        if self.rests:
            self._wake()
        if self._continue_due:
            self._continue_due = False
            if exchange.answer is not STARTED and not self._connection.body_received:
                self._send(self._connection.send_informational(100))
        self._read_on(exchange)
        if exchange.unread < READ_BOUND and self._connection.reading is not READING_FAULT:
            self._resume_reading()

    def finish(self, exchange: Exchange, error: BaseException | None) -> None:
        registry = self._registry
        if registry.forked:
            forked.leave(error)
        self._service.tally.busy_ns += time.monotonic_ns() - exchange.called_at
        registry.ended(exchange, error)
        if self._exchange is not exchange:
            return
        # The application is done and its response is not.
        if exchange.answer is STARTED:
            if error is None:
                registry.report_fault(exchange.head, "it returned without finishing its response")
            self._break_off(exchange)
        elif exchange.disconnect_sent:
            # It gave up because it was told that the client left. That is no failure, and an answer of ours
            # would be read by nobody.
            self._leave_unanswered(exchange)
        elif registry.cutting:
            self._reject(503, "the server is stopping")
        else:
            if error is None:
                registry.report_fault(exchange.head, "it returned without a response")
            self._reject(500, "the application failed")

    # ── the end of a response ──

    def _send(self, data: bytes) -> None:
        if not self._write(data) and self._exchange is not None:
            self._exchange.client_gone()

    def _forgo_long_rest(self) -> None:
        """The response is complete before the request: if too much of that is left, the connection ends."""
        exchange = self._exchange
        if exchange and exchange.head.rules.body_length - self._connection.body_received > DISCARD_BOUND:
            self._connection.close_after_response()

    def _end_response(self, status: int) -> None:
        connection = self._connection
        exchange = self._exchange
        if exchange is None:
            return
        if self.rests:
            self._wake()
        self._exchange = None
        self._record_end(exchange.head.line, status)
        if connection.start_next_cycle():
            if connection.unread or self._ended or self._reading_paused:
                self._go_on_soon()
        elif connection.reading is READING_BODY and not connection.closes:
            self._discard_rest()
        else:
            if connection.short:
                problem = f"the response is {connection.short} bytes shorter than its Content-Length"
                self._registry.report_fault(exchange.head, problem)
            self.close()

    @property
    def _peer(self) -> str:
        """The address that the connection comes from, "" for that of a unix socket."""
        client = self._template["client"]
        return client[0] if client else ""

    # ── what is recorded ──

    def _record_end(self, line: RequestLine | bytes, status: int) -> None:
        """The response is complete: record its request now, or when the kernel has taken all of it. Until
        then no next request is begun."""
        # hot: bench asgi-hello. The kernel took it, as a rule, and nothing has to be waited for.
        transport = self._transport
        sent = self._connection.body_sent
        if not transport.get_write_buffer_size() and not transport.is_closing():
            record = self._record
            record.end(line, status, sent, time.monotonic_ns())
            if record.access is not None:
                self._registry.write_lines_soon()
            return
        self._sending = (line, status, sent)
        if not self.paused and not transport.is_closing():
            transport.set_write_buffer_limits(0, 0)  # pauses now, and resumes when nothing is left

    def _record_sent(self) -> None:
        """The kernel has taken all of the response."""
        assert self._sending is not None
        line, status, sent = self._sending
        self._sending = None
        self._record_now(line, status, sent)
        if not self._transport.is_closing():
            self._transport.set_write_buffer_limits(WRITE_BOUND, 0)

    def _record_now(self, line: RequestLine | bytes, status: int, sent: int) -> None:
        self._record.end(line, status, max(0, sent), time.monotonic_ns())
        if self._record.access is not None:
            self._registry.write_lines_soon()

    # ── what is not answered by the application ──

    def _refuse(self, rejected: Rejected) -> None:
        """The input cannot be read on: answer that, unless a response is under way."""
        self._service.refusals.add_request(self._peer, rejected)
        exchange = self._exchange
        if exchange is not None and exchange.answer is STARTED:
            exchange.client_left()
        else:
            self._reject(rejected.status, rejected.reason)

    def _reject(self, status: int, reason: str) -> None:
        """Answer in the application's stead, and end the connection."""
        exchange = self._exchange
        self._exchange = None
        connection = self._connection
        self._write(connection.reject(status, reason))
        if exchange is not None:
            self._record_end(exchange.head.line, status)
            exchange.client_gone()
        else:
            if self._sending is not None:
                self._record_sent()
            self._record.begin_refused(self._peer)
            self._fields = []
            self._record_now(connection.refused, status, connection.body_sent)
        self.close()

    def _leave_unanswered(self, exchange: Exchange) -> None:
        """End the connection of a client that has left, without a response."""
        self._exchange = None
        self._record_now(exchange.head.line, CLIENT_LEFT, 0)
        exchange.client_gone()  # for what the application has left running
        self.close()

    def _break_off(self, exchange: Exchange) -> None:
        """End the connection inside a response, so that the client can tell."""
        connection = self._connection
        self._exchange = None
        self._record_now(exchange.head.line, self._status, connection.body_sent)
        exchange.client_gone()  # for what the application has left running
        needs_reset = connection.ends_by_close
        connection.abandon_response()
        if needs_reset:
            self.reset()
        else:
            self.close()

    # ── deadlines ──

    def _give_up(self, waiting: WaitFor) -> None:
        if waiting is not WaitFor.HEAD and waiting is not WaitFor.BODY:
            self.close_if_idle()
        elif waiting is WaitFor.HEAD or self._exchange is not None:
            self.refuse(self._watch.rejection(self._service.timeouts))
        else:
            self.close()

    # ── what the worker asks when it leaves ──

    def close_after_response(self) -> None:
        """Let the response under way, or the next one, be the last."""
        self._connection.close_after_response()

    def send_disconnect(self) -> None:
        """If a response is under way, give its application http.disconnect: the server stops."""
        if self._exchange is not None and self._exchange.answer is STARTED:
            self._exchange.client_left()
