"""What comes before HTTP on a connection: a PROXY header, then TLS, each if it is expected.

    bytes received ──► PROXY header ──► TLS ──► bytes of HTTP
                       └► endpoints      └► output(), to be sent

It decides without I/O and without a loop: wsgi/preamble_socket.py and asgi/preamble_transport.py move the
bytes. A client that falls silent in here has sent no request yet, so the limit on the first byte ends it.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from appserve.connection.origin import Endpoints
from appserve.errors import Rejected
from appserve.http.forwarded import TrustList
from appserve.http.proxy_protocol import read_proxy_header

if TYPE_CHECKING:  # OpenSSL is 3 MB, for those with a certificate
    from appserve.net.tls_session import TlsSession


class PreambleRules:
    """What all connections of a server begin with.

    proxy_protocol  "v1", "v2" or "auto", which is either; "" when no header is expected
    proxies         those that may send one
    make_session    makes the TLS of a connection; None without TLS
    """

    __slots__ = ("make_session", "proxies", "proxy_protocol")

    def __init__(
        self,
        proxy_protocol: str = "",
        proxies: TrustList | None = None,
        make_session: "Callable[[], TlsSession] | None" = None,
    ) -> None:
        self.proxy_protocol = proxy_protocol
        self.proxies = proxies
        self.make_session = make_session

    def check_peer(self, host: str) -> None:
        """Raises Rejected (403) for a peer that is not among the proxies: it could announce any client. It
        gets no answer: a client that is no proxy of ours need not know what is here (PROXY protocol §2)."""
        if self.proxies is not None and not self.proxies.trusts(host):
            raise Rejected(403, "its address is not in --proxy-allow-from (PROXY protocol §2)")


class Preamble:
    """That of one connection.

    endpoints  its two ends: those of the socket, until a PROXY header has others
    session    its TLS, from the first byte on: a silent client costs no memory
    """

    __slots__ = ("_make_session", "_seen", "_version", "endpoints", "session")

    def __init__(self, rules: PreambleRules, endpoints: Endpoints) -> None:
        self._version = rules.proxy_protocol
        self._make_session = rules.make_session
        self._seen = b""
        self.endpoints = endpoints
        self.session: TlsSession | None = None

    @property
    def expects_header(self) -> bool:
        """Whether the PROXY header, or a part of it, has still to come."""
        return bool(self._version)

    @property
    def expects_tls(self) -> bool:
        """Whether TLS comes behind the header, and for good."""
        return self._make_session is not None

    @property
    def peer(self) -> str:
        """The client, for the log."""
        return self.endpoints.host or "a local client"

    def receive(self, data: bytes | memoryview) -> bytes:
        """The bytes of HTTP in what was received, if any; output() has to be sent next.

        Raises Rejected for bytes that are no PROXY header: the connection ends without an answer.
        Raises ConnectionAbortedError when there is no TLS, see TlsSession.receive.
        """
        if self._version:
            self._seen += data
            found = read_proxy_header(self._seen, self._version)
            if found is None:
                return b""
            header, size = found
            data, self._seen, self._version = self._seen[size:], b"", ""
            self.endpoints = self.endpoints.behind(header)
        if self._make_session is None:
            return bytes(data)
        if self.session is None:
            if not data:
                return b""
            self.session = self._make_session()
        return self.session.receive(data)

    def output(self) -> bytes:
        """What has to be sent now."""
        return self.session.output() if self.session is not None else b""
