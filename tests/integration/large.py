"""Large bodies to and from the real command, and what they cost its worker in memory."""

import re
import socket
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path

from tests.integration.server import TIMEOUT, Server

PIECE = 1 << 20


class Memory:
    """What a process has in memory from now on, from /proc: bytes."""

    def __init__(self, pid: int) -> None:
        self._folder = Path(f"/proc/{pid}")
        (self._folder / "clear_refs").write_text("5")  # the peak is what there is now
        self._before = self._read("VmRSS")

    @property
    def growth(self) -> int:
        """By how much there was more at its highest, libraries that were first used since included."""
        return self._read("VmHWM") - self._before

    @property
    def anonymous(self) -> int:
        """What is there now of the process's own, without files."""
        return self._read("RssAnon")

    def _read(self, name: str) -> int:
        match = re.search(rf"^{name}:\s+([0-9]+) kB$", (self._folder / "status").read_text(), re.MULTILINE)
        assert match is not None
        return int(match[1]) * 1024


class Download:
    """A response that is read a piece at a time. `framing` is length or chunked."""

    def __init__(self, client: socket.socket, path: str) -> None:
        client.sendall(b"GET %b HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n" % path.encode())
        self.crc = 0
        self.received = 0
        self._file = client.makefile("rb", buffering=1 << 16)
        self.status = int(self._file.readline().split()[1])
        self._left = -1
        self._is_chunked = False
        while (line := self._file.readline()) not in (b"\r\n", b""):
            name, _, value = line.lower().partition(b":")
            if name == b"content-length":
                self._left = int(value)
            self._is_chunked |= name == b"transfer-encoding"

    def read(self, size: int) -> bool:
        """Take in about so many bytes; whether that was not the end."""
        data = b""
        if self._is_chunked:
            if self._left <= 0:
                self._left = int(self._file.readline(), 16)
            data = self._file.read(min(size, self._left))
            self._left -= len(data)
            if not self._left:
                self._file.readline()
        else:
            data = self._file.read(size if self._left < 0 else min(size, self._left))
            self._left -= len(data)
        self.received += len(data)
        self.crc = zlib.crc32(data, self.crc)
        return bool(data)

    def read_all(self, pause: Callable[[], object] = lambda: None) -> None:
        """All that is left, with a pause before each piece."""
        pause()
        while self.read(PIECE):
            pause()


def connect(server: Server, *, small: bool = False) -> socket.socket:
    """`small`: the kernel takes little for this client, which so is slow as soon as it does not read."""
    client = socket.socket()
    if small:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    client.settimeout(TIMEOUT)
    client.connect(("127.0.0.1", server.port))
    return client


def upload(client: socket.socket, pieces: Iterable[bytes], length: int) -> bytes:
    """POST these bytes, in chunks if `length` is -1; gives the response, to the connection's end."""
    framing = b"Transfer-Encoding: chunked" if length < 0 else b"Content-Length: %d" % length
    client.sendall(b"POST / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n%b\r\n\r\n" % framing)
    for piece in pieces:
        client.sendall(b"%x\r\n%b\r\n" % (len(piece), piece) if length < 0 else piece)
    if length < 0:
        client.sendall(b"0\r\n\r\n")
    return read_to_end(client)


def read_to_end(client: socket.socket) -> bytes:
    parts = []
    while data := client.recv(1 << 16):
        parts.append(data)
    return b"".join(parts)
