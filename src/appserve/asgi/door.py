"""What becomes of a connection that was accepted: which protocols it is given, and in which order.

    PROXY header (gate.py) ─► TLS (tls.py) ─► HTTP (stream.py, http1.py)

The first two only where they are asked for. The HTTP connection is there from the accept on, so it is
counted, swept and closed like any other while it still waits for what comes before it.
"""

import asyncio
import socket
import ssl
from typing import Any, cast

from appserve.asgi.gate import Gate
from appserve.asgi.http1 import Http1Driver
from appserve.asgi.registry import Registry
from appserve.asgi.scope import Address
from appserve.asgi.stream import Stream
from appserve.asgi.tls import TlsSite, TlsTransport
from appserve.errors import Rejected
from appserve.net.address import show_peer
from appserve.net.greeting import Greetings
from appserve.net.listeners import Listener


class ConnectionFactory:
    """Made once per worker. `context` is None where no TLS is spoken, `greetings` where no PROXY header is
    expected."""

    def __init__(
        self,
        registry: Registry,
        context: ssl.SSLContext | None = None,
        greetings: Greetings | None = None,
    ) -> None:
        self._registry = registry
        self._refusals = registry.service.refusals
        self._tls = TlsSite(registry, context) if context is not None else None
        self._greetings = greetings
        self._servers: dict[Listener, Address] = {}

    def admit(self, connection: socket.socket, peer: Any, listener: Listener) -> asyncio.BaseProtocol | None:
        """The protocol of a connection that came from `peer` (an address as accept() gives it), or None if it
        is to be closed."""
        greetings = self._greetings
        if greetings is not None:
            try:
                greetings.expect(connection, peer)
            except Rejected as rejected:
                self._refusals.add(show_peer(peer), rejected.reason)
                return None
        stream = Stream(self._registry)
        driver = self._make_driver(stream, connection, peer, listener)
        following = stream if self._tls is None else TlsTransport(self._tls, stream, driver)
        if greetings is None:
            return cast("asyncio.Protocol", following)  # it has the methods, and no base class
        return Gate(driver, following, greetings.version, show_peer(peer), self._refusals)

    def _make_driver(
        self, stream: Stream, connection: socket.socket, peer: Any, listener: Listener
    ) -> Http1Driver:
        if listener.unix_path is not None:
            return Http1Driver(stream, self._registry, None, (listener.unix_path, None))
        server = self._servers.get(listener)
        if server is None:
            server = connection.getsockname()[:2]
            if listener.socket.getsockname()[:2] == server:
                self._servers[listener] = server  # not a wildcard: all its connections have this address
        return Http1Driver(stream, self._registry, (peer[0], peer[1]), server)
