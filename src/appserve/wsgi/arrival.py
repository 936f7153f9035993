"""What comes before the first request of a connection: the PROXY header, then TLS, each if it is asked for.

Until both are there, a stand-in for the socket's `recv` reads them; a connection on which neither is expected
has the socket's own from the beginning.
"""

import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

from appserve.errors import Rejected
from appserve.http.http1 import Http1Connection
from appserve.net.kernel_queues import silent_for
from appserve.wsgi.environ import add_addresses
from appserve.wsgi.exchange import Exchanges
from appserve.wsgi.outbox import Outbox
from appserve.wsgi.service import WsgiService
from appserve.wsgi.sink import ConnectionSink

if TYPE_CHECKING:  # read by those workers only that need it
    from appserve.net.greeting import Greetings
    from appserve.net.tls_socket import TlsSocket


class Arrival(Exchanges):
    """A connection, as far as it has to be found out whose it is and what is spoken on it."""

    __slots__ = ("_greeting", "_recv", "_tls", "_waited", "fd", "socket")

    def __init__(self, service: WsgiService, client: socket.socket, peer: object) -> None:
        """Raises OSError if the client has left, or is turned away."""
        super().__init__(
            service,
            add_addresses(service.template, client.getsockname(), peer, service.encrypt is not None),
            Http1Connection(service.limits, service.fields, service.date_fields),
            Outbox(client, service.quota, service.timeouts.write, service.tally),
        )
        self.socket: socket.socket | TlsSocket = client
        self._tls: TlsSocket | None = None
        self._waited = 0  # how long the handshake had to, before it began (ns)
        self.fd = client.fileno()
        self._recv: Callable[[int], bytes] = client.recv
        if service.greetings is not None:
            self._expect_greeting(service.greetings, client, peer)
        else:
            self._believe()
            if service.encrypt is not None:
                self._expect_tls(service.encrypt, client)

    def note_arrival(self, now: int, limit: int, reads: bool) -> None:
        """It is this connection's turn soon: the request that comes next is late if it waits for `limit` ns.

        One that is read now has come in before, while the application was running, say, or before the
        connection was accepted. One that was here already has waited for its client to take a response.
        """
        waited = silent_for(self.socket) if reads else 0
        if not self._http.cycle:
            waited += self._waited
        self.late_at = now + limit - waited

    # ── the PROXY header ──

    def _expect_greeting(self, greetings: "Greetings", client: socket.socket, peer: object) -> None:
        """Raises ConnectionError if `peer` is none of the proxies that are listened to."""
        try:
            self._greeting = greetings.expect(client, peer)
        except Rejected as rejected:
            raise self._turned_away(rejected) from None
        self._recv = self._greet

    def _greet(self, size: int) -> bytes:
        """Stands in for the socket's recv until the header is there: nothing is read before it."""
        try:
            header = self._greeting.read()
        except Rejected as rejected:
            raise self._turned_away(rejected) from None
        if header is None:
            raise BlockingIOError
        encrypt = self._service.encrypt
        if header.source is not None:
            over_tls = header.over_tls or encrypt is not None
            self._template = add_addresses(
                self._service.template, header.destination, header.source, over_tls
            )
            self._peer = self._record.client = self._template["REMOTE_ADDR"]
            self._believe()
        self._recv = self.socket.recv
        if encrypt is not None:
            assert isinstance(self.socket, socket.socket)
            self._expect_tls(encrypt, self.socket)
        return self._recv(size)

    def _turned_away(self, rejected: Rejected) -> ConnectionError:
        """No answer: whoever is not our proxy need not know what is here (PROXY protocol §2)."""
        self._service.refusals.add(self._peer, rejected.reason)
        return ConnectionAbortedError(rejected.reason)

    # ── TLS ──

    def _expect_tls(self, encrypt: "Callable[[socket.socket], TlsSocket]", client: socket.socket) -> None:
        """All that follows is encrypted. Raises OSError if the client has left."""
        service = self._service
        self._waited = silent_for(client)
        self.socket = self._tls = tls = encrypt(client)
        self._outbox = Outbox(tls, service.quota, service.timeouts.write, service.tally)
        self._sink = ConnectionSink(self._http, self._outbox)
        self._recv = self._shake_hands

    def _shake_hands(self, size: int) -> bytes:
        """Stands in for the socket's recv until the first bytes of a request are there."""
        assert self._tls is not None
        try:
            data = self._decrypt(size)
        except BlockingIOError:
            raise
        except OSError as error:
            self._service.log.debug(
                f"TLS with {self._peer or 'a local client'} failed: {error.strerror or type(error).__name__}"
            )
            raise
        if data:
            self._template.update(self._tls.facts())
            self._recv = self._decrypt
        return data

    def _decrypt(self, size: int) -> bytes:
        """As recv. An end behind the last bytes is told at once: no poll would do it."""
        assert self._tls is not None
        data = self._tls.recv(size)
        if data and self._tls.pending:
            self._record.received(len(data), self._http)
            self._http.receive_data(data)
            data = self._tls.recv(size)
        return data
