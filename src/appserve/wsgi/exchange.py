"""The requests of one connection, one after the other: the body is gathered, the application called, what it
did wrong is logged, and the request is recorded (connection/record.py).

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
from appserve.http.forwarded import Forwarding, Origin
from appserve.http.http1 import Http1Connection
from appserve.http.messages import CHUNKED, RequestHead, Writing
from appserve.http.status import REASONS
from appserve.observe.log import Level
from appserve.observe.tally import CLIENT_LEFT
from appserve.tracebacks import application_traceback
from appserve.wsgi.body import RequestBody
from appserve.wsgi.environ import (
    CgiVariable,
    Environ,
    Header,
    add_endpoints,
    apply_origin,
    gather,
    make_environ,
    read_origin,
)
from appserve.wsgi.outbox import Outbox
from appserve.wsgi.response import Response
from appserve.wsgi.service import WsgiService
from appserve.wsgi.sink import ConnectionSink

LONG = 10_000_000
"""Nanoseconds of a call of the application after which other connections have their turn."""

WRITING_HEAD, WRITING_DONE = Writing.HEAD, Writing.DONE  # hot: see messages.END.


class Exchanges:
    """What a connection does with a request that has come in."""

    __slots__ = (
        "_body",
        "_forwarding",
        "_head",
        "_http",
        "_origin",
        "_outbox",
        "_peer",
        "_record",
        "_resets",
        "_sending",
        "_service",
        "_since",
        "_sink",
        "_template",
        "_took_long",
        "late_at",
    )

    def __init__(
        self,
        service: WsgiService,
        endpoints: Endpoints,
        http: Http1Connection[CgiVariable, Header],
        outbox: Outbox,
    ) -> None:
        self._service = service
        self._http = http
        self._outbox = outbox
        self._sink = ConnectionSink(http, outbox)
        self._template = add_endpoints(service.template, endpoints)
        self._peer = endpoints.host
        self._forwarding: Forwarding | None = endpoints.trusted(service.forwarding)
        self._origin: Origin | None = None  # what it says of this request
        self._head: RequestHead[CgiVariable] | None = None  # while its body comes in
        self._body: RequestBody | None = None
        self._sending: tuple[RequestHead[CgiVariable], int] | None = None  # answered, and not all taken yet
        self._record = RequestRecord(service.tally, service.access, self._peer)
        self._since = self._record.began  # when the last request was answered; monotonic ns
        self.late_at: int | None = None  # when a request that has come in has waited for too long, if ever
        self._took_long = False  # a call of the application, so that it is for others to have a turn
        self._resets = False  # a response was cut short, and only a reset can tell the client

    def _set_endpoints(self, endpoints: Endpoints) -> None:
        """The PROXY header is read."""
        self._template = add_endpoints(self._service.template, endpoints)
        self._peer = self._record.client = endpoints.host
        self._forwarding = endpoints.trusted(self._service.forwarding)

    def _read_origin(
        self, forwarding: Forwarding, head: RequestHead[CgiVariable], variables: Environ
    ) -> None:
        """Find out from its fields where a request comes from. Raises Rejected; nothing more is read then."""
        self._origin = None
        self._record.client = self._peer
        try:
            self._origin = read_origin(forwarding, self._service.forwarded_variables, self._peer, variables)
        except Rejected as rejected:
            self._head = head  # it is recorded as one that was not served
            self._http.refuse(rejected)
            raise
        if self._origin is not None and self._origin.client is not None:
            self._record.client = self._origin.client[0]

    @property
    def peer(self) -> str:
        """The client's address, "" for that of a unix socket."""
        return self._peer

    @property
    def since(self) -> int:
        """Between two requests: when the last was answered, or the connection was made; monotonic ns."""
        return self._since

    def served_by(self, service: WsgiService) -> None:
        """Whoever has the connection from now on counts there."""
        self._service = service
        self._outbox.tally = self._record.counts = service.tally

    def _await_body(self, head: RequestHead[CgiVariable]) -> None:
        if self._forwarding is not None:
            self._read_origin(self._forwarding, head, gather(head.fields))
        self._head = head
        try:
            self._body = RequestBody(self._service.quota, head.body_length)
        except Rejected as rejected:
            self._http.refuse(rejected)
            raise
        if head.expects_continue and not self._http.unread:
            # The application is called with the whole body, so the body is asked for here (PEP 3333
            # "HTTP 1.1 Expect/Continue", first way).
            self._outbox.write(self._http.send_informational(100))

    def _serve(self, head: RequestHead[CgiVariable], body: BinaryIO, begun: int) -> None:
        """Call the application, at `begun` (monotonic ns)."""
        service = self._service
        environ = make_environ(self._template, head, body)
        if self._forwarding is not None:
            if self._head is None:  # else that was found out before its body came
                self._read_origin(self._forwarding, head, environ)
            if self._origin is not None:
                apply_origin(environ, self._origin, head.line)
        late_at = self.late_at
        if late_at is not None and begun > late_at:
            self._turn_away(head)
            return
        http = self._http
        if service.keep_alive.closes:
            http.close_after_response()
        tally = service.tally
        tally.begin(head.line.label, begun)
        record = self._record
        if record.access is not None:
            record.referer, record.agent = environ.get("HTTP_REFERER", ""), environ.get("HTTP_USER_AGENT", "")
        if self._body is not None and head.body_length == CHUNKED:
            # What RFC 9112 §7.1.3 makes of it. Some applications read nothing without a length, and some
            # would decode the body again (PEP 3333 "Other HTTP Features": hop-by-hop fields are ours).
            environ["CONTENT_LENGTH"] = str(self._body.size)
            environ.pop("HTTP_TRANSFER_ENCODING", None)
        response = Response(self._sink, http.date_fields)
        environ["wsgi.early_hints"] = response.send_early_hints
        try:
            # A context of its own: what the application binds there (a user, for the lines of its log) is not
            # another request's. 0.2 µs.
            copy_context().run(self._call, environ, response)
            status = response.code
            if http.short:
                self._report_short(head, http.short)
        except BaseException as error:
            status = self._fail(head, response, error)
        response.is_over = True
        if self._body is not None:
            self._forget_body()
        now = time.monotonic_ns()
        spent = tally.end(now)
        if self._outbox.pending:
            self._sending = (head, status)  # it is recorded when it is sent
        else:
            record.end(head.line, status, http.body_sent, now)
            self._since = now
        if spent > LONG:
            self._took_long = True

    def _call(self, environ: Environ, response: Response) -> None:
        """Call the application and send what it gives; also the iteration and close() are its code."""
        service = self._service
        result = service.application(environ, response.start_response)
        if service.keep_alive.closes and not self._sink.started:
            self._http.close_after_response()  # the worker began to leave in the meantime
        response.finish(result)

    def _fail(self, head: RequestHead[CgiVariable], response: Response, error: BaseException) -> int:
        """The application raised, or broke a rule; the status that the request ends with."""
        service = self._service
        http = self._http
        if os.getpid() != service.pid:
            forked.leave(error)
        if self._outbox.is_lost:
            http.abandon_response()
            http.body_sent = max(0, http.body_sent - self._outbox.missing)
            return CLIENT_LEFT
        service.tally.app_errors += 1
        service.log.block(
            Level.ERROR,
            f"application error in {_name(head)}: it raised {type(error).__name__}",
            application_traceback(error),
        )
        if http.writing is WRITING_HEAD:
            response.code = 500  # it may not start any more
            return self._answer(500)
        if http.writing is not WRITING_DONE:  # else it failed in its close(), after the response
            self._resets = http.ends_by_close
            http.abandon_response()
        return response.code

    def _turn_away(self, head: RequestHead[CgiVariable]) -> None:
        """Who has waited for so long has often given up, and those behind would wait for it as well."""
        # 0 is what a worker sets whose time to leave is over.
        why = "the request waited longer than --queue-timeout" if self.late_at else "the server is stopping"
        late = Rejected(503, why)
        self._service.refusals.add_request(self._peer, late)
        self._record_alone(head, self._answer(503, ("Retry-After", "1")))
        self._forget_body()

    def _answer(self, status: int, *fields: Header) -> int:
        """Answer in the application's stead; gives the status that the request ends with."""
        http = self._http
        if self._service.keep_alive.closes:
            http.close_after_response()
        text = f"{REASONS[status]}\n".encode()
        answer = http.respond(status, [("Content-Type", "text/plain; charset=utf-8"), *fields], text)
        try:
            self._outbox.write(answer)
        except ClientDisconnected:
            http.abandon_response()
            return CLIENT_LEFT
        return status

    def _report_short(self, head: RequestHead[CgiVariable], missing: int) -> None:
        self._resets = self._http.ends_by_close
        self._service.tally.app_errors += 1
        self._service.log.error(
            f"application error in {_name(head)}: the body ended {missing} bytes short of its "
            "Content-Length; closed the connection, so that the client detects it"
        )

    def _on_sent(self) -> None:
        """The response that was on its way is with the client, or never will be as a whole."""
        if self._sending is None:
            return
        head, status = self._sending
        self._sending = None
        missing = self._outbox.missing or self._outbox.unsent
        if missing:
            status = CLIENT_LEFT
            self._http.body_sent = max(0, self._http.body_sent - missing)
        self._since = now = time.monotonic_ns()
        self._record.end(head.line, status, self._http.body_sent, now)

    def _on_shrunk(self, missing: int) -> None:
        """A file lost bytes after its part of the response had been announced, while it was sent."""
        http = self._http
        http.fall_short(missing)
        self._outbox.missing = 0
        self._resets = http.ends_by_close
        name = _name(self._sending[0]) if self._sending is not None else "a request"
        self._service.tally.app_errors += 1
        self._service.log.error(
            f"application error in {name}: the file of the response shrank by {missing} bytes while it was "
            "sent; closed the connection, so that the client detects it"
        )

    def _forget_body(self) -> None:
        if self._body is not None:
            self._body.discard()
        self._head = self._body = None

    def _record_alone(self, head: RequestHead[CgiVariable], status: int) -> None:
        """Record a request that the application was not called for."""
        record = self._record
        if record.access is not None:
            fields = dict(head.fields)
            record.referer, record.agent = fields.get("HTTP_REFERER", ""), fields.get("HTTP_USER_AGENT", "")
        self._since = now = time.monotonic_ns()
        record.end(head.line, status, self._http.body_sent, now)


def _name(head: RequestHead[CgiVariable]) -> str:
    return head.line.label.decode("latin-1")
