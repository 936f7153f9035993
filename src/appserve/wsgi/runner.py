"""One request after the other: its body is gathered, the application called, what it did wrong is logged, and
the request is recorded (connection/record.py).

Nothing here waits for the client or reads from it; wsgi/connection.py does the one, its loop the other.
"""

import os
import time
from contextvars import copy_context
from typing import BinaryIO

from appserve import forked
from appserve.connection.origin import Endpoints
from appserve.connection.record import RequestRecord
from appserve.errors import ClientDisconnected, Rejected
from appserve.http.forwarded import NOTHING, Forwarded, Forwarding
from appserve.http.http1 import Http1Connection
from appserve.http.messages import CHUNKED, WRITING_DONE, WRITING_HEAD, RequestHead
from appserve.http.status import REASONS
from appserve.observe.counters import CLIENT_LEFT
from appserve.observe.log import Level
from appserve.tracebacks import application_traceback
from appserve.wsgi.body import RequestBody
from appserve.wsgi.environ import (
    CgiVariables,
    Environ,
    Header,
    add_endpoints,
    apply_forwarded,
    make_environ,
)
from appserve.wsgi.outbox import Outbox
from appserve.wsgi.response import Response
from appserve.wsgi.service import WsgiService
from appserve.wsgi.sink import ConnectionSink

LONG = 10_000_000
"""Nanoseconds of a call of the application after which other connections have their turn."""


class RequestRunner:
    """Runs the requests of one connection, and has the state of the current one.

    outbox, record, sink   the connection's
    peer       the client's address, "" for that of a unix socket
    since      between two requests: when the last was answered, or the connection was made; monotonic ns
    late_at    when a request that has come in has waited for too long, if ever; monotonic ns
    took_long  a call of the application did, so that other connections have their turn
    resets     a response was cut short, and only a reset can tell the client
    head, body   of a request whose body comes in
    """

    __slots__ = (
        "_forwarded",
        "_forwarding",
        "_http",
        "_response",
        "_sending",
        "_service",
        "_template",
        "body",
        "head",
        "late_at",
        "outbox",
        "peer",
        "record",
        "resets",
        "since",
        "sink",
        "took_long",
    )

    def __init__(
        self,
        service: WsgiService,
        endpoints: Endpoints,
        http: Http1Connection[CgiVariables, Header],
        outbox: Outbox,
    ) -> None:
        self._service = service
        self._http = http
        self.outbox = outbox
        self.sink = ConnectionSink(http, outbox)
        self._template = add_endpoints(service.template, endpoints)
        self.peer = endpoints.host
        self._forwarding: Forwarding | None = endpoints.trusted(service.shared.forwarding)
        self._forwarded: Forwarded = None, NOTHING  # what it says of a request whose body comes in
        self.head: RequestHead[CgiVariables] | None = None
        self.body: RequestBody | None = None
        self._response: Response | None = None
        self._sending: tuple[RequestHead[CgiVariables], int] | None = None  # answered, and not all taken yet
        self.record = RequestRecord(service.shared.counters, service.shared.access, self.peer)
        self.since = self.record.began
        self.late_at: int | None = None
        self.took_long = False
        self.resets = False

    def set_endpoints(self, endpoints: Endpoints, facts: Environ) -> None:
        """The preamble is over; `facts` are of its TLS."""
        self._template = add_endpoints(self._service.template, endpoints) | facts
        self.peer = self.record.client = endpoints.host
        self._forwarding = endpoints.trusted(self._service.shared.forwarding)

    def _read_forwarded(self, forwarding: Forwarding, head: RequestHead[CgiVariables]) -> Forwarded:
        """Where a request comes from, by its fields. Raises Rejected; nothing more is read then."""
        record = self.record
        record.client = self.peer
        try:
            found = forwarding.read(head.values)
        except Rejected as rejected:
            self.head = head  # it is recorded as one that was not served
            self._http.refuse(rejected)
            raise
        client = found[0]
        if client is not None:
            record.client = client[0]
        return found

    def await_body(self, head: RequestHead[CgiVariables]) -> None:
        if self._forwarding is not None:
            self._forwarded = self._read_forwarded(self._forwarding, head)
        self.head = head
        try:
            self.body = RequestBody(self._service.quota, head.body_length)
        except Rejected as rejected:
            self._http.refuse(rejected)
            raise
        if head.expects_continue and not self._http.unread:
            # The application is called with the whole body, so the 100 is sent here (PEP 3333
            # "HTTP 1.1 Expect/Continue", first way).
            self.outbox.write(self._http.response.send_informational(100))

    def serve(self, head: RequestHead[CgiVariables], body: BinaryIO, begun: int) -> None:
        """Call the application, at `begun` (monotonic ns)."""
        environ = make_environ(self._template, head, body)
        forwarding = self._forwarding
        if forwarding is not None:
            # Where the body came later, this was read before it.
            found = self._forwarded if self.head is not None else self._read_forwarded(forwarding, head)
            apply_forwarded(environ, found[0], found[1], head.line)
        late_at = self.late_at
        if late_at is not None and begun > late_at:
            self._turn_away(head)
            return
        http = self._http
        if self._service.keep_alive.closes:
            http.response.close_after_response()
        record = self.record
        counts = record.counts
        counts.begin(head.line.label, begun)
        if record.access is not None:
            record.referer, record.agent = environ.get("HTTP_REFERER", ""), environ.get("HTTP_USER_AGENT", "")
        if self.body is not None and head.body_length == CHUNKED:
            # What RFC 9112 §7.1.3 makes of it. Some applications read nothing without a length, and some
            # would decode the body again (PEP 3333 "Other HTTP Features": hop-by-hop fields are ours).
            environ["CONTENT_LENGTH"] = str(self.body.size)
            environ.pop("HTTP_TRANSFER_ENCODING", None)
        try:
            # A context of its own: what the application binds there (a user, for the lines of its log) is not
            # another request's. 0.2 µs.
            copy_context().run(self._call, environ)
            status = self.sink.code
            if http.response.short:
                self._report_short(head, http.response.short)
        except BaseException as error:
            status = self._fail(head, error)
        if self._response is not None:
            self._response.is_over = True
        if self.body is not None:
            self.forget_body()
        now = time.monotonic_ns()
        spent = counts.end(now)
        if self.outbox.pending:
            self._sending = (head, status)  # it is recorded when it is sent
        else:
            record.end(head.line, status, http.response.body_sent, now)
            self.since = now
        if spent > LONG:
            self.took_long = True

    def _call(self, environ: Environ) -> None:
        """Call the application and send what it gives; also the iteration and close() are its code."""
        service = self._service
        response = self._response = Response(self.sink)
        environ["wsgi.early_hints"] = response.send_early_hints
        result = service.shared.application(environ, response.start_response)
        if service.keep_alive.closes and not self.sink.started:
            self._http.response.close_after_response()  # the worker began to leave in the meantime
        response.finish(result)

    def _fail(self, head: RequestHead[CgiVariables], error: BaseException) -> int:
        """The application raised, or broke a rule; the status that the request ends with."""
        http = self._http
        if os.getpid() != self._service.pid:
            forked.leave(error)
        if self.outbox.is_lost:
            http.response.abandon_response()
            http.response.body_sent = max(0, http.response.body_sent - self.outbox.missing)
            return CLIENT_LEFT
        self.record.counts.app_errors += 1
        self._service.shared.log.block(
            Level.ERROR,
            f"application error in {_name(head)}: it raised {type(error).__name__}",
            application_traceback(error),
        )
        if http.response.writing is WRITING_HEAD:
            if self._response is not None:
                self._response.code = 500  # it may not start any more
            return self._answer(500)
        if http.response.writing is not WRITING_DONE:  # else it failed in its close(), after the response
            self.resets = http.response.ends_by_close
            http.response.abandon_response()
        return self.sink.code

    def refuse(self, rejected: Rejected) -> None:
        """Answer in the application's stead, if the response has not begun, and record it."""
        http, status = self._http, rejected.status
        self._service.shared.refusals.add_request(self.peer, rejected)
        answer = http.response.reject(status, rejected.reason)
        try:
            self.outbox.write(answer)
        except ClientDisconnected:
            pass  # it is recorded as what it was
        if self.head is not None:
            self.record_alone(self.head, status)
        else:
            self.record.begin_refused(self.peer)
            self.record.end(http.refused, status, http.response.body_sent, time.monotonic_ns())
        self.forget_body()

    def client_left(self) -> None:
        """Record a request that was coming in; on_sent() does it for a response that is cut."""
        if self.head is not None:
            self.record_alone(self.head, CLIENT_LEFT)

    def _turn_away(self, head: RequestHead[CgiVariables]) -> None:
        """A client that has waited for so long has often given up, and those behind would wait as well."""
        # 0 is what a worker sets whose time to leave is over.
        why = "the request waited longer than --queue-timeout" if self.late_at else "the server is stopping"
        late = Rejected(503, why)
        self._service.shared.refusals.add_request(self.peer, late)
        self.record_alone(head, self._answer(503, ("Retry-After", "1")))
        self.forget_body()

    def _answer(self, status: int, *fields: Header) -> int:
        """Answer in the application's stead; gives the status that the request ends with."""
        http = self._http
        if self._service.keep_alive.closes:
            http.response.close_after_response()
        text = f"{REASONS[status]}\n".encode()
        answer = http.response.respond(status, [("Content-Type", "text/plain; charset=utf-8"), *fields], text)
        try:
            self.outbox.write(answer)
        except ClientDisconnected:
            http.response.abandon_response()
            return CLIENT_LEFT
        return status

    def _report_short(self, head: RequestHead[CgiVariables], missing: int) -> None:
        self.resets = self._http.response.ends_by_close
        self.record.counts.app_errors += 1
        self._service.shared.log.error(
            f"application error in {_name(head)}: the body ended {missing} bytes short of its "
            "Content-Length; closed the connection, so that the client detects it"
        )

    def on_sent(self) -> None:
        """The response that was on its way is with the client, or never will be as a whole."""
        if self._sending is None:
            return
        head, status = self._sending
        self._sending = None
        missing = self.outbox.missing or self.outbox.unsent
        if missing:
            status = CLIENT_LEFT
            self._http.response.body_sent = max(0, self._http.response.body_sent - missing)
        self.since = now = time.monotonic_ns()
        self.record.end(head.line, status, self._http.response.body_sent, now)

    def on_shrunk(self, missing: int) -> None:
        """A file lost bytes after its part of the response had been announced, while it was sent."""
        http = self._http
        http.response.fall_short(missing)
        self.outbox.missing = 0
        self.resets = http.response.ends_by_close
        name = _name(self._sending[0]) if self._sending is not None else "a request"
        self.record.counts.app_errors += 1
        self._service.shared.log.error(
            f"application error in {name}: the file of the response shrank by {missing} bytes while it was "
            "sent; closed the connection, so that the client detects it"
        )

    def forget_body(self) -> None:
        if self.body is not None:
            self.body.discard()
        self.head = self.body = None

    def record_alone(self, head: RequestHead[CgiVariables], status: int) -> None:
        """Record a request that the application was not called for."""
        record = self.record
        if record.access is not None:
            fields = dict(head.fields)
            record.referer, record.agent = fields.get("HTTP_REFERER", ""), fields.get("HTTP_USER_AGENT", "")
        self.since = now = time.monotonic_ns()
        record.end(head.line, status, self._http.response.body_sent, now)


def _name(head: RequestHead[CgiVariables]) -> str:
    return head.line.label.decode("latin-1")
