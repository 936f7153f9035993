"""The PROXY header that a connection begins with, read off its socket and not a byte more.

What follows the header is somebody else's: a TLS handshake is read by OpenSSL from the same descriptor, and
an event loop reads what it will. So the bytes are looked at first (MSG_PEEK) and taken when it is known that
they are the header's.
"""

import socket

from appserve.errors import Rejected
from appserve.http.forwarded import TrustList
from appserve.http.proxy_protocol import LONGEST, ProxyHeader, read_proxy_header
from appserve.net.address import SocketAddress, show_peer
from appserve.values import Value


class Greeting:
    """One header that is awaited on a non-blocking stream socket. `version` is v1, v2 or auto."""

    __slots__ = ("_socket", "_taken", "_version")

    def __init__(self, client: socket.socket, version: str) -> None:
        self._socket = client
        self._version = version
        self._taken = b""

    def read(self) -> ProxyHeader | None:
        """The header, or None if more of it has to come: call again when the socket can be read.

        Raises Rejected (400) if it is none, ConnectionError if the peer leaves before its end, and whatever
        else the socket raises (OSError).
        """
        try:
            seen = self._socket.recv(LONGEST, socket.MSG_PEEK)
        except BlockingIOError:
            return None
        if not seen:
            raise ConnectionAbortedError("the peer disconnected before the end of its PROXY header")
        found = read_proxy_header(self._taken + seen, self._version)
        if found is None:
            # All of it is the header's. Left where it is, it would wake us again and again until more comes.
            self._take(len(seen))
            return None
        header, size = found
        self._take(size - len(self._taken))
        return header

    def _take(self, size: int) -> None:
        """Take `size` bytes that were seen; the kernel may hand them over in pieces (recv(2))."""
        while size:
            data = self._socket.recv(size)
            if not data:
                raise ConnectionAbortedError("the peer disconnected before the end of its PROXY header")
            self._taken += data
            size -= len(data)


class Greetings(Value):
    """What all connections of this process have to begin with, and who may connect at all."""

    version: str
    allowed: TrustList

    def expect(self, client: socket.socket, peer: SocketAddress) -> Greeting:
        """The greeting of a connection that was accepted from `peer`.

        Raises Rejected (403) for a peer that is not among the proxies: it could say that it is anybody.
        """
        if not self.allowed.trusts(show_peer(peer)):
            raise Rejected(403, "its address is not in --proxy-allow-from (PROXY protocol §2)")
        return Greeting(client, self.version)
