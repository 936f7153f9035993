"""The PROXY header that a connection begins with: it is read here, and the rest handed on.

    socket ── transport of the event loop ── Gate, then TlsTransport or Stream

The transport has the bytes already when they are looked at, so what follows the header is kept and given to
whoever comes next. How long a header may take is the wait for a connection's first byte.
"""

import asyncio
from typing import cast

from appserve.asgi.http1 import Http1Driver
from appserve.asgi.scope import Address
from appserve.asgi.stream import Stream
from appserve.asgi.tls import TlsTransport
from appserve.errors import Rejected
from appserve.http.proxy_protocol import Endpoint, ProxyHeader, read_proxy_header
from appserve.observe.refusals import Refusals


class Gate(asyncio.Protocol):
    """One connection of `peer`, a proxy that may send a header; `version` is what is expected of it.

    `following` is who reads on, on behalf of `http`.
    """

    __slots__ = ("_following", "_http", "_peer", "_refusals", "_seen", "_transport", "_version")

    _transport: asyncio.Transport  # from connection_made on

    def __init__(
        self,
        http: Http1Driver,
        following: Stream | TlsTransport,
        version: str,
        peer: str,
        refusals: Refusals,
    ) -> None:
        self._http = http
        self._following = following
        self._version = version
        self._peer = peer
        self._refusals = refusals
        self._seen = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._following.connection_made(self._transport)

    def data_received(self, data: bytes) -> None:
        transport = self._transport
        if transport.is_closing():
            return
        self._seen += data
        try:
            found = read_proxy_header(self._seen, self._version)
        except Rejected as rejected:
            self._refusals.add(self._peer, rejected.reason)
            transport.abort()
            return
        if found is None:
            return
        header, size = found
        self._introduce(header)
        transport.set_protocol(cast("asyncio.Protocol", self._following))
        if len(self._seen) > size:
            self._following.data_received(self._seen[size:])

    def _introduce(self, header: ProxyHeader) -> None:
        """Tell the HTTP connection whose it is."""
        client, server, scheme = self._http.endpoints()
        if header.over_tls:
            scheme = "https"
        if header.source is None or header.destination is None:
            # The connection is the proxy's own, as for a health check, or its client cannot be described.
            # Its own addresses count then (PROXY protocol §2), and who knows no client vouches for none.
            self._http.set_endpoints(client, server, scheme, vouches=False)
        else:
            self._http.set_endpoints(_address(header.source), _address(header.destination) or server, scheme)

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, error: Exception | None) -> None:
        self._following.connection_lost(error)


def _address(endpoint: Endpoint) -> Address | None:
    """None is an end of a unix socket."""
    return None if isinstance(endpoint, str) else endpoint
