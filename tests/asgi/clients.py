"""Connections over real sockets in one event loop: a server that accepts them, and clients of all kinds."""

import asyncio
import os
import socket
import ssl
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from appserve.asgi.preamble_transport import ConnectionFactory
from appserve.asgi.registry import Room
from appserve.connection.preamble import PreambleRules
from appserve.http.forwarded import TrustList
from appserve.net.listeners import bind_all
from appserve.net.tls_session import TlsSession
from appserve.workers.loop_acceptor import LoopAcceptor
from tests.asgi.fakes import Scene
from tests.certificates import certificates
from tests.net.tls_visit import serving

#: Seconds that any fact may take on a busy machine.
TIMEOUT = 20.0


class LoopServer:
    """A scene that listens. `tls` and `proxy_protocol` are what its connections begin with."""

    def __init__(
        self,
        scene: Scene,
        *,
        tls: bool = False,
        proxy_protocol: str = "off",
        proxies: tuple[str, ...] = ("127.0.0.1",),
        most: int = 100,
        context: ssl.SSLContext | None = None,
    ) -> None:
        self.scene = scene
        self.registry = scene.registry
        version, allowed = ("", None) if proxy_protocol == "off" else (proxy_protocol, TrustList(proxies))
        if tls:
            context = context or serving()
        make_session = partial(TlsSession, context) if context is not None else None
        if version or make_session:
            scene.change(preamble=PreambleRules(version, allowed, make_session))
        (self._listener,) = bind_all(["127.0.0.1:0"])
        self._listener.listen(100)
        self.address = self._listener.socket.getsockname()
        self.room = Room(scene.registry, most, "worker 1")
        self.acceptor = LoopAcceptor(
            scene.registry.loop,
            [self._listener],
            ConnectionFactory(scene.registry).admit,
            self.room.left,
            self.room.make,
            scene.error_log,
            False,
        )

    async def open(self) -> "LoopServer":
        await self.acceptor.open()
        return self

    def close(self) -> None:
        self.acceptor.close()
        for connection in tuple(self.registry.connections):
            connection.abort()

    async def until_empty(self) -> None:
        """Until there is no connection and no request left; it sweeps, as a worker does."""
        registry = self.registry

        def is_empty() -> bool:
            for connection in tuple(registry.connections):
                connection.sweep(registry.clock.now)
            return not (registry.connections or registry.exchanges or self.acceptor.arriving)

        await until(is_empty, "all connections and requests are gone")


async def until(fact: Any, what: str) -> None:
    """Until `fact()` is true."""
    deadline = asyncio.get_running_loop().time() + TIMEOUT
    while not fact():
        assert asyncio.get_running_loop().time() < deadline, f"did not come true: {what}"
        await asyncio.sleep(0.002)


async def until_it_stands_still(number: Callable[[], int]) -> None:
    """Until a number has not changed for a while: the kernel's buffers are full."""
    last = -1
    while last != (last := number()):
        # The kernel does not report that it takes no more. What is tested runs in this very loop, so whatever
        # could go on has had its turn by then, however busy the machine is; an acknowledgement of the kernel
        # is delayed by 40 ms at most.
        await asyncio.sleep(0.1)


@contextmanager
def no_descriptor_lost() -> Iterator[None]:
    """At the end as many descriptors are open as at the beginning."""
    before = set(os.listdir("/proc/self/fd"))
    yield
    after = set(os.listdir("/proc/self/fd"))
    assert len(after) <= len(before), sorted(after - before)


class Cut(Exception):
    """The connection ended without a close_notify."""


class AsyncClient:
    """A client. Without TLS it sends what it is given; with TLS that is encrypted, after a handshake."""

    def __init__(self, sock: socket.socket, context: ssl.SSLContext | None) -> None:
        self.socket = sock
        self._loop = asyncio.get_running_loop()
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = (
            context.wrap_bio(self._incoming, self._outgoing, server_hostname="shop.example")
            if context is not None
            else None
        )
        self.received = b""

    @classmethod
    async def connect(
        cls,
        server: LoopServer,
        *,
        tls: bool = False,
        first: bytes = b"",
        receive_buffer: int = 0,
        shows: Any = None,
    ) -> "AsyncClient":
        """Connect, send `first` as it is, and speak TLS after it if that is wanted (no handshake yet)."""
        sock = socket.socket()
        sock.setblocking(False)
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        await asyncio.get_running_loop().sock_connect(sock, server.address)
        client = cls(sock, certificates().client_context(shows) if tls else None)
        if first:
            await client.send_raw(first)
        return client

    @property
    def speaks_tls(self) -> bool:
        return self._tls is not None

    # ── bytes as they are ──

    async def send_raw(self, data: bytes) -> None:
        await asyncio.wait_for(self._loop.sock_sendall(self.socket, data), TIMEOUT)

    async def receive_raw(self) -> bytes:
        return await asyncio.wait_for(self._loop.sock_recv(self.socket, 65536), TIMEOUT)

    async def until_closed(self) -> None:
        """Until the other side has closed, in whatever way, and without a word."""
        try:
            assert await self.receive_raw() == b""
        except ConnectionResetError:
            pass

    # ── what is meant ──

    async def shake_hands(self) -> None:
        """The handshake, until our side is done with it."""
        assert self._tls is not None
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._flush()
                if not await self._feed():
                    raise ConnectionAbortedError("the connection ended in the handshake") from None
            else:
                await self._flush()
                return

    def hello(self) -> bytes:
        """The first bytes of a handshake."""
        assert self._tls is not None
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            pass
        return self._outgoing.read()

    def encrypt(self, data: bytes) -> bytes:
        """The bytes that carry `data` after the handshake."""
        if self._tls is None:
            return data
        sent = 0
        while sent < len(data):
            sent += self._tls.write(data[sent:])
        return self._outgoing.read()

    async def send(self, data: bytes) -> None:
        if self._tls is not None and self._tls.version() is None:
            await self.shake_hands()
        await self.send_raw(self.encrypt(data))

    async def receive(self) -> bytes:
        """Some bytes, b"" at the end. Raises Cut for an end of TCP within TLS, ConnectionResetError."""
        if self._tls is None:
            return await self.receive_raw()
        while True:
            try:
                return self._tls.read(65536)
            except ssl.SSLWantReadError:
                if not await self._feed():
                    raise Cut from None

    async def read_to(self, mark: bytes) -> bytes:
        """All that came since the last reading, up to where `mark` is in it."""
        while mark not in self.received:
            data = await self.receive()
            assert data, f"the end instead of {mark!r}: {self.received!r}"
            self.received += data
        found, self.received = self.received, b""
        return found

    async def read_to_end(self) -> bytes:
        parts = [self.received]
        self.received = b""
        while data := await self.receive():
            parts.append(data)
        return b"".join(parts)

    async def _feed(self) -> bool:
        data = await self.receive_raw()
        self._incoming.write(data)
        return bool(data)

    async def _flush(self) -> None:
        if self._outgoing.pending:
            await self.send_raw(self._outgoing.read())

    # ── ends ──

    async def send_close_notify(self) -> None:
        """A close_notify, and nothing more."""
        assert self._tls is not None
        try:
            self._tls.unwrap()
        except ssl.SSLError:
            pass
        await self._flush()

    def end_sending(self) -> None:
        """A FIN; what comes is still read."""
        self.socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self.socket.close()

    def reset(self) -> None:
        """An RST."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()
