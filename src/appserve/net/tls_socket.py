"""A connection whose client speaks TLS, used like a non-blocking socket.

The handshake is a part of the first reading. So a client that begins one and falls silent is one that has
sent no request yet: nobody waits for it, and the limit on the first byte ends it.

What waits in the kernel's buffer is the only thing that a poll announces. So a reading takes whole records:
after a `recv` of at least RECORD bytes, `pending` is true only where the end was seen behind the bytes.
"""

import errno
import socket
import ssl
from collections.abc import Callable
from typing import Any

from appserve.net.tls_facts import tls_facts

RECORD = 16384
"""Bytes that a record holds at most (RFC 8446 §5.1)."""

BURST = 64
"""Records that one sending writes at most."""

PLAIN_HTTP = frozenset({"HTTP_REQUEST", "HTTPS_PROXY_REQUEST"})
"""What OpenSSL calls a first record that is the beginning of a plain GET, POST, HEAD, PUT or CONNECT."""


class TlsSocket:
    """The server's side of a connection.

    wants_write   the last `recv` can go on when the socket can be written, not when it can be read
    speaks_plain  the client speaks HTTP without TLS: `recv` has failed, and what is sent now goes as it is
    """

    __slots__ = ("_has_ended", "_read", "_tls", "_write", "speaks_plain", "wants_write")

    def __init__(self, accepted: socket.socket, context: ssl.SSLContext) -> None:
        """Takes over the descriptor of `accepted`. Raises OSError if the client has left already."""
        self._tls: socket.socket = context.wrap_socket(
            accepted, server_side=True, do_handshake_on_connect=False
        )
        self._read: Callable[[int], bytes] = self._read_first
        self._write: Callable[[Any], int] = self._tls.send
        self._has_ended = False
        self.wants_write = False
        self.speaks_plain = False

    # ── reading ──

    def recv(self, size: int) -> bytes:
        """Up to `size` bytes, b"" at the end. Raises BlockingIOError (see `wants_write`) or OSError.

        After `shutdown` the bytes are those on the wire, still encrypted: good for nothing but being dropped.
        """
        self.wants_write = False
        try:
            data = self._read(size)
        except ssl.SSLWantWriteError:
            self.wants_write = True
            raise _nothing_yet() from None
        except ssl.SSLWantReadError:
            raise _nothing_yet() from None
        except ssl.SSLError as error:
            if error.reason in PLAIN_HTTP:
                self._turn_plain()
            raise _broken(error) from error
        if not data and self._is_secure:
            # `ssl` tells a reset as an end, to which an answer would be due; here it is an OSError.
            self._tls.getpeername()
        return data if len(data) < RECORD else self._read_on(data, size)

    def _read_first(self, size: int) -> bytes:
        data = self._tls.recv(size)
        # `ssl` hands plain bytes on if it found the socket unconnected, as after a reset (CVE-2023-40217).
        if data and not self._is_secure:
            raise ConnectionAbortedError(errno.ECONNABORTED, "the client disconnected before the handshake")
        self._read = self._tls.recv
        return data

    def _read_on(self, data: bytes, size: int) -> bytes:
        """A full record is likely to have another behind it; a turn of the loop for each would be slow."""
        records = [data]
        room = size - len(data)
        try:
            while room >= RECORD and len(data) == RECORD:
                data = self._read(RECORD)
                records.append(data)
                room -= len(data)
        except OSError:
            pass  # it comes again, if it is more than that there is nothing
        self._has_ended = not data
        return b"".join(records)

    @property
    def pending(self) -> bool:
        """Whether there is something to be received that no poll announces."""
        return self._has_ended or (isinstance(self._tls, ssl.SSLSocket) and self._tls.pending() > 0)

    # ── writing ──

    def send(self, data: bytes | bytearray | memoryview) -> int:
        """How many bytes were taken, at most BURST records. Raises BlockingIOError or OSError.

        After a BlockingIOError the next `data` has to begin with the same bytes, and may be longer.
        """
        try:
            # OpenSSL wants a record that it could not write again as it was, or longer; and while a part of a
            # buffer cannot be written, it says that nothing was. So it gets one record at a time.
            return self._write(data) if len(data) <= RECORD else self._send_records(data)
        except ssl.SSLWantWriteError:
            raise _nothing_yet() from None
        except ssl.SSLError as error:
            raise _broken(error) from error

    def _send_records(self, data: bytes | bytearray | memoryview) -> int:
        sent = 0
        with memoryview(data) as view:
            try:
                while sent < min(len(view), BURST * RECORD):
                    sent += self._write(bytes(view[sent : sent + RECORD]))
            except OSError:
                if not sent:
                    raise
        return sent

    # ── ending ──

    def shutdown(self, how: int) -> None:
        """Say that no more comes (close_notify), then end this side; the client's answer is not waited for.

        Raises BlockingIOError when it has to be called again once the socket can be written, else OSError.
        """
        if not self.notify():
            raise _nothing_yet()
        self._tls.shutdown(how)  # and from now on an SSLSocket reads what is on the wire
        self._read = self._tls.recv
        self._has_ended = False

    def notify(self) -> bool:
        """Send the close_notify, if that is possible; whether it need not be tried again.

        Without it a client cannot tell the end from a cut, where a response has no length.
        """
        if isinstance(self._tls, ssl.SSLSocket):
            try:
                self._tls.unwrap()
            except ssl.SSLWantWriteError:
                return False
            except (OSError, ValueError):
                pass  # it was sent, and the client's is not there yet; or there never was a handshake
        return True

    def close(self) -> None:
        """Close the descriptor, and say nothing: the connection may live on in another process."""
        self._tls.close()

    # ── what else a socket has ──

    def facts(self) -> dict[str, str]:
        """See tls_facts; nothing before the handshake is done."""
        return tls_facts(self._tls) if isinstance(self._tls, ssl.SSLSocket) and self._is_secure else {}

    def fileno(self) -> int:
        return self._tls.fileno()

    def getsockname(self) -> Any:
        return self._tls.getsockname()

    def setsockopt(self, level: int, option: int, value: int | bytes) -> None:
        self._tls.setsockopt(level, option, value)

    def getsockopt(self, level: int, option: int, size: int) -> bytes:
        return self._tls.getsockopt(level, option, size)

    @property
    def _is_secure(self) -> bool:
        return isinstance(self._tls, ssl.SSLSocket) and self._tls.version() is not None

    def _turn_plain(self) -> None:
        """Let go of TLS: OpenSSL has sent nothing, and the client would not understand it."""
        self._tls = socket.socket(fileno=self._tls.detach())
        self._tls.setblocking(False)
        self._read, self._write = self._tls.recv, self._tls.send
        self.speaks_plain = True


def _nothing_yet() -> BlockingIOError:
    return BlockingIOError(errno.EAGAIN, "the socket is not ready")


def _broken(error: ssl.SSLError) -> ConnectionAbortedError:
    """As a loop understands it."""
    return ConnectionAbortedError(errno.ECONNABORTED, explain(error))


def explain(error: Exception) -> str:
    """Why there is no TLS with a client, in OpenSSL's words, none of which are the client's."""
    if isinstance(error, ssl.SSLWantReadError):  # in a write, when all is said: it would be asked for ever
        return "the client began a handshake inside a response"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the client's certificate is refused: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return error.reason.replace("_", " ").lower() if error.reason else str(error)
    return type(error).__name__
