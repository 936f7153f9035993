"""Clients that are slow or broken, in every phase of a connection, beside one that is quick.

One worker holds them for seconds, all at once, and the quick one must not notice. Each ends as its phase
demands: with a 408 where a request had begun, else without a word.
"""

import select
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from tests.integration.peers import NAME, Figures, make_certificates, mirror
from tests.integration.server import TIMEOUT, await_fact, descriptors_of

LIMIT = 2
"""Seconds that the server waits for anything."""

FLAGS = (
    *("--first-byte-timeout", str(LIMIT), "--head-timeout", str(LIMIT), "--keep-alive", str(LIMIT)),
    *("--body-timeout", str(LIMIT), "--body-rate", "1000", "--write-timeout", str(LIMIT)),
)

TICK = 0.02
"""Seconds between two pieces of what trickles."""

OF_EACH = 5
SIZE = 16_000_000
"""Bytes of a response: more than the kernel takes for a client that does not read."""


class Slow:
    """A client. It sends `head` at once, then one of the pieces after the other."""

    def __init__(
        self, client: socket.socket, head: bytes, pieces: Sequence[bytes] = (), reads: bool = True
    ) -> None:
        self.received = bytearray()
        self.ended = False
        self._client = client
        self._pieces = iter(pieces)
        self._reads = reads
        client.sendall(head)
        client.setblocking(False)

    def drip(self) -> None:
        if not self.ended:
            with suppress(OSError):  # the server has closed
                self._client.send(next(self._pieces, b""))

    def look(self) -> None:
        """Read what there is. One that does not read only looks whether its connection still stands."""
        if self.ended or not (self._reads or is_broken(self._client)):
            return
        self._reads = True
        try:
            while data := self._client.recv(1 << 20):
                self.received += data
        except (BlockingIOError, ssl.SSLWantReadError):
            return
        except OSError:
            pass
        self.ended = True
        self._client.close()


def is_broken(client: socket.socket) -> bool:
    poll = select.poll()
    poll.register(client, 0)
    return bool(poll.poll(0))


Connect = Callable[[], socket.socket]


class Crowd:
    """So many slow clients of each kind, and the quick one beside them."""

    def __init__(self, connect: Connect, connect_raw: Connect, quick: socket.socket) -> None:
        self.kinds: dict[str, list[Slow]] = {}
        self.served = 0  # requests of the quick one
        self.served_meanwhile = 0  # those before any of the slow ones was given up
        self._connect = connect
        self._connect_raw = connect_raw
        self._quick = quick

    def add(self, kind: str, head: bytes, pieces: Sequence[bytes] = (), reads: bool = True) -> None:
        self.kinds[kind] = []
        for _ in range(OF_EACH):
            self.kinds[kind].append(Slow(self._connect(), head, pieces, reads))
            self.go_on()

    def add_raw(self, kind: str, head: bytes, pieces: Sequence[bytes] = ()) -> None:
        """Those that do not come as far as HTTP."""
        self.kinds[kind] = []
        for _ in range(OF_EACH):
            self.kinds[kind].append(Slow(self._connect_raw(), head, pieces))
            self.go_on()

    def linger(self) -> None:
        """Until the server has done with all of them."""
        deadline = time.monotonic() + TIMEOUT
        while not self.go_on():
            assert time.monotonic() < deadline, f"still there: {self.left()}"
            time.sleep(TICK)

    def go_on(self) -> bool:
        """Every client has a turn. Whether the server has done with all of them."""
        self.ask()
        all_of_them = [slow for kind in self.kinds.values() for slow in kind]
        for slow in all_of_them:
            slow.drip()
            slow.look()
        if not any(slow.ended for slow in all_of_them):
            self.served_meanwhile = self.served
        return all(slow.ended for slow in all_of_them)

    def left(self) -> list[str]:
        return [kind for kind, members in self.kinds.items() if not all(slow.ended for slow in members)]

    def ask(self) -> None:
        self._quick.sendall(f"GET / HTTP/1.1\r\nHost: {NAME}\r\n\r\n".encode())
        answer = self._quick.recv(65536)
        assert answer.startswith(b"HTTP/1.1 200 "), answer
        self.served += 1

    def answers(self, kind: str) -> set[bytes]:
        """The status lines that those of a kind were given, b"" for none."""
        return {bytes(slow.received.partition(b"\r\n")[0]) for slow in self.kinds[kind]}


def client_hello() -> bytes:
    """The first message of a TLS handshake."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname=NAME)
    with suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


def sockets_of(pid: int) -> set[str]:
    return {file for file in descriptors_of(pid).values() if file.startswith("socket:")}


# sync and threads workers read, with and without TLS, by the same code.
@pytest.mark.parametrize(
    ("worker_class", "scheme"),
    [("sync", "https"), ("threads", "http"), ("asgi", "http"), ("asgi", "https")],
)
def test_slow_clients_end_as_they_should_and_delay_no_other(
    tmp_path: Path, worker_class: str, scheme: str
) -> None:
    secure = scheme == "https"
    shop, trust = make_certificates().shop, make_certificates().client_context()
    flags = ("--certfile", shop.certfile, "--keyfile", shop.keyfile) if secure else ()

    with mirror(tmp_path, worker_class, "--bind", "127.0.0.1:0", *FLAGS, *flags) as server:
        address = ("127.0.0.1", server.port)
        (worker,) = server.worker_pids()
        figures = Figures(server)
        before = sockets_of(worker)

        def connect_raw() -> socket.socket:
            client = socket.socket()
            client.settimeout(TIMEOUT)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
            client.connect(address)
            return client

        def connect() -> socket.socket:
            client = connect_raw()
            return trust.wrap_socket(client, server_hostname=NAME) if secure else client

        quick = connect()
        crowd = Crowd(connect, connect_raw, quick)
        get, post = (f"{method} HTTP/1.1\r\nHost: {NAME}\r\n".encode() for method in ("GET /", "POST /raw"))
        crowd.add_raw("silent", b"")
        crowd.add("silent after a response", get + b"\r\n")
        crowd.add("half a head", get)
        crowd.add("trickling head", get + b"X-Slow: ", [b"x"] * 8000)
        crowd.add("half a body", post + b"Content-Length: 900000\r\n\r\n" + b"x" * 450_000)
        crowd.add("trickling body", post + b"Content-Length: 900000\r\n\r\n", [b"x"] * 8000)
        crowd.add("trickling chunks", post + b"Transfer-Encoding: chunked\r\n\r\n", [b"1\r\nx\r\n"] * 8000)
        burst = [b"x" * 400] * 60 + [b"x" * 200_000] + [b"x"] * 8000
        crowd.add("burst, then trickling body", post + b"Content-Length: 900000\r\n\r\n", burst)
        crowd.add("slow but steady body", post + b"Content-Length: 600000\r\n\r\n", [b"x" * 4000] * 150)
        crowd.add("not reading", get.replace(b"/", b"/download?size=%d" % SIZE, 1) + b"\r\n", reads=False)
        if secure:
            hello = client_hello()
            crowd.add_raw("half a handshake", hello[:200])
            crowd.add_raw("trickling handshake", b"", [hello[at : at + 1] for at in range(300)])
        crowd.linger()

        assert crowd.served_meanwhile >= 20
        ok, late = {b"HTTP/1.1 200 OK"}, {b"HTTP/1.1 408 Request Timeout"}
        assert crowd.answers("silent") == {b""}
        assert crowd.answers("silent after a response") == ok
        assert crowd.answers("slow but steady body") == ok
        for kind in (
            *("half a head", "trickling head", "half a body"),
            *("trickling body", "trickling chunks", "burst, then trickling body"),
        ):
            assert crowd.answers(kind) == late, kind
        assert crowd.answers("not reading") in (ok, {b""}, ok | {b""})
        assert max(len(slow.received) for slow in crowd.kinds["not reading"]) < SIZE
        if secure:
            assert crowd.answers("half a handshake") == crowd.answers("trickling handshake") == {b""}

        assert server.worker_pids() == [worker]
        quick.close()
        await_fact(lambda: sockets_of(worker) == before, "nothing is left open")
        lines = server.access_log.splitlines()
        assert sum('" 408 ' in line for line in lines) == 6 * OF_EACH
        assert sum("GET /download" in line for line in lines) == OF_EACH
    assert figures.timeouts == sum(len(members) for members in crowd.kinds.values())
