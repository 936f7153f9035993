"""The ends of a connection, and where a request comes from: client, scheme, host and port as values.

The socket has the ends of a connection, a PROXY header those of the client of a proxy, and trusted proxies
report them again for each request (http/forwarded.py). wsgi/environ.py and asgi/scope.py write the values
into the dictionaries of their applications.
"""

from typing import NamedTuple

from appserve.http.forwarded import DEFAULT_PORTS, Forwarding, Origin, with_port
from appserve.http.proxy_protocol import Endpoint, ProxyHeader
from appserve.http.request_line import split_authority
from appserve.net.address import SocketAddress

Address = tuple[str, int | None]
"""A host and its port, or the path of a unix socket and None."""


class Endpoints(NamedTuple):
    """The two ends of a connection.

    client       None is the client of a unix socket
    server       the address that the client called; None if it is not known
    over_tls     the client speaks TLS, with this server or with the proxy that passes the connection on
    is_announced whether the client is known: not if a PROXY header has nothing about it (as for a health
                 check of the proxy itself, or a client that it cannot describe). The addresses are the
                 proxy's own then, and no field of the requests is trusted (PROXY protocol §2)
    """

    client: Address | None
    server: Address | None
    over_tls: bool = False
    is_announced: bool = True

    @property
    def host(self) -> str:
        """The client's address, "" for that of a unix socket."""
        return self.client[0] if self.client is not None else ""

    def behind(self, header: ProxyHeader) -> "Endpoints":
        """Those of a connection that began with this PROXY header."""
        if header.source is None or header.destination is None:
            return self._replace(is_announced=False)
        over_tls = self.over_tls or header.over_tls
        return Endpoints(_address(header.source), _address(header.destination), over_tls)

    def trusted(self, forwarding: Forwarding | None) -> Forwarding | None:
        """What reads the fields of this connection's requests; None if its client is no trusted proxy."""
        if forwarding is not None and self.is_announced and forwarding.trusts(self.host):
            return forwarding
        return None


def endpoints_of(peer: SocketAddress, local: SocketAddress, over_tls: bool = False) -> Endpoints:
    """Those of a socket, from its addresses as the socket module gives them."""
    client: Address | None = (peer[0], peer[1]) if isinstance(peer, tuple) else None
    server: Address = (local[0], local[1]) if isinstance(local, tuple) else (local, None)
    return Endpoints(client, server, over_tls)


def called_host(origin: Origin, own: str, scheme: str) -> tuple[str, str, int]:
    """The Host field, the server's name in it and its port, as the client called them.

    `own` is the Host field of the request, "" without one; what is not known is "". To be called if proxies
    report a host or a port.
    """
    if origin.host:
        name, _ = split_authority(origin.host)
        return origin.host, name, origin.port or DEFAULT_PORTS[scheme][0]
    # A port alone belongs to the host that was called.
    name, port = split_authority(own)
    if name and port is None:
        own = with_port(name, origin.port, scheme)
    return own, name, origin.port


def _address(endpoint: Endpoint) -> Address | None:
    return None if isinstance(endpoint, str) else endpoint
