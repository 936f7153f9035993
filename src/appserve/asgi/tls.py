"""TLS between a transport and an HTTP connection: decrypts what comes in, encrypts what goes out.

    socket ── transport of the event loop ── TlsTransport ── Stream

To the transport it is a protocol, to the Stream a transport. So both event loops, and all that an HTTP
connection does to end in good order, behave on TLS as on plain TCP. The TLS that the loops have themselves
(`ssl=`) does not: it ends a connection whose client has ended its side (a response is cut), cannot end ours
and read on (the response to an upload that is refused is lost), and tells failed handshakes in the log.
Neither is it cheaper. Measured, for a small request: the same CPU as here on uvloop, a quarter more on
asyncio; for an idle connection: 20 KB here, 25 KB on uvloop, 280 KB on asyncio.

The handshake is part of the wait for a connection's first byte: it has no timer and no task of its own.
"""

import asyncio
import ssl
from enum import IntEnum
from typing import Any, cast

from appserve.asgi.http1 import Http1Driver
from appserve.asgi.registry import Registry
from appserve.asgi.stream import Stream
from appserve.errors import Cause, Rejected
from appserve.http.policy import PLAIN_ON_TLS
from appserve.net.tls_socket import PLAIN_HTTP, RECORD, explain

READ_SIZE = 65536
"""Bytes that are taken from a socket at once."""

WRITE_SIZE = 262144
"""Bytes that are encrypted at once: what waits for a client is in memory once, not twice."""

ANSWERS_BOUND = 262144
"""Bytes that may wait for a client which makes TLS itself answer (key updates) and does not read."""


class TlsPhase(IntEnum):
    """What the bytes that come in are."""

    HANDSHAKE = 0
    OPEN = 1
    ENDED = 2  # of no interest: our side has ended
    PLAIN = 3  # not TLS at all: the client is told so


HANDSHAKE, OPEN, ENDED, PLAIN = TlsPhase  # hot: bench asgi-tls; see http.messages.END.


class TlsSite:
    """What all connections of one worker share: they are read one after the other, so one buffer will do."""

    __slots__ = ("buffer", "context", "registry")

    def __init__(self, registry: Registry, context: ssl.SSLContext) -> None:
        self.registry = registry
        self.context = context
        self.buffer = memoryview(bytearray(READ_SIZE))


class TlsTransport(asyncio.Transport, asyncio.BufferedProtocol):
    """One connection."""

    __slots__ = ("_http", "_incoming", "_is_deaf", "_outgoing", "_phase", "_raw", "_site", "_stream", "_tls")

    _raw: asyncio.Transport  # from connection_made on
    _tls: ssl.SSLObject  # from the first byte on, as are the two buffers: who is silent costs no memory
    _incoming: ssl.MemoryBIO
    _outgoing: ssl.MemoryBIO

    def __init__(self, site: TlsSite, stream: Stream, http: Http1Driver) -> None:
        super().__init__()
        self._site = site
        self._stream = stream
        self._http = http
        self._phase = HANDSHAKE
        self._is_deaf = False  # the client has said that nothing more comes

    # ── what the transport tells ──

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._raw = cast("asyncio.Transport", transport)
        self._stream.connection_made(self)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._site.buffer

    def buffer_updated(self, size: int) -> None:
        self.data_received(self._site.buffer[:size])

    def data_received(self, data: bytes | memoryview) -> None:
        """So much came in, encrypted."""
        phase = self._phase
        if phase is OPEN:
            if not self._is_deaf:
                self._incoming.write(data)
                self._decrypt()
        elif phase is HANDSHAKE:
            self._shake_hands(data)
        else:
            # It is counted and dropped: nobody reads on after our end.
            self._stream.data_received(bytes(len(data)))

    def eof_received(self) -> bool:
        """The client ended its side, with a close_notify before it or without: a request says itself how long
        it is, so one that was cut is not taken for whole."""
        if self._phase is HANDSHAKE or not self._stream.eof_received():
            self.close()
        return True

    def connection_lost(self, error: Exception | None) -> None:
        stream = self._stream
        self._phase = ENDED
        # Memory is not to wait for the collector.
        for name in ("_tls", "_incoming", "_outgoing", "_http", "_stream"):
            if hasattr(self, name):
                delattr(self, name)
        stream.connection_lost(error)

    def pause_writing(self) -> None:
        self._stream.pause_writing()

    def resume_writing(self) -> None:
        self._stream.resume_writing()

    # ── what the client said ──

    def _shake_hands(self, data: bytes | memoryview) -> None:
        if not hasattr(self, "_tls"):
            self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            self._tls = self._site.context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._incoming.write(data)
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
        except (OSError, ValueError) as error:
            self._fail(error)
        else:
            self._phase = OPEN
            self._flush()
            self._decrypt()

    def _fail(self, error: Exception) -> None:
        """There will be no TLS. Scanners and curious browsers are many, so it is told to those who debug."""
        self._tell(error)
        if getattr(error, "reason", None) in PLAIN_HTTP:
            self._phase = PLAIN
            self._http.refuse(Rejected(400, PLAIN_ON_TLS, Cause.PLAIN_HTTP))
        else:
            self._phase = ENDED
            self._flush()  # the alert that says why, which must not be lost to a reset
            self._stream.close(linger=True)

    def _tell(self, error: Exception) -> None:
        client = self._http.endpoints()[0]
        peer = client[0] if client else "a local client"
        self._site.registry.service.log.debug(f"TLS with {peer} failed: {explain(error)}")

    def _break(self, error: Exception) -> None:
        """There is no TLS any more. The client is told why (RFC 8446 §5.2: with an alert), unless more than
        that waits for it already: nothing would be whole of which a part is missing."""
        self._tell(error)
        self._phase = ENDED
        if self._outgoing.pending and not self._raw.get_write_buffer_size():
            self._flush()
            self._raw.close()
        else:
            self._raw.abort()

    def _decrypt(self) -> None:
        """Hand over what can be read, all at once."""
        tls, incoming = self._tls, self._incoming
        data = b""
        try:
            # hot: bench asgi-tls. OpenSSL takes all that there is, so it is not asked for more when nothing
            # is left: its "nothing yet" is an exception, and dear.
            while incoming.pending:
                record = tls.read(RECORD)
                if not record:
                    self._is_deaf = True  # a close_notify: nothing counts that comes after it
                    break
                data = data + record if data else record
        except ssl.SSLWantReadError:
            pass
        except OSError as error:
            self._break(error)
            return
        if self._outgoing.pending:
            self._flush()
            if not data and self._raw.get_write_buffer_size() > ANSWERS_BOUND:
                self._raw.abort()
                return
        if data:
            self._stream.data_received(data)
        if self._is_deaf and not self._stream.eof_received():
            self.close()

    # ── what the HTTP connection asks for ──

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._phase is not OPEN:
            if self._phase is PLAIN:
                self._raw.write(data)
            return
        size = len(data)
        if size <= WRITE_SIZE:
            self._encrypt(data)
        else:
            with memoryview(data) as view:
                for at in range(0, size, WRITE_SIZE):
                    self._encrypt(view[at : at + WRITE_SIZE])

    def _encrypt(self, data: bytes | bytearray | memoryview) -> None:
        size = len(data)
        try:
            sent = self._tls.write(data)
            while sent < size:
                sent += self._tls.write(memoryview(data)[sent:])
        except OSError as error:
            self._break(error)
            return
        encrypted = self._outgoing.read()
        self._stream.written += len(encrypted) - size
        self._raw.write(encrypted)

    def _flush(self) -> None:
        """Send what TLS itself has to say."""
        if self._outgoing.pending:
            data = self._outgoing.read()
            self._stream.written += len(data)
            self._raw.write(data)

    def _say_goodbye(self) -> None:
        """Without a close_notify a client cannot tell the end from a cut, where a response has no length."""
        if self._phase is OPEN:
            self._phase = ENDED
            try:
                self._tls.unwrap()
            except OSError:
                pass  # the client's own has not come, and is not waited for
            self._flush()

    def write_eof(self) -> None:
        self._say_goodbye()
        self._raw.write_eof()

    def can_write_eof(self) -> bool:
        return True

    def close(self) -> None:
        if not self._raw.is_closing():
            self._say_goodbye()
            self._raw.close()

    def abort(self) -> None:
        self._raw.abort()

    def is_closing(self) -> bool:
        return self._raw.is_closing()

    def pause_reading(self) -> None:
        self._raw.pause_reading()

    def resume_reading(self) -> None:
        self._raw.resume_reading()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._raw.set_write_buffer_limits(high, low)

    def get_write_buffer_size(self) -> int:
        return self._raw.get_write_buffer_size()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """That of the transport; "ssl_object" is the session of this connection."""
        if name == "ssl_object":
            return getattr(self, "_tls", default)
        return self._raw.get_extra_info(name, default)
