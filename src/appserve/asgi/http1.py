"""HTTP/1.1 on one stream: requests come in and become exchanges, one after the other; responses go out.

It moves bytes between its Stream, http's Http1Connection and the Exchange of the request, and decides nothing
about them. The client waits while the application leaves READ_BOUND bytes of a body unreceived, while as much
is pipelined behind the request in progress, and while it does not read the responses that it has; the
application waits in send() while the client does not read.
"""

import time
from collections.abc import Iterable

from appserve.asgi.exchange import CLOSED as GONE
from appserve.asgi.exchange import STARTED, Exchange
from appserve.asgi.registry import Registry
from appserve.asgi.scope import (
    Field,
    Headers,
    Scope,
    apply_forwarded,
    make_scope,
    make_template,
    mount,
)
from appserve.asgi.stream import READ_BOUND, Stream
from appserve.connection.origin import Endpoints
from appserve.connection.record import RequestRecord
from appserve.errors import Rejected
from appserve.http.http1 import Http1Connection
from appserve.http.messages import CLOSED, END, READING_BODY, READING_FAULT, RequestHead, RequestLine
from appserve.http.status import STATUS_LINES
from appserve.http.timeouts import WaitFor
from appserve.observe.counters import CLIENT_LEFT

SMALL_BODY = 65536
"""A body up to this size may hold the call of the application back, for one turn of the loop."""

DISCARD_BOUND = 262144
"""Bytes of a body that was not received which are read to keep the connection; a longer rest closes it."""

TEXT = (b"content-type", b"text/plain; charset=utf-8")
RETRY_AFTER = (b"retry-after", b"1")
"""Of the answer to a request that is one too many: such an overload is over soon, or not at all."""

# hot: bench asgi-hello; see http.messages.END.


class Http1Driver:
    """The Driver of a stream, and the Wire of its exchanges."""

    __slots__ = (
        "_discarded",
        "_exchange",
        "_forwarding",
        "_http",
        "_moves",
        "_peer",
        "_record",
        "_registry",
        "_sending",
        "_server",
        "_service",
        "_stream",
        "_template",
    )

    def __init__(self, stream: Stream, registry: Registry, endpoints: Endpoints) -> None:
        service = registry.service
        self._stream = stream
        self._registry = registry
        self._service = service
        self._http: Http1Connection[Headers, Field] = Http1Connection(
            service.limits, service.fields, service.date_fields
        )
        self._record = RequestRecord(service.counters, service.access, "")
        self._exchange: Exchange | None = None  # whose response is not complete
        # A response that is complete, and that the kernel has not taken as a whole: the line of its request,
        # its status, the size of its body.
        self._sending: tuple[RequestLine | bytes, int, int] | None = None
        self._discarded = 0  # bytes that were read since the response was complete, before its request was
        self._server = endpoints.server
        self.set_endpoints(endpoints)
        stream.hand_over(self, b"")

    def set_endpoints(self, endpoints: Endpoints) -> None:
        """Say between which ends this connection is."""
        service = self._service
        scheme = "https" if endpoints.over_tls else "http"
        server = endpoints.server or self._server
        self._template = make_template(scheme, endpoints.client, server, service.root_path)
        self._forwarding = endpoints.trusted(service.forwarding)
        # Whether a request may be another client's, or the application mounted elsewhere.
        self._moves = bool(self._forwarding or service.root_path)
        self._peer = self._record.client = endpoints.host

    # ── what comes in (Driver) ──

    def receive(self, data: bytes) -> None:
        http = self._http
        now = self._record.received(len(data), http)
        http.receive_data(data)
        if self._exchange is not None:
            self._read_on(self._exchange)
        elif http.reading is READING_BODY:
            self._discard(len(data))
        else:
            self._next_request(now)

    def receive_eof(self) -> None:
        self._http.receive_eof()
        exchange = self._exchange
        if exchange is not None:
            self._read_on(exchange)
            exchange.client_left()
        elif self._http.reading is READING_BODY:
            self._close()
        else:
            self._next_request(time.monotonic_ns())

    def resume(self) -> None:
        if self._sending is not None:
            self._record_sent()
        if self._exchange is not None:
            self._exchange.resume()
        else:
            self._go_on_soon()

    def lost(self) -> None:
        unsent = self._stream.unsent
        if self._sending is not None:
            line, _, sent = self._sending
            self._sending = None
            self._record_now(line, CLIENT_LEFT, sent - unsent)
        exchange = self._exchange
        if exchange is not None:
            self._exchange = None
            self._record_now(exchange.head.line, CLIENT_LEFT, self._http.response.body_sent - unsent)
            exchange.client_gone()

    # ── requests ──

    def _go_on_soon(self) -> None:
        """Look for the next request in the next turn, outside of the application that answered this one."""
        self._registry.loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        if self._exchange is None and self._stream.is_open and self._http.reading is not READING_BODY:
            self._next_request(time.monotonic_ns())

    def _next_request(self, now: int) -> None:
        """Begin the request at the head of what came in, if it is there, at `now` (monotonic ns)."""
        http = self._http
        if self._stream.paused:
            # The client does not take the responses that it has: it is not given another one yet.
            self._stream.bound_reading(len(http.unread))
            return
        try:
            event = http.next_event()
        except Rejected as rejected:
            self._reject_input(rejected)
            return
        if type(event) is RequestHead:
            self._begin(event, now)
        elif event is CLOSED:
            self._close()
        elif self._stream.reading_paused:
            self._stream.resume_reading()

    def _begin(self, head: RequestHead[Headers], now: int) -> None:
        registry = self._registry
        record = self._record
        record.begin()
        if record.access is not None:
            record.referer = head.values.get(b"referer", b"").decode("latin-1")
            record.agent = head.values.get(b"user-agent", b"").decode("latin-1")
        exchange = Exchange(self, head, make_scope(self._template, head, registry.state), now)
        self._exchange = exchange
        if self._moves and not self._apply_origin(head, exchange.scope):
            return
        http = self._http
        length = head.rules.body_length
        if length:
            is_small = 0 < length <= SMALL_BODY
            body = http.take_body() if is_small else None
            if body is not None:
                exchange.complete_request(body)
            else:
                exchange.continue_due = head.rules.expects_continue
                self._read_on(exchange)
                if is_small and not exchange.continue_due:
                    # The rest is likely to be in the next packet, and an application that finds its body
                    # there need not be suspended.
                    registry.loop.call_soon(self._launch, exchange)
                    return
        if http.unread and http.reading is not READING_BODY:
            self._stream.bound_reading(len(http.unread))
        self._launch(exchange)

    def _apply_origin(self, head: RequestHead[Headers], scope: Scope) -> bool:
        """Put into the scope from where the request comes and where the application is mounted; False if its
        proxies contradict themselves."""
        self._record.client = self._peer
        prefix, root_path = "", self._service.root_path
        if self._forwarding is not None:
            try:
                client, origin = self._forwarding.read(head.values)
            except Rejected as rejected:
                self._reject_input(rejected)
                return False
            apply_forwarded(scope, client, origin)
            prefix = origin.prefix
            if client is not None:
                self._record.client = client[0]
        if prefix or root_path:
            mount(scope, prefix, root_path)
        return True

    def _launch(self, exchange: Exchange) -> None:
        """Have the application called in the next turn."""
        registry = self._registry
        if exchange.client is GONE:
            return
        if registry.cutting:
            self._reject(503, "the server is stopping")
        elif 0 < registry.most_exchanges <= len(registry.exchanges):
            busy = Rejected(503, f"reached --limit-concurrency ({registry.most_exchanges})")
            self._service.refusals.add_request(self._peer, busy)
            self.make_head(exchange, 503, (TEXT, RETRY_AFTER))
            self.respond(exchange, b"too many requests in progress\n")
        else:
            registry.launch(exchange)

    def _read_on(self, exchange: Exchange) -> None:
        """Hand over what came in of the request body, up to the bound."""
        http = self._http
        try:
            while exchange.unread < READ_BOUND:
                event = http.next_event()
                if type(event) is bytes:
                    exchange.feed(event)
                else:
                    if event is END:
                        exchange.complete_request()
                    break
        except Rejected as rejected:
            self._stream.pause_reading()  # nothing that comes now can be read
            self._reject_input(rejected)
            return
        self._stream.bound_reading(max(exchange.unread, len(http.unread)))

    def _discard(self, size: int) -> None:
        """Read the rest of a body whose response is complete; `size` bytes have come in."""
        http = self._http
        self._discarded += size
        try:
            while type(http.next_event()) is bytes:
                pass
        except Rejected:
            self._close()
            return
        if http.start_next_cycle():
            self._go_on_soon()
        elif http.response.closes or self._discarded > DISCARD_BOUND:
            self._close()

    # ── what exchanges ask for (Wire) ──

    @property
    def paused(self) -> bool:
        return self._stream.paused

    def make_head(self, exchange: Exchange, status: int, fields: Iterable[Field]) -> None:
        http = self._http
        parts = [STATUS_LINES[status], http.response.date_fields.date_server]
        exchange.length = http.response.write_fields(parts, status, fields)
        exchange.head_parts = parts
        exchange.status = status

    def respond(self, exchange: Exchange, body: bytes) -> None:
        http = self._http
        if http.reading is READING_BODY:
            left = exchange.head.rules.body_length - http.body_received
            if left > DISCARD_BOUND:  # too much to read on for the next request
                http.response.close_after_response()
        data = http.response.respond_with(exchange.head_parts, exchange.status, exchange.length, body)
        self._end_response(exchange, self._stream.write_end(data))

    def start_response(self, exchange: Exchange, body: bytes) -> None:
        self._send(
            self._http.response.start_with(exchange.head_parts, exchange.status, exchange.length, body)
        )

    def send_body(self, exchange: Exchange, data: bytes, more: bool) -> None:
        framed = self._http.response.send_body(data, more)
        if not more:
            self._end_response(exchange, self._stream.write_end(framed))
            return
        self._send(framed)
        if self._stream.ended and data and not framed:
            # A body that is not sent, as in answer to HEAD: no write would ever find out that a client that
            # has ended its side is gone, and a stream would go on for ever.
            exchange.client_gone()

    def want_body(self, exchange: Exchange) -> None:
        stream = self._stream
        if exchange is not self._exchange:
            return
        if stream.rests:
            stream.wake()
        if exchange.continue_due:
            exchange.continue_due = False
            if exchange.answer is not STARTED and not self._http.body_received:
                self._send(self._http.response.send_informational(100))
        self._read_on(exchange)
        if exchange.unread < READ_BOUND and self._http.reading is not READING_FAULT:
            stream.resume_reading()

    def finish(self, exchange: Exchange, error: BaseException | None) -> None:
        registry = self._registry
        if self._exchange is not exchange:
            return
        # The application is done and its response is not.
        if exchange.answer is STARTED:
            if error is None:
                registry.report_fault(exchange.head, "it returned without finishing its response")
            self._break_off(exchange)
        elif exchange.disconnect_sent:
            # It gave up because it had http.disconnect. That is no failure, and no client would read an
            # answer: the connection ends without.
            self._drop(exchange, CLIENT_LEFT, 0)
            self._close()
        elif registry.cutting:
            self._reject(503, "the server is stopping")
        else:
            if error is None:
                registry.report_fault(exchange.head, "it returned without a response")
            self._reject(500, "the application failed")

    # ── the end of a response ──

    def _send(self, data: bytes) -> None:
        if not self._stream.write(data) and self._exchange is not None:
            self._exchange.client_gone()

    def _end_response(self, exchange: Exchange, is_sent: bool) -> None:
        """All of it was written; `is_sent` is whether the kernel has taken it."""
        http = self._http
        stream = self._stream
        if exchange is not self._exchange:
            return
        self._exchange = None
        self._record_end(exchange.head.line, exchange.status, is_sent)
        if http.start_next_cycle():
            if http.unread or stream.ended or stream.reading_paused:
                self._go_on_soon()
        elif http.reading is READING_BODY and not http.response.closes:
            self._discarded = 0
            self._discard(0)
            stream.resume_reading()
        else:
            if http.response.short:
                problem = f"the response is {http.response.short} bytes shorter than its Content-Length"
                self._registry.report_fault(exchange.head, problem)
            self._close()

    def _close(self) -> None:
        """Close when everything is written, and the client has had the time to read it."""
        self._stream.close(linger=self._http.may_send_more)

    # ── what is recorded ──

    def _record_end(self, line: RequestLine | bytes, status: int, is_sent: bool) -> None:
        """The response is complete: record its request now, or when the kernel has taken all of it. Until
        then no next request is begun."""
        sent = self._http.response.body_sent
        if is_sent:
            self._record_now(line, status, sent)
        else:
            self._sending = (line, status, sent)

    def _record_sent(self) -> None:
        """The kernel has taken all of the response."""
        assert self._sending is not None
        line, status, sent = self._sending
        self._sending = None
        self._record_now(line, status, sent)
        self._stream.expect_more()

    def _record_now(self, line: RequestLine | bytes, status: int, sent: int) -> None:
        record = self._record
        record.end(line, status, max(0, sent), time.monotonic_ns())
        if record.access is not None:
            self._registry.write_lines_soon()

    # ── what is not answered by the application ──

    def refuse(self, rejected: Rejected) -> None:
        if self._exchange is None and self._http.reading is READING_BODY:
            self._close()
            return
        self._http.refuse(rejected)
        self._reject_input(rejected)

    def _reject_input(self, rejected: Rejected) -> None:
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
        http = self._http
        is_sent = self._stream.write_end(http.response.reject(status, reason))
        if exchange is not None:
            self._record_end(exchange.head.line, status, is_sent)
            exchange.client_gone()
        else:
            if self._sending is not None:
                self._record_sent()
            self._record.begin_refused(self._peer)
            self._record_now(http.refused, status, http.response.body_sent)
        self._close()

    def _break_off(self, exchange: Exchange) -> None:
        """End the connection inside a response, so that the client can tell."""
        http = self._http
        self._drop(exchange, exchange.status, http.response.body_sent)
        needs_reset = http.response.ends_by_close
        http.response.abandon_response()
        if needs_reset:
            self._stream.reset()
        else:
            self._close()

    def _drop(self, exchange: Exchange, status: int, sent: int) -> None:
        """Its response will not be completed."""
        self._exchange = None
        self._record_now(exchange.head.line, status, sent)
        exchange.client_gone()  # for what the application has left running

    # ── what the worker asks for (Driver) ──

    def waiting(self) -> tuple[WaitFor, int]:
        http = self._http
        exchange = self._exchange
        if exchange is not None:
            # A body is its client's business only while it is asked for: what is not read cannot be late.
            if not exchange.awaits_body or self._stream.reading_paused:
                return WaitFor.APPLICATION, 0
        elif http.reading is not READING_BODY:
            if not http.is_idle:
                return WaitFor.HEAD, http.cycle
            return (WaitFor.IDLE if http.cycle else WaitFor.FIRST), http.cycle
        return WaitFor.BODY, (http.cycle << 48) + http.body_received

    def is_idle(self, *, or_lacks_head: bool) -> bool:
        http = self._http
        return http.lacks_head if or_lacks_head else http.is_idle

    def close_after_response(self) -> None:
        self._http.response.close_after_response()

    def send_disconnect(self) -> None:
        if self._exchange is not None and self._exchange.answer is STARTED:
            self._exchange.client_left()
