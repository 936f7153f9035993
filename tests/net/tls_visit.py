"""A client that speaks TLS and a TlsSession, with bytes in memory between them."""

import contextlib
import ssl

from appserve.net.tls_context import TlsFiles, make_context
from appserve.net.tls_session import TlsSession
from tests.certificates import Pair, certificates


def serving(pair: Pair | None = None, **settings: str) -> ssl.SSLContext:
    """A server's context with this certificate, the usual one if none is given."""
    pair = pair or certificates().shop
    return make_context(TlsFiles(pair.certfile, pair.keyfile, **settings))


class Visit:
    """`client` and `server`; the handshake is not begun."""

    def __init__(
        self,
        context: ssl.SSLContext | None = None,
        *,
        client: ssl.SSLContext | None = None,
        name: str = "shop.example",
        session: ssl.SSLSession | None = None,
    ) -> None:
        self.server = TlsSession(context or serving())
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = client or certificates().client_context()
        self.client = client.wrap_bio(self._incoming, self._outgoing, server_hostname=name, session=session)

    def shake(self) -> "Visit":
        """Both do their part in turn until the handshake is done, or the server's raises."""
        for _ in range(4):
            with contextlib.suppress(ssl.SSLWantReadError):
                self.client.do_handshake()
            assert self.pass_on() == b""
            if self.client.version() and self.server.is_established:
                return self
        raise AssertionError("the handshake does not end")

    def pass_on(self) -> bytes:
        """Bring what the client has said to the server, and its answer back; gives what the server reads."""
        try:
            return self.server.receive(self._outgoing.read())
        finally:
            self._incoming.write(self.server.output())

    def send(self, data: bytes) -> bytes:
        """The client sends; gives what the server reads."""
        self.client.write(data)
        return self.pass_on()

    def answer(self, data: bytes) -> bytes:
        """The server sends; gives what the client reads."""
        self._incoming.write(self.server.encrypt(data))
        return self.receive()

    def receive(self) -> bytes:
        """What there is for the client."""
        received = b""
        with contextlib.suppress(ssl.SSLWantReadError):
            while data := self.client.read(1 << 16):
                received += data
        return received

    def hello(self) -> bytes:
        """The first bytes of the client."""
        with contextlib.suppress(ssl.SSLWantReadError):
            self.client.do_handshake()
        return self._outgoing.read()

    def tampered(self) -> None:
        """The server gets a record that no key fits."""
        self.server.receive(b"\x17\x03\x03\x00\x20" + bytes(32))

    def ends(self) -> bool:
        """Whether the client has got a close_notify; an end without it is no end."""
        self._incoming.write(self.server.output())
        try:
            return self.client.read(1) == b""
        except ssl.SSLWantReadError:
            return False

    def say_goodbye(self) -> bytes:
        """The client says that nothing more comes."""
        with contextlib.suppress(ssl.SSLError):
            self.client.unwrap()
        return self.pass_on()
