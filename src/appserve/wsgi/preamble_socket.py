"""A socket on which a PROXY header or TLS comes before HTTP, used like a non-blocking socket.

The header and the handshake are parts of the first reading (connection/preamble.py). All that was received is
decrypted at once, so nothing waits in here that no poll would announce.
"""

from socket import SocketType
from typing import Any

from appserve.connection.preamble import Preamble

PIECE = 65536
"""Bytes that are encrypted at once: what the kernel does not take of them is in memory twice."""

BURST = 16
"""Pieces that one sending writes at most."""


class PreambleSocket:
    """The server's side of a connection.

    wants_write  the last `recv` can go on when the socket can be written, not when it can be read
    """

    __slots__ = ("_credit", "_is_raw", "_socket", "_unsent", "preamble", "wants_write")

    def __init__(self, accepted: SocketType, preamble: Preamble) -> None:
        self._socket = accepted
        self.preamble = preamble
        self._unsent = b""  # encrypted, and not taken by the kernel
        self._credit = 0  # bytes that were encrypted, and not reported as sent
        self._is_raw = False  # the bytes go as they are: there is no TLS any more
        self.wants_write = False

    # ── reading ──

    def recv(self, size: int) -> bytes:
        """Up to `size` bytes, b"" at the end. Raises BlockingIOError (see `wants_write`), Rejected for bytes
        that are no PROXY header, or OSError.

        After `shutdown` the bytes are those on the wire, still encrypted: good for nothing but being dropped.
        """
        if self._is_raw:
            return self._socket.recv(size)
        preamble = self.preamble
        session = preamble.session
        if session is not None and session.has_ended:
            return b""
        # The records of TLS itself go first. So a client that makes it answer and does not read waits.
        self.wants_write = bool(self._unsent) and not self._credit and not self._flush()
        if self.wants_write:
            raise BlockingIOError
        received = self._socket.recv(size)
        if not received:
            return b""
        try:
            # hot: bench sync-tls. The preamble is over for all but the first bytes.
            receive = preamble.receive if session is None else session.receive
            data = receive(received)
        except OSError:
            self._send_record(preamble.output())  # the alert with the reason
            raise
        if session is None or session.has_output:
            self._send_record(preamble.output())
        if not data and not self.has_ended:
            self.wants_write = bool(self._unsent)
            raise BlockingIOError
        return data

    @property
    def has_ended(self) -> bool:
        """Whether the client's end was read, behind the last bytes: no poll announces it."""
        session = self.preamble.session
        return session is not None and session.has_ended and not self._is_raw

    # ── writing ──

    def send(self, data: bytes | bytearray | memoryview) -> int:
        """How many bytes were taken. Raises BlockingIOError or OSError.

        After a BlockingIOError the next `data` has to begin with the same bytes: they are encrypted already.
        """
        session = self.preamble.session
        if self._is_raw or session is None:
            return self._socket.send(data)
        if self._unsent and not self._flush():
            raise BlockingIOError
        if self._credit:
            taken = min(self._credit, len(data))
            self._credit -= taken
            return taken
        # hot: bench sync-tls. Most responses are one piece.
        size = len(data)
        if size <= PIECE:
            if self._send_encrypted(session.encrypt(data)):
                return size
            self._credit = size
            raise BlockingIOError
        sent = 0
        with memoryview(data) as view:
            for at in range(0, min(size, BURST * PIECE), PIECE):
                piece = view[at : at + PIECE]
                if not self._send_encrypted(session.encrypt(piece)):
                    self._credit = len(piece)
                    break
                sent += len(piece)
        if not sent:
            raise BlockingIOError
        return sent

    def _send_encrypted(self, data: bytes) -> bool:
        """Send all of it, or keep the rest; whether all is sent. Nothing waits before it."""
        try:
            sent = self._socket.send(data)
        except BlockingIOError:
            sent = 0
        if sent == len(data):
            return True
        self._unsent = data[sent:]
        return False

    def _flush(self) -> bool:
        """Send what waits; whether nothing does any more."""
        data, self._unsent = self._unsent, b""
        return not data or self._send_encrypted(data)

    def _send_record(self, output: bytes) -> bool:
        """Send a record of TLS itself, or keep it; whether nothing waits."""
        if output:
            self._unsent += output
        try:
            return self._flush()
        except OSError:
            return True  # the client is gone, which the next reading or sending finds out

    # ── ending ──

    def turn_raw(self) -> None:
        """There is no TLS with this client, or no more: what is sent and received goes as it is."""
        self._is_raw = True

    def notify(self) -> bool:
        """Send the close_notify, if that is possible; whether it need not be tried again."""
        session = self.preamble.session
        if session is None or self._is_raw:
            return True
        session.end()
        return self._send_record(session.output())

    def shutdown(self, how: int) -> None:
        """End this side, after the close_notify. Raises OSError."""
        self.notify()
        self._socket.shutdown(how)
        self._is_raw = True

    def close(self) -> None:
        """Close the descriptor, and send nothing: the connection may live on in another process."""
        self._socket.close()

    # ── what else a socket has ──

    def facts(self) -> dict[str, str]:
        """What an environ says of TLS, see net/tls_facts.py."""
        session = self.preamble.session
        return session.facts() if session is not None else {}

    def fileno(self) -> int:
        return self._socket.fileno()

    def setsockopt(self, level: int, option: int, value: int | bytes) -> None:
        self._socket.setsockopt(level, option, value)

    def getsockopt(self, level: int, option: int, size: int) -> Any:
        return self._socket.getsockopt(level, option, size)
