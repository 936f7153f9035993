"""What the log says at the start."""

from collections.abc import Iterator

import pytest

from appserve.config.settings import Settings
from appserve.master.banner import booting, serving
from appserve.net.listeners import Listener, bind_all
from appserve.workers.channel import Ready

SETTINGS = Settings(application="shop:app", workers=2)


@pytest.fixture
def listeners(tmp_path) -> Iterator[list[Listener]]:
    made = list(bind_all(("127.0.0.1:0", f"unix:{tmp_path}/a.sock")))
    yield made
    for listener in made:
        listener.close(unlink=True)


def lines(settings: Settings, listeners: list[Listener], worker_class: str = "sync") -> str:
    ready = Ready("wsgi", worker_class, "it is a WSGI application", "shop:app", "it takes two arguments")
    return "\n".join(serving(settings, {}, listeners, ready, 7))


def test_addresses_are_written_as_they_are_typed(listeners):
    tcp, unix = (listener.url for listener in listeners)

    assert f"listening on {tcp}\nlistening on {unix}" in lines(SETTINGS, listeners)
    assert tcp.startswith("http://")


def test_with_tls_they_are_https(listeners):
    settings = SETTINGS.replace(certfile=("a.pem",))
    tcp, unix = (listener.url for listener in listeners)

    for text in (lines(settings, listeners), booting(settings, listeners, 7)):
        assert f"https{tcp.removeprefix('http')}" in text
        assert f"{unix} (TLS)" in text
        assert "http://" not in text


@pytest.mark.parametrize(("version", "words"), [("v2", "(PROXY header v2)"), ("auto", "(PROXY header)")])
def test_what_has_to_come_before_http_is_logged(listeners, version, words):
    settings = SETTINGS.replace(proxy_protocol=version)

    assert lines(settings, listeners).count(words) == len(listeners)


@pytest.mark.parametrize(("threads", "count"), [(4, 4), (0, 8)])
def test_the_threads_of_a_worker_are_counted(listeners, threads, count):
    settings = SETTINGS.replace(threads=threads)

    assert f"2 threads workers of {count} threads" in lines(settings, listeners, "threads")
