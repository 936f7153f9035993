"""A worker behind a proxy that tells in fields who calls; the test is the proxy."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from appserve.config.settings import Settings
from appserve.http.forwarded import USUAL_HEADERS
from appserve.workers.context import make_forwarding
from tests.workers.sync_worker import Worker, until

# Python 3.12 and later: pytest-timeout has a thread, which the forked process does not need.
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")

Environ = dict[str, Any]
Serve = Callable[..., Worker]

REQUEST = (
    b"GET / HTTP/1.1\r\nHost: a.example\r\nX-Forwarded-For: 6.6.6.6, 192.0.2.7\r\n"
    b"X-Forwarded-Proto: https\r\nX-Forwarded-Host: shop.example\r\n\r\n"
)


def app(environ: Environ, start_response: Any) -> list[bytes]:
    """Says who calls, and how."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    names = ("wsgi.url_scheme", "REMOTE_ADDR", "HTTP_HOST")
    return [" ".join(environ[name] for name in names).encode()]


def mounted(environ: Environ, start_response: Any) -> list[bytes]:
    """Says where it is mounted."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{environ['SCRIPT_NAME']} {environ['PATH_INFO']}".encode()]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    workers: list[Worker] = []

    def make(application: Any = app, **settings: Any) -> Worker:
        workers.append(Worker(application, tmp_path, **settings))
        return workers[-1]

    yield make
    for worker in workers:
        worker.close()


def test_settings_say_who_is_believed_and_in_what():
    usual = make_forwarding(Settings())
    assert usual is not None
    assert usual.names == {name.encode() for name in USUAL_HEADERS}
    assert [usual.trusts(peer) for peer in ("127.0.0.1", "::1", "", "127.0.0.2")] == [
        True,
        True,
        True,
        False,
    ]

    chosen = make_forwarding(Settings(forwarded_allow_ips=("10.0.0.0/8",), forwarded_headers=("forwarded",)))
    assert chosen is not None
    assert chosen.names == {b"forwarded"}
    assert [chosen.trusts(peer) for peer in ("10.1.2.3", "127.0.0.1", "")] == [True, False, False]


@pytest.mark.parametrize("nobody", [{"forwarded_allow_ips": ()}, {"forwarded_headers": ()}])
def test_where_nobody_is_believed_nothing_is_read(nobody: dict[str, Any]):
    assert make_forwarding(Settings(**nobody)) is None


@pytest.mark.parametrize(
    ("settings", "body", "client"),
    [
        ({}, b"https 192.0.2.7 a.example", "192.0.2.7"),
        ({"forwarded_headers": ("x-forwarded-host",)}, b"http 127.0.0.1 shop.example", "127.0.0.1"),
        ({"forwarded_allow_ips": ("192.0.2.0/24", "unix")}, b"http 127.0.0.1 a.example", "127.0.0.1"),
        ({"forwarded_allow_ips": ()}, b"http 127.0.0.1 a.example", "127.0.0.1"),
        ({"forwarded_allow_ips": ("*",)}, b"https 6.6.6.6 a.example", "6.6.6.6"),
    ],
)
def test_a_proxy_is_believed_in_what_was_chosen(
    serve: Serve, settings: dict[str, Any], body: bytes, client: str
):
    worker = serve(**settings)
    proxy = worker.connect()

    assert proxy.ask(REQUEST).body == proxy.ask(REQUEST).body == body
    until(lambda: worker.access.count(f"{client} - ") == 2)


def test_a_proxy_on_a_unix_socket_is_believed(serve: Serve, tmp_path: Path):
    proxy = serve(bind=f"unix:{tmp_path}/s").connect()

    assert proxy.ask(REQUEST).body == b"https 192.0.2.7 a.example"


def test_a_prefix_that_a_proxy_tells_goes_before_the_root_path(serve: Serve):
    proxy = serve(mounted, root_path="/own", forwarded_headers=("x-forwarded-prefix",)).connect()

    plain = b"GET /own/x HTTP/1.1\r\nHost: a.example\r\n\r\n"
    assert proxy.ask(plain).body == b"/own /x"
    assert proxy.ask(plain[:-2] + b"X-Forwarded-Prefix: /p\r\n\r\n").body == b"/p/own /x"
