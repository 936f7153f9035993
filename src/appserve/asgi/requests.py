"""What comes in on one HTTP/1.1 connection: requests, their bodies, and what nobody wants any more.

The client waits while the application leaves READ_BOUND bytes of a body unreceived, while as much is
pipelined behind the request in progress, and while it does not read the responses that it has.
"""

from abc import abstractmethod
from enum import IntEnum

from appserve.asgi.exchange import Exchange
from appserve.asgi.registry import Registry
from appserve.asgi.scope import Field
from appserve.asgi.transport import READ_BOUND, TransportProtocol
from appserve.connection.record import RequestRecord
from appserve.errors import Rejected
from appserve.http.http1 import Http1Connection
from appserve.http.messages import CLOSED, END, RequestHead
from appserve.http.timeouts import WaitFor

DISCARD_BOUND = 262144
"""Bytes of a body that nobody received which are read to keep the connection; a longer rest closes it."""


class ConnectionPhase(IntEnum):
    """What the bytes that come in are."""

    REQUESTS = 0
    DISCARDING = 1  # the rest of a body that the application did not receive; its response is complete
    CLOSING = 2  # of no interest any more: the last response is out
    LOST = 3


# hot: bench asgi-hello; see http.messages.END.
REQUESTS, DISCARDING, CLOSING, LOST = ConnectionPhase


class RequestProtocol(TransportProtocol):
    """The half of a protocol that the client's bytes come to."""

    __slots__ = ("_connection", "_exchange", "_record", "_stage")

    def __init__(self, registry: Registry) -> None:
        super().__init__(registry)
        self._connection: Http1Connection[Field, Field] = Http1Connection(
            registry.service.limits, registry.service.fields, registry.service.date_fields
        )
        self._record = RequestRecord(registry.service.tally, registry.service.access, "")
        self._exchange: Exchange | None = None  # whose response is not complete
        self._stage: ConnectionPhase = REQUESTS

    def data_received(self, data: bytes) -> None:
        if self.rests:
            self._wake()
        self._record.received(len(data), self._connection)
        if self._stage is not REQUESTS:
            self._discard(data)
            return
        self._connection.receive_data(data)
        if self._exchange is None:
            self._next_request(self._record.read_at)
        else:
            self._read_on(self._exchange)

    def eof_received(self) -> bool:
        """The client ended its side. True keeps the transport open for what is still to be sent."""
        self._ended = True
        if self.rests:
            self._wake()
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

    @abstractmethod
    def _begin(self, head: RequestHead[Field], now: int) -> None:
        """A request has come, at `now` (monotonic ns; 0 if that is not known); its body may follow."""

    @abstractmethod
    def _refuse(self, rejected: Rejected) -> None:
        """The input cannot be read on: answer that, unless a response is under way."""

    def refuse(self, rejected: Rejected) -> None:
        """Read no further, for a reason that is not in the requests themselves."""
        self._connection.refuse(rejected)
        self._refuse(rejected)

    def _next_request(self, now: int = 0) -> None:
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
            self._begin(event, now)
        elif event is CLOSED:
            self.close()
        elif self._reading_paused:
            self._resume_reading()

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
        self._registry.loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        if self._stage is REQUESTS and self._exchange is None and not self._transport.is_closing():
            self._next_request()

    def _discard_rest(self) -> None:
        """The response is complete before its request: read that to its end, within bounds."""
        self._stage = DISCARDING
        self._swallowed = 0
        self._discard(b"")
        self._resume_reading()

    def _discard(self, data: bytes) -> None:
        """Read on without an exchange: the rest of a body, or what comes in while lingering."""
        self._swallowed += len(data)
        if self._stage is not DISCARDING:
            return
        connection = self._connection
        connection.receive_data(data)
        try:
            while type(connection.next_event()) is bytes:
                pass
        except Rejected:
            self.close()
            return
        if connection.start_next_cycle():
            self._stage = REQUESTS
            self._go_on_soon()
        elif connection.closes or self._swallowed > DISCARD_BOUND:
            self.close()

    def close(self) -> None:
        """Close when everything is written, and the client has had the time to read it."""
        self._stage = CLOSING
        self._end(linger=self._connection.may_send_more)

    def close_if_idle(self) -> bool:
        """Close unless a request is coming in or being answered; whether it is closed."""
        is_idle = self._stage is REQUESTS and self._exchange is None and self._connection.is_idle
        if not is_idle or self._has_input():
            return False
        # Whatever was sent has had its time, and there is nothing that a close could destroy.
        self._stage = CLOSING
        self._end(linger=False)
        return True

    def make_room(self) -> bool:
        """Close for others, unless a request has come in or is being answered; whether it is closed."""
        connection = self._connection
        is_waiting = self._stage is REQUESTS and self._exchange is None and connection.lacks_head
        if not is_waiting or self._has_input():
            return False
        self._stage = CLOSING
        self._end(linger=False)
        return True

    def _waiting(self) -> tuple[WaitFor, int]:
        connection = self._connection
        exchange = self._exchange
        if exchange is not None:
            # A body is its client's business only while it is asked for: who is not read cannot be late.
            if exchange.awaits_body and not self._reading_paused:
                return WaitFor.BODY, (connection.cycle << 48) + connection.body_received
            return WaitFor.APPLICATION, 0
        if self._stage is DISCARDING:
            return WaitFor.BODY, (connection.cycle << 48) + connection.body_received
        if self._stage is not REQUESTS:
            return WaitFor.APPLICATION, 0
        if not connection.is_idle:
            return WaitFor.HEAD, connection.cycle
        return (WaitFor.IDLE if connection.cycle else WaitFor.FIRST), connection.cycle
