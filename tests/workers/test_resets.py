"""A client that goes away leaves nothing behind, in whatever phase its connection is: no descriptor, no room
that stays taken, no word in the log; and a line in the access log where a request had begun."""

import re
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from appserve.observe.scoreboard import BUSY_SINCE_NS, CONNECTIONS
from tests.workers.sync_worker import GET, Client, Gate, Worker, until

# Python 3.12 and later: pytest-timeout has a thread, which the forked process does not need.
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")

ROOM = 50_000_000
SMALL_BUFFER = 4096
"""Bytes asked of the kernel for a connection, so that a response has to wait elsewhere."""


class Scene:
    """A worker, a client of it, and what was open before that came."""

    def __init__(self, worker_class: str, folder: Path) -> None:
        self.gate = Gate()
        self.file = folder / "file"
        self.file.write_bytes(bytes(5_000_000))
        self.worker = Worker(
            self._application,
            folder,
            worker_class=worker_class,
            threads=2 if worker_class == "threads" else 0,
            limit_spool=ROOM,
            timeout=0.0,
        )
        for listener in self.worker.listeners:
            listener.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL_BUFFER)
        assert self.room() == ROOM
        self.worker.await_sweeps()
        self.worker.await_word(CONNECTIONS, 0)
        self.before = self.worker.descriptors()
        self.client: Client = self.worker.connect(small=True)

    def _application(self, environ: dict[str, Any], start_response: Any) -> Any:
        path = environ["PATH_INFO"]
        start_response("200 OK", [])
        if path == "/wait":
            self.gate.pass_through()
        if path == "/room":
            return [b"%d" % start_response.__self__._sink._outbox._quota._left]
        if path == "/memory":
            return [bytes(60_000)]
        if path == "/spool":
            return [bytes(3_000_000)]
        if path == "/file":
            return environ["wsgi.file_wrapper"](self.file.open("rb"))
        return [b"hello"]

    def room(self) -> int:
        """Bytes that are free in the worker's spool."""
        return int(self.worker.ask(b"GET /room HTTP/1.1\r\nHost: a\r\n\r\n").body)

    def await_descriptors(self, more: int) -> None:
        """Wait until the worker has so many more than before."""
        until(lambda: self.worker.descriptors() == self.before + more)

    def send(self, path: str, body: bytes = b"", length: int = 0) -> None:
        head = b"GET %b HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (path.encode(), length)
        self.client.send(head + body)

    def await_reading(self) -> None:
        """Wait until the worker has read what was sent."""
        self.await_descriptors(1)
        self.worker.await_sweeps()

    def close(self) -> None:
        self.worker.close()
        self.gate.close()


@pytest.fixture(params=["sync", "threads"])
def scene(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Scene]:
    one = Scene(request.param, tmp_path)
    yield one
    one.close()


# ── phases ──


def accepted(scene: Scene) -> None:
    scene.await_descriptors(1)


def inside_head(scene: Scene) -> None:
    scene.client.send(GET[:-3])
    scene.await_reading()


def inside_body_in_memory(scene: Scene) -> None:
    scene.send("/", b"a" * 1000, 2000)
    scene.await_reading()


def inside_body_on_disk(scene: Scene) -> None:
    scene.send("/", b"a" * 600_000, 1_000_000)
    scene.await_descriptors(2)


def inside_chunk(scene: Scene) -> None:
    scene.client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nabc")
    scene.await_reading()


def waiting_for_100(scene: Scene) -> None:
    scene.client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
    assert scene.client.response().status == 100


def in_the_application(scene: Scene) -> None:
    scene.send("/wait")
    until(lambda: scene.worker.word(BUSY_SINCE_NS) != 0)


def reading_from_memory(scene: Scene) -> None:
    begin_response(scene, "/memory")
    scene.await_descriptors(1)


def reading_from_disk(scene: Scene) -> None:
    begin_response(scene, "/spool")
    scene.await_descriptors(2)


def reading_from_a_file(scene: Scene) -> None:
    begin_response(scene, "/file")
    scene.await_descriptors(2)


def begin_response(scene: Scene, path: str) -> None:
    scene.send(path)
    until(scene.client.has_something)
    assert scene.client.socket.recv(1000).startswith(b"HTTP/1.1 200 OK")


def lingering(scene: Scene) -> None:
    scene.client.send(b"nonsense\r\n\r\n")
    assert scene.client.response().status == 400


def idle(scene: Scene) -> None:
    assert scene.client.ask().status == 200


PHASES: list[tuple[Callable[[Scene], None], str, str]] = [
    # The status in the access log after a FIN, and after a RST; "" for no line.
    (accepted, "", ""),
    (inside_head, "400", ""),
    (inside_body_in_memory, "400", "499"),
    (inside_body_on_disk, "400", "499"),
    (inside_chunk, "400", "499"),
    (waiting_for_100, "400", "499"),
    (in_the_application, "200", "499"),  # a FIN does not say that the answer is not read
    (reading_from_memory, "499", "499"),
    (reading_from_disk, "499", "499"),
    (reading_from_a_file, "499", "499"),
    (lingering, "400", "400"),
    (idle, "200", "200"),
]


@pytest.mark.parametrize("how", ["FIN", "RST"])
@pytest.mark.parametrize(
    ("phase", "after_fin", "after_rst"), PHASES, ids=lambda value: getattr(value, "__name__", "")
)
def test_a_client_that_goes_away_leaves_nothing_behind(
    scene: Scene, phase: Callable[[Scene], None], after_fin: str, after_rst: str, how: str
):
    phase(scene)
    if how == "FIN":
        scene.client.close()
    else:
        scene.client.reset()
    scene.gate.open()

    scene.await_descriptors(0)
    assert scene.room() == ROOM
    assert all("refused a request from" in line for line in scene.worker.log.splitlines())
    expected = after_fin if how == "FIN" else after_rst
    lines = until(lambda: (found := statuses(scene)) and len(found) >= (1 if expected else 0) + 2 and found)
    assert lines == ["200", *([expected] if expected else []), "200"]


def statuses(scene: Scene) -> list[str]:
    """Of the lines in the access log; the first and the last are those of /room."""
    return re.findall(r'" ([0-9]{3}) ', scene.worker.access)
