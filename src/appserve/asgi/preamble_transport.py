"""What stands between the event loop's transport and HTTP where a PROXY header or TLS comes first.

    socket ── transport of the event loop ── PreambleTransport ── Stream

To the transport it is a protocol, to the Stream a transport. So both event loops, and all that an
HTTP connection does to end in good order, behave on TLS as on plain TCP. The TLS that the loops have
themselves (`ssl=`) does not: it ends a connection whose client has ended its side (a response is cut), cannot
end ours and read on (the response to an upload that is refused is lost), and logs failed handshakes.
Neither is it cheaper. Measured, for a small request: the same CPU as here on uvloop, a quarter more on
asyncio; for an idle connection: 20 KB here, 25 KB on uvloop, 280 KB on asyncio.

Where TLS is not expected, the Stream takes over the loop's transport behind the PROXY header. The Stream is
there from the accept on, so it is counted, swept and closed like any other while it waits.
"""

import asyncio
from enum import IntEnum
from typing import Any, cast

from appserve.asgi.http1 import Http1Driver
from appserve.asgi.registry import Registry
from appserve.asgi.stream import Stream
from appserve.connection.origin import Endpoints, endpoints_of
from appserve.connection.preamble import Preamble, PreambleRules
from appserve.errors import Cause, Rejected
from appserve.http.policy import PLAIN_ON_TLS
from appserve.net.listeners import Listener

READ_SIZE = 65536
"""Bytes that are taken from a socket at once."""

WRITE_SIZE = 262144
"""Bytes that are encrypted at once: what waits for a client is in memory once, not twice."""

OUTPUT_BOUND = 262144
"""Bytes that may wait for a client which makes TLS itself answer (key updates) and does not read."""


class TlsPhase(IntEnum):
    """What the bytes that come in are."""

    PREAMBLE = 0
    OPEN = 1
    ENDED = 2  # of no interest: our side has ended
    PLAIN = 3  # HTTP without TLS, which is refused


PREAMBLE, OPEN, ENDED, PLAIN = TlsPhase  # hot: bench asgi-tls; see http.messages.END.


class ConnectionFactory:
    """Gives each accepted connection its protocols. Made once per worker."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._rules = registry.service.preamble
        self._has_tls = self._rules is not None and self._rules.make_session is not None
        # Connections are read one after the other, so one buffer will do.
        self._buffer = memoryview(bytearray(READ_SIZE if self._rules is not None else 0))

    def admit(self, connection: Any, peer: Any, listener: Listener) -> asyncio.BaseProtocol | None:
        """The protocol of a connection that came from `peer` (an address as accept() gives it), or None if it
        is to be closed. The connection is a socket, or has at least its getsockname()."""
        endpoints = endpoints_of(peer, listener.local_address(connection), self._has_tls)
        rules = self._rules
        if rules is None:
            stream = Stream(self._registry)
            Http1Driver(stream, self._registry, endpoints)
            return cast("asyncio.Protocol", stream)  # it has the methods, and no base class
        try:
            rules.check_peer(endpoints.host)
        except Rejected as rejected:
            self._registry.service.refusals.add(endpoints.host, rejected.reason)
            return None
        return PreambleTransport(self._registry, rules, endpoints, self._buffer)


class PreambleTransport(asyncio.Transport, asyncio.BufferedProtocol):
    """One connection. `buffer` is where the event loop puts what it reads."""

    __slots__ = ("_buffer", "_driver", "_phase", "_preamble", "_raw", "_registry", "_stream")

    _raw: asyncio.Transport  # from connection_made on

    def __init__(
        self, registry: Registry, rules: PreambleRules, endpoints: Endpoints, buffer: memoryview
    ) -> None:
        super().__init__()
        self._registry = registry
        self._buffer = buffer
        self._preamble = Preamble(rules, endpoints)
        self._stream = Stream(registry)
        self._driver = Http1Driver(self._stream, registry, endpoints)
        self._phase = PREAMBLE

    # ── events of the transport ──

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._raw = cast("asyncio.Transport", transport)
        self._stream.connection_made(self if self._preamble.expects_tls else self._raw)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, size: int) -> None:
        self.data_received(self._buffer[:size])

    def data_received(self, data: bytes | memoryview) -> None:
        """So much came in, as it was sent."""
        if self._phase is PREAMBLE:
            self._receive_first(data)
        elif self._phase is OPEN:
            self._receive(data)
        else:
            # It is counted and dropped: nothing is read on after our end.
            self._stream.data_received(bytes(len(data)))

    def eof_received(self) -> bool:
        """The client ended its side, with a close_notify before it or without: a request says itself how long
        it is, so one that was cut is not taken for whole."""
        if self._phase is PREAMBLE or not self._stream.eof_received():
            self.close()
        return True

    def connection_lost(self, error: Exception | None) -> None:
        stream = self._stream
        self._phase = ENDED
        for name in ("_preamble", "_driver", "_stream"):  # memory is not to wait for the collector
            delattr(self, name)
        stream.connection_lost(error)

    def pause_writing(self) -> None:
        self._stream.pause_writing()

    def resume_writing(self) -> None:
        self._stream.resume_writing()

    # ── what the client sent ──

    def _receive_first(self, data: bytes | memoryview) -> None:
        """Part of the preamble."""
        preamble, raw = self._preamble, self._raw
        if raw.is_closing():
            return
        before = preamble.endpoints
        try:
            plain = preamble.receive(data)
        except Rejected as rejected:
            self._registry.service.refusals.add(preamble.endpoints.host, rejected.reason)
            raw.abort()
            return
        except ConnectionAbortedError as error:
            self._driver.set_endpoints(preamble.endpoints)
            self._refuse_client(error)
            return
        if preamble.endpoints is not before:
            self._driver.set_endpoints(preamble.endpoints)
        if not preamble.expects_tls:
            if not preamble.expects_header:
                raw.set_protocol(cast("asyncio.Protocol", self._stream))
                if plain:
                    self._stream.data_received(plain)
            return
        if preamble.session is not None and preamble.session.is_established:
            self._phase = OPEN
        self._hand_over(plain)

    def _refuse_client(self, error: OSError) -> None:
        """There will be no TLS. Scanners and curious browsers are many, so only the debug level shows it."""
        self._log(error)
        session = self._preamble.session
        if session is not None and session.speaks_plain:
            self._phase = PLAIN
            self._driver.refuse(Rejected(400, PLAIN_ON_TLS, Cause.PLAIN_HTTP))
        else:
            self._phase = ENDED
            self._flush()  # the alert that says why, which must not be lost to a reset
            self._stream.close(linger=True)

    def _log(self, error: OSError) -> None:
        self._registry.service.log.debug(f"TLS with {self._preamble.peer} failed: {error.strerror}")

    def _receive(self, data: bytes | memoryview) -> None:
        session = self._preamble.session
        if session is None or session.has_ended:
            return  # nothing counts that comes after a close_notify
        try:
            plain = session.receive(data)
        except ConnectionAbortedError as error:
            self._break(error)
        else:
            self._hand_over(plain)

    def _hand_over(self, plain: bytes) -> None:
        """Give the bytes of HTTP to the Stream, behind what TLS itself has to send."""
        session = self._preamble.session
        if self._flush() and not plain and self._raw.get_write_buffer_size() > OUTPUT_BOUND:
            self._raw.abort()
            return
        if plain:
            self._stream.data_received(plain)
        if session is not None and session.has_ended and not self._stream.eof_received():
            self.close()

    def _break(self, error: OSError) -> None:
        """There is no TLS any more. The client gets an alert that says why (RFC 8446 §5.2), unless more than
        that waits for it already: nothing would be whole of which a part is missing."""
        self._log(error)
        self._phase = ENDED
        if not self._raw.get_write_buffer_size() and self._flush():
            self._raw.close()
        else:
            self._raw.abort()

    # ── what the Stream asks for ──

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
        session = self._preamble.session
        if session is None or not session.is_open:
            return
        try:
            encrypted = session.encrypt(data)
        except ConnectionAbortedError as error:
            self._break(error)
            return
        self._stream.written += len(encrypted) - len(data)
        self._raw.write(encrypted)

    def _flush(self) -> bool:
        """Send what TLS itself has to say; whether it had something."""
        output = self._preamble.output()
        if output:
            self._stream.written += len(output)
            self._raw.write(output)
        return bool(output)

    def _end(self) -> None:
        if self._phase is OPEN and self._preamble.session is not None:
            self._phase = ENDED
            self._preamble.session.end()
            self._flush()

    def write_eof(self) -> None:
        self._end()
        self._raw.write_eof()

    def can_write_eof(self) -> bool:
        return True

    def close(self) -> None:
        if not self._raw.is_closing():
            self._end()
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
            session = self._preamble.session if hasattr(self, "_preamble") else None
            return session.ssl_object if session is not None else default
        return self._raw.get_extra_info(name, default)
