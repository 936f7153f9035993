"""Context variables: a request finds none of another's, and its own in all that it runs."""

import contextvars
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from appserve.wsgi.environ import Environ
from tests.integration.conftest import serve
from tests.integration.server import Server, Threaded
from tests.wsgi.talk import Talk, head

__all__ = ["serve"]  # a fixture

TalkTo = Callable[..., Talk]

user: contextvars.ContextVar[str] = contextvars.ContextVar("user", default="none")


class Result:
    """Notes what it finds at each step, and leaves something else behind."""

    def __init__(self, found: list[str]) -> None:
        self.found = found

    def _step(self, name: str) -> None:
        self.found.append(user.get())
        user.set(name)

    def __iter__(self) -> Iterator[bytes]:
        self._step("iteration")
        yield b"1"
        self._step("next")
        yield b"2"

    def close(self) -> None:
        self._step("close")


def test_the_call_the_iteration_and_the_close_share_a_context_of_the_request(talk_to: TalkTo) -> None:
    found: list[str] = []

    def app(environ: Environ, start_response: Any) -> Result:
        found.append(user.get())
        user.set("call")
        start_response("200 OK", [])
        return Result(found)

    talk = talk_to(app)
    for _ in range(2):
        talk.send(head("GET / HTTP/1.1", "Host: a"))
    assert found == ["none", "call", "iteration", "next"] * 2
    assert user.get() == "none"


def test_a_file_that_is_wrapped_is_read_in_the_request_s_context(talk_to: TalkTo) -> None:
    found: list[str] = []

    class File:
        def read(self, size: int = -1) -> bytes:
            found.append(user.get())
            return b""

        def close(self) -> None:
            found.append(user.get())

    def app(environ: Environ, start_response: Any) -> Any:
        user.set("call")
        start_response("200 OK", [])
        return environ["wsgi.file_wrapper"](File())

    talk_to(app).send(head("GET / HTTP/1.1", "Host: a"))
    assert found == ["call", "call"]


def test_an_application_that_fails_leaves_nothing_behind(talk_to: TalkTo) -> None:
    def app(environ: Environ, start_response: Any) -> Any:
        assert user.get() == "none"
        user.set("failed")
        raise ValueError

    talk = talk_to(app)
    for _ in range(2):
        talk.send(head("GET / HTTP/1.1", "Host: a"))
    assert user.get() == "none"
    assert "AssertionError" not in talk.log.text


BINDS = """
import contextvars

user = contextvars.ContextVar("user", default="none")

def app(environ, start_response):
    start_response("200 OK", [])
    found = user.get()
    user.set("another")
    yield found.encode()
"""


@pytest.mark.integration
@pytest.mark.parametrize("source", [BINDS, Threaded(BINDS)], ids=["sync", "threads"])
def test_a_worker_s_next_request_finds_the_context_as_it_was(
    serve: Callable[..., Server], source: str
) -> None:
    server = serve("app:app", "--threads", "1", files={"app.py": source})

    assert {server.get().text for _ in range(3)} == {"none"}
