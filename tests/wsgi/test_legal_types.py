"""What an application may legally give: subclasses, other containers, other buffers.

The compiled build checks announced types when it runs, and must refuse none of it.
"""

import io
import sys
from collections import UserList, deque, namedtuple
from collections.abc import Callable
from enum import StrEnum
from typing import Any

import pytest

from tests.wsgi.talk import GET, Environ, Talk, post

TalkTo = Callable[..., Talk]
Pair = namedtuple("Pair", ["name", "value"])


class Text(str):
    __slots__ = ()


class Bytes(bytes):
    pass


class Pieces(list[Any]):
    pass


class Status(StrEnum):
    OK = "200 OK"


HEADERS = [("X-Kind", "text"), ("Content-Type", "text/plain")]


@pytest.mark.parametrize("status", ["200 OK", Text("200 OK"), Status.OK, "200", "200 "])
def test_a_status_may_be_any_str(talk_to: TalkTo, status: str) -> None:
    def application(environ: Environ, start_response: Any) -> Any:
        start_response(status, [])
        return [b"hello"]

    answer = talk_to(application).ask(GET)
    assert (answer.status, answer.body) == (200, b"hello")


@pytest.mark.parametrize(
    "headers",
    [
        HEADERS,
        tuple(HEADERS),
        iter(HEADERS),
        Pieces(HEADERS),
        UserList(HEADERS),
        deque(HEADERS),
        dict(HEADERS).items(),
        [Pair(*header) for header in HEADERS],
        [(Text(name), Text(value)) for name, value in HEADERS],
    ],
    ids=lambda headers: type(headers).__name__,
)
def test_headers_may_be_in_any_iterable_of_pairs_of_str(talk_to: TalkTo, headers: Any) -> None:
    def application(environ: Environ, start_response: Any) -> Any:
        start_response("200 OK", headers)
        return [b"hello"]

    answer = talk_to(application).ask(GET)
    assert (answer.status, answer.body, answer.values(b"x-kind")) == (200, b"hello", [b"text"])


@pytest.mark.parametrize("exc_info", [None, (), (None, None, None), False])
def test_exc_info_may_be_empty(talk_to: TalkTo, exc_info: Any) -> None:
    def application(environ: Environ, start_response: Any) -> Any:
        start_response("200 OK", [], exc_info)
        return [b"hello"]

    assert talk_to(application).ask(GET).status == 200


def test_exc_info_may_be_what_sys_gives(talk_to: TalkTo) -> None:
    def application(environ: Environ, start_response: Any) -> Any:
        start_response("200 OK", [])
        try:
            raise LookupError("x")
        except LookupError:
            start_response("503 Service Unavailable", [], sys.exc_info())
        return [b"sorry"]

    answer = talk_to(application).ask(GET)
    assert (answer.status, answer.body) == (503, b"sorry")


BUFFERS = [b"hello", Bytes(b"hello"), bytearray(b"hello"), memoryview(b"hello")]


@pytest.mark.parametrize("piece", BUFFERS, ids=lambda piece: type(piece).__name__)
@pytest.mark.parametrize("container", [list, tuple, Pieces, UserList, deque, iter, set])
def test_a_body_may_be_any_iterable_of_bytes(talk_to: TalkTo, piece: Any, container: Any) -> None:
    if container is set and isinstance(piece, bytearray):
        pytest.skip("has no hash")

    def application(environ: Environ, start_response: Any) -> Any:
        start_response("200 OK", [])
        return container([piece])

    assert talk_to(application).ask(GET).body == b"hello"


@pytest.mark.parametrize("piece", BUFFERS, ids=lambda piece: type(piece).__name__)
def test_write_takes_any_buffer(talk_to: TalkTo, piece: Any) -> None:
    def application(environ: Environ, start_response: Any) -> Any:
        start_response("200 OK", [])(piece)
        return ()

    assert talk_to(application).ask(GET).body == b"hello"


def test_a_wrapped_file_may_be_anything_with_read_and_the_wrapper_a_subclass(talk_to: TalkTo) -> None:
    class Source:
        def read(self, size: int) -> bytes:
            return blocks.pop()

    blocks = [b"", b"lo", b"hel"]

    def application(environ: Environ, start_response: Any) -> Any:
        class Wrapper(environ["wsgi.file_wrapper"]):  # type: ignore[misc]
            pass

        start_response("200 OK", [("Content-Length", "5")])
        return Wrapper(Source())

    assert talk_to(application).ask(GET).body == b"hello"


@pytest.mark.parametrize("size", [(), (-1,), (None,), (100,)])
def test_a_body_is_read_with_any_size(talk_to: TalkTo, size: tuple[Any, ...]) -> None:
    def application(environ: Environ, start_response: Any) -> Any:
        start_response("200 OK", [])
        return [environ["wsgi.input"].read(*size)]

    assert talk_to(application).ask(post(b"hello")).body == b"hello"


def test_the_environ_is_a_dict_that_takes_anything(talk_to: TalkTo) -> None:
    def application(environ: Environ, start_response: Any) -> Any:
        assert type(environ) is dict
        environ.update({"PATH_INFO": None, "wsgi.input": io.BytesIO(b"other"), "mine": object()})
        start_response("200 OK", [])
        return [environ["wsgi.input"].read()]

    assert talk_to(application).ask(post(b"hello")).body == b"other"


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        *((200, []), (b"200 OK", []), (None, [])),
        *(("200 OK", None), ("200 OK", 5), ("200 OK", [("X", b"text")]), ("200 OK", [["X", "text"]])),
        *(("200 OK", ["X: text"]), ("200 OK", [("X", "text", "more")]), ("200 OK", [None])),
    ],
)
def test_what_is_not_legal_is_named_as_the_applications_mistake(
    talk_to: TalkTo, status: Any, headers: Any
) -> None:
    def application(environ: Environ, start_response: Any) -> Any:
        start_response(status, headers)
        return [b"hello"]

    talk = talk_to(application)
    assert talk.ask(GET).status == 500
    assert "AppMistake" in talk.log.text
