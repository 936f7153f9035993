"""Ways to a server: TCP, a unix socket, TLS. Each is a stream of bytes whose two sides end separately."""

import socket
import ssl
from dataclasses import dataclass
from typing import Protocol

TIMEOUT = 10.0
"""Seconds that an answer may take on a busy machine; only failures wait so long."""


class Stream(Protocol):
    """One connection. `cut`: the server ended it in a way that its client could take for an attack."""

    cut: bool

    def send(self, data: bytes) -> None:
        """Send `data`, or as much of it as the server, which may have refused it already, takes."""

    def receive(self) -> bytes:
        """What comes next; empty at the end of the server's side, or when it has reset the connection."""

    def end(self) -> None:
        """End this side."""

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server listens: (host, port), or the path of a unix socket. `context`: TLS is spoken there."""

    place: tuple[str, int] | str
    context: ssl.SSLContext | None = None

    def connect(self, *, small: bool = False) -> Stream:
        """`small`: the kernel takes little for a client that does not read."""
        connection = socket.socket(socket.AF_UNIX if isinstance(self.place, str) else socket.AF_INET)
        if small:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(TIMEOUT)
        connection.connect(self.place)
        if not isinstance(self.place, str):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return Plain(connection) if self.context is None else Secure(connection, self.context)


class Plain:
    """Bytes as they are."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self.cut = False

    def send(self, data: bytes) -> None:
        try:
            self._socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass

    def receive(self) -> bytes:
        try:
            return self._socket.recv(65536)
        except ConnectionResetError:
            return b""

    def end(self) -> None:
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def close(self) -> None:
        self._socket.close()


class Secure:
    """Bytes in TLS. A side ends with an alert that says so (RFC 8446 §6.1), the connection stays."""

    def __init__(self, connection: socket.socket, context: ssl.SSLContext) -> None:
        self._plain = Plain(connection)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname="localhost")
        self.cut = False
        while True:
            try:
                self._tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                self._flush()
                self._feed()
        self._flush()

    def send(self, data: bytes) -> None:
        if data:
            self._tls.write(data)
            self._flush()

    def receive(self) -> bytes:
        while True:
            try:
                return self._tls.read(65536)
            except ssl.SSLWantReadError:
                self._feed()
            except ssl.SSLZeroReturnError:
                return b""
            except ssl.SSLEOFError:
                self.cut = True
                return b""

    def end(self) -> None:
        try:
            self._tls.unwrap()
        except ssl.SSLError:
            pass  # it would wait for the server's end as well
        self._flush()

    def close(self) -> None:
        self._plain.close()

    def _flush(self) -> None:
        self._plain.send(self._outgoing.read())

    def _feed(self) -> None:
        data = self._plain.receive()
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()
