"""A client that speaks TLS and a TlsSocket at the two ends of a socket pair, in one thread."""

import contextlib
import socket
import ssl
from types import TracebackType

from appserve.net.tls_context import TlsFiles, make_context
from appserve.net.tls_socket import TlsSocket
from tests.certificates import Pair, certificates

READ_SIZE = 65536


def serving(pair: Pair | None = None, **settings: str) -> ssl.SSLContext:
    """A server's context with this certificate, the usual one if none is given."""
    pair = pair or certificates().shop
    return make_context(TlsFiles(pair.certfile, pair.keyfile, **settings))


class Visit:
    """`client` and `server`, both non-blocking; the handshake is not begun."""

    def __init__(
        self,
        context: ssl.SSLContext | None = None,
        *,
        client: ssl.SSLContext | None = None,
        name: str | None = "shop.example",
        small: bool = False,
    ) -> None:
        self.wire, accepted = socket.socketpair()
        for end in (self.wire, accepted):
            end.setblocking(False)
            if small:
                end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        self.server = TlsSocket(accepted, context or serving())
        client = client or certificates().client_context()
        self.client = client.wrap_socket(self.wire, server_hostname=name, do_handshake_on_connect=False)

    def __enter__(self) -> "Visit":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.client.close()
        self.server.close()

    def shake(self) -> "Visit":
        """Both do their part in turn until the handshake is done, or one of them raises."""
        for _ in range(20):
            with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLWantWriteError):
                self.client.do_handshake()
            self.poll()
            if self.client.version() and self.server.facts():
                return self
        raise AssertionError("the handshake does not end")

    def poll(self) -> bytes | None:
        """What the server receives now, None if nothing."""
        try:
            return self.server.recv(READ_SIZE)
        except BlockingIOError:
            return None

    def receive(self) -> bytes:
        """All that is there for the client now."""
        received = b""
        with contextlib.suppress(ssl.SSLWantReadError):
            while data := self.client.recv(READ_SIZE):
                received += data
        return received
