"""A worker behind a proxy that begins each connection with a PROXY header; the test is the proxy."""

import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from appserve.observe.scoreboard import CONNECTIONS, REFUSED, TIMEOUTS
from appserve.workers.channel import RetireOrder
from tests.http.proxy_headers import block, line, tls
from tests.workers.sync_worker import GET, Client, Worker

# Python 3.12 and later: pytest-timeout has a thread, which the forked process does not need.
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")

Environ = dict[str, Any]
Serve = Callable[..., Worker]


def app(environ: Environ, start_response: Any) -> list[bytes]:
    """Shows the scheme and the client."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{environ['wsgi.url_scheme']} {environ['REMOTE_ADDR']}".encode()]


@pytest.fixture(params=["sync", "threads"])
def serve(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Serve]:
    workers: list[Worker] = []

    def make(**settings: Any) -> Worker:
        settings = {"proxy_protocol": "auto", "worker_class": request.param, **settings}
        workers.append(Worker(app, tmp_path, **settings))
        return workers[-1]

    yield make
    for worker in workers:
        worker.close()


def how_it_ends(client: Client) -> bytes:
    """All that comes before the end; a reset is an end too."""
    try:
        return client.socket.recv(1000)
    except ConnectionResetError:
        return b""


def test_a_header_in_pieces_costs_no_turns_of_the_loop_while_it_is_waited_for(serve: Serve):
    worker = serve()
    client, other = worker.connect(), worker.connect()
    client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    header = block(vectors=tls())
    for at in range(0, len(header), 7):
        client.send(header[at : at + 7])
        worker.await_sweeps(2)  # the second begins after the bytes came in, so they have been read
    used = worker.cpu_seconds()
    worker.await_sweeps(10)
    assert worker.cpu_seconds() - used < 0.3, "10 sweeps are half a second at least"

    assert other.ask(line() + GET).status == 200
    assert client.ask().body == b"https 192.0.2.7"


def test_a_header_that_does_not_come_in_time_ends_the_connection_without_an_answer(serve: Serve):
    worker = serve(first_byte_timeout=0.1)
    silent, half, without_request = worker.connect(), worker.connect(), worker.connect()
    half.send(line()[:10])
    without_request.send(line())

    assert [client.end() for client in (silent, half, without_request)] == ["end"] * 3
    worker.await_word(TIMEOUTS, 3)
    assert worker.word(REFUSED) == 0
    assert worker.access == ""


def test_a_worker_that_retires_does_not_wait_for_headers(serve: Serve):
    worker = serve()
    worker.connect()
    half = worker.connect()
    half.send(line()[:10])
    worker.await_word(CONNECTIONS, 2)
    worker.channel.send(RetireOrder(linger=0.0))

    assert worker.exit_code() == 0
    assert half.end() == "end"
