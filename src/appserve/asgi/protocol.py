"""One HTTP/1.1 connection on an event loop: between a transport, http's Connection and the exchanges.

It moves bytes and decides nothing about them; its own subject is who waits for whom. The client waits while
the application leaves READ_BOUND bytes of a body unreceived, or while as much is pipelined behind the request
in progress. The application waits in send() while the client does not read, and the next pipelined request
is not begun then. Deadlines are looked at once a second for all connections: no request has a timer.
A request is begun in a fresh context, never in that of the request before it.
"""

import asyncio
from enum import IntEnum

from appserve import forked
from appserve.asgi.exchange import STARTED, Exchange
from appserve.asgi.scope import Address, Field, make_scope, make_template
from appserve.asgi.site import Site
from appserve.asgi.transport import READ_BOUND, TransportProtocol
from appserve.asgi.visits import Visits
from appserve.errors import Rejected
from appserve.http.deadlines import Waiting
from appserve.http.http1 import Connection
from appserve.http.messages import CLOSED, END, Reading, RequestHead
from appserve.observe.tally import CLIENT_LEFT

SMALL_BODY = 65536
"""A body up to this size may hold the call of the application back, for one turn of the loop."""

DISCARD_BOUND = 262144
"""Bytes of a body that nobody received which are read to keep the connection; a longer rest closes it."""


class Stage(IntEnum):
    """What the bytes that come in are."""

    REQUESTS = 0
    DISCARDING = 1  # the rest of a body that the application did not receive; its response is complete
    CLOSING = 2  # of no interest any more: the last response is out
    LOST = 3


# hot: bench asgi-hello; see http.messages.END.
REQUESTS, DISCARDING, CLOSING, LOST = Stage
READING_BODY, READING_FAULT = Reading.BODY, Reading.FAULT


class HttpProtocol(TransportProtocol):
    """The protocol of one accepted connection, and the Wire of its exchanges, one after the other."""

    __slots__ = (
        "_connection",
        "_continue_due",
        "_exchange",
        "_stage",
        "_status",
        "_template",
        "_visits",
    )

    def __init__(self, site: Site, client: Address | None, server: Address | None) -> None:
        super().__init__(site)
        self._connection: Connection[Field, Field] = Connection(site.limits, site.fields, site.stamp)
        self._template = make_template(site.scheme, client, server, site.root_path)
        self._visits = Visits(site, site.access, client[0] if client else "") if site.access else None
        self._stage = REQUESTS
        self._exchange: Exchange | None = None  # whose response is not complete
        self._status = 0  # of a response that has started
        self._continue_due = False

    # ── what the transport tells ──

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._site.connections.add(self)
        if not self._site.keep_alive:
            self._connection.close_after_response()

    def data_received(self, data: bytes) -> None:
        if self._stage is not REQUESTS:
            self._discard(data)
            return
        self._connection.receive_data(data)
        if self._exchange is None:
            self._next_request()
        else:
            self._read_on(self._exchange)

    def eof_received(self) -> bool:
        """The client ended its side. True keeps the transport open for what is still to be sent."""
        self._ended = True
        if self._stage is not REQUESTS:
            return False
        self._connection.receive_eof()
        exchange = self._exchange
        if exchange is None:
            self._next_request()
        else:
            self._read_on(exchange)
            exchange.client_left()
        return True

    def resume_writing(self) -> None:
        self.paused = False
        if self._exchange is not None:
            self._exchange.resume()
        elif self._stage is REQUESTS:
            self._go_on_soon()

    def connection_lost(self, error: Exception | None) -> None:
        self._stage = LOST
        exchange = self._exchange
        if exchange is not None:
            self._exchange = None
            if exchange.answer is STARTED:
                self._site.tally.aborted += 1
                self._count(exchange, self._status, self._connection.body_sent)
            else:
                self._count(exchange, CLIENT_LEFT, 0)
            exchange.client_gone()
        self._site.forget(self)

    # ── requests ──

    def _next_request(self) -> None:
        """Begin the request at the head of what came in, if it is there."""
        connection = self._connection
        if self.paused:
            # The client does not take the responses that it has: it is not given another one yet.
            self._bound_reading(len(connection.unread))
            return
        try:
            event = connection.next_event()
        except Rejected as rejected:
            self._refuse(rejected)
            return
        if type(event) is RequestHead:
            self._begin(event)
        elif event is CLOSED:
            self._close()
        elif self._reading_paused:
            self._resume_reading()

    def _begin(self, head: RequestHead[Field]) -> None:
        site = self._site
        if self._visits is not None:
            self._visits.begin(head.fields)
        exchange = Exchange(self, head, make_scope(self._template, head, site.state))
        self._exchange = exchange
        rules = head.rules
        if rules.body_length:
            self._continue_due = rules.expects_continue
            self._read_on(exchange)
            if 0 < rules.body_length <= SMALL_BODY and not (exchange.is_complete or self._continue_due):
                # The rest is likely to be in the next packet, and an application that finds its body there
                # need not be suspended.
                site.loop.call_soon(self._launch, exchange)
                return
        elif self._connection.unread:
            self._bound_reading(len(self._connection.unread))
        self._launch(exchange)

    def _launch(self, exchange: Exchange) -> None:
        """Have the application called in the next turn, in a task of its own."""
        if not exchange.gone:
            site = self._site
            site.exchanges.add(exchange)
            exchange.task = site.loop.create_task(exchange.run(site.application), context=site.context.copy())

    def _read_on(self, exchange: Exchange) -> None:
        """Hand over what came in of the request body, up to the bound."""
        connection = self._connection
        try:
            while exchange.unread < READ_BOUND:
                event = connection.next_event()
                if type(event) is bytes:
                    exchange.feed(event)
                else:
                    if event is END:
                        exchange.complete_request()
                    break
        except Rejected as rejected:
            self._pause_reading()  # nothing that comes now can be read
            self._refuse(rejected)
            return
        self._bound_reading(max(exchange.unread, len(connection.unread)))

    def _go_on_soon(self) -> None:
        """Look for the next request in the next turn, outside of the application that answered this one."""
        self._site.loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        if self._stage is REQUESTS and self._exchange is None and not self._transport.is_closing():
            self._next_request()

    # ── what exchanges ask for (Wire) ──

    def begin(self, exchange: Exchange) -> None:
        # hot: bench asgi-hello. Clients repeat themselves, and request lines without a query are remembered.
        label = exchange.head.line.label
        if label is not self._site.label:
            self._site.show(label)

    def respond(self, status: int, fields: tuple[Field, ...], body: bytes) -> None:
        connection = self._connection
        if connection.reading is READING_BODY:
            self._forgo_long_rest()
        data = connection.respond(status, fields, body)
        self._written += len(data)
        self._transport.write(data)
        self._end_response(status)

    def start_response(self, status: int, fields: tuple[Field, ...], body: bytes) -> None:
        connection = self._connection
        data = connection.start_response(status, fields, b"", body)
        self._status = status
        self._send(data)

    def send_body(self, data: bytes, more: bool) -> None:
        connection = self._connection
        self._send(connection.send_body(data, more))
        if not more:
            self._end_response(self._status)

    def want_body(self) -> None:
        exchange = self._exchange
        if exchange is None:
            return
        if self._continue_due:
            self._continue_due = False
            if exchange.answer is not STARTED and not self._connection.body_received:
                self._send(self._connection.send_informational(100))
        self._read_on(exchange)
        if exchange.unread < READ_BOUND and self._connection.reading is not READING_FAULT:
            self._resume_reading()

    def finish(self, exchange: Exchange, error: BaseException | None) -> None:
        site = self._site
        if site.forked:
            forked.leave(error)
        site.exchanges.discard(exchange)
        if site.departed is not None:
            site.departed()
        if error is not None:
            site.tell_failure(exchange, error)
        if self._exchange is not exchange:
            return
        # The application is done and its response is not.
        if exchange.answer is STARTED:
            if error is None:
                site.complain(exchange.head, "it returned without finishing its response")
            self._break_off(exchange)
        elif site.cutting:
            self._reject(503, "the server is stopping")
        else:
            if error is None:
                site.complain(exchange.head, "it returned without a response")
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
        self._exchange = None
        self._count(exchange, status, connection.body_sent)
        if connection.start_next_cycle():
            if connection.unread or self._ended or self._reading_paused:
                self._go_on_soon()
        elif connection.reading is READING_BODY and not connection.closes:
            self._stage = DISCARDING
            self._swallowed = 0
            self._discard(b"")
            self._resume_reading()
        else:
            if connection.short:
                problem = f"the response is {connection.short} bytes shorter than its Content-Length"
                self._site.complain(exchange.head, problem)
            self._close()

    def _count(self, exchange: Exchange, status: int, sent: int) -> None:
        self._site.tally.count(status)
        if self._visits is not None:
            self._visits.end(exchange.head.line, status, sent)

    def _refuse(self, rejected: Rejected) -> None:
        """The input cannot be read on: answer that, unless a response is under way."""
        exchange = self._exchange
        if exchange is not None and exchange.answer is STARTED:
            exchange.client_left()
        else:
            self._reject(rejected.status, rejected.reason)

    def _reject(self, status: int, reason: str) -> None:
        """Answer in the application's stead, and end the connection."""
        exchange = self._exchange
        self._exchange = None
        self._write(self._connection.reject(status, reason))
        if exchange is not None:
            self._count(exchange, status, 0)
            exchange.client_gone()
        else:
            self._site.tally.count(status)
            if self._visits is not None:
                self._visits.refuse(self._connection.refused, status)
        self._close()

    def _break_off(self, exchange: Exchange) -> None:
        """End the connection inside a response, so that the client can tell."""
        connection = self._connection
        self._exchange = None
        self._count(exchange, self._status, connection.body_sent)
        exchange.client_gone()  # for what the application has left running
        needs_reset = connection.ends_by_close
        connection.abandon_response()
        if needs_reset:
            self.reset()
        else:
            self._close()

    # ── closing ──

    def _discard(self, data: bytes) -> None:
        """Read on without an exchange: the rest of a body, or what comes in while lingering."""
        if self._stage is not DISCARDING:
            self._swallow(len(data))
            return
        self._swallowed += len(data)
        connection = self._connection
        connection.receive_data(data)
        try:
            while type(connection.next_event()) is bytes:
                pass
        except Rejected:
            self._close()
            return
        if connection.start_next_cycle():
            self._stage = REQUESTS
            self._go_on_soon()
        elif connection.closes or self._swallowed > DISCARD_BOUND:
            self._close()

    def _close(self) -> None:
        """Close when everything is written."""
        self._stage = CLOSING
        connection = self._connection
        reading = connection.reading
        self._end(linger=reading is READING_BODY or reading is READING_FAULT or bool(connection.unread))

    # ── deadlines ──

    def _waiting(self) -> tuple[Waiting, int]:
        connection = self._connection
        exchange = self._exchange
        if exchange is not None:
            if exchange.awaits_body and not self._reading_paused:
                return Waiting.BODY, connection.body_received
            return Waiting.APPLICATION, 0
        if self._stage is DISCARDING:
            return Waiting.BODY, connection.body_received
        if self._stage is not REQUESTS:
            return Waiting.APPLICATION, 0
        return (Waiting.IDLE if connection.is_idle else Waiting.HEAD), connection.cycle

    def _give_up(self, waiting: Waiting) -> None:
        if waiting is Waiting.HEAD:
            late = Rejected(408, "the request head did not arrive in time (RFC 9110 §15.5.9)")
        elif waiting is Waiting.BODY and self._exchange is not None:
            late = Rejected(408, "the request body did not arrive in time (RFC 9110 §15.5.9)")
        else:
            self._close()
            return
        self._connection.refuse(late)
        self._refuse(late)

    # ── what the worker asks when it leaves ──

    def close_after_response(self) -> None:
        """Let the response under way, or the next one, be the last."""
        self._connection.close_after_response()

    def close_if_idle(self) -> None:
        """Close unless a request is coming in or being answered."""
        if self._stage is REQUESTS and self._exchange is None and self._connection.is_idle:
            self._close()

    def tell_stream(self) -> None:
        """If a response is under way, give its application http.disconnect: the server stops."""
        if self._exchange is not None and self._exchange.answer is STARTED:
            self._exchange.client_left()
