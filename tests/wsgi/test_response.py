"""What PEP 3333 lets an application do with start_response, write and its result, and what becomes of it."""

import array
import gc
import io
import sys
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from appserve.errors import AppMistake
from appserve.wsgi.connection import CLOSE
from appserve.wsgi.response import read_status
from tests.wsgi.talk import GET, Environ, Talk, head, open_descriptors, post

TalkTo = Callable[..., Talk]
START = "start_response() was"


def app_that(result: Callable[[Any], Any]) -> Callable[[Environ, Any], Any]:
    """An application that returns what `result` makes of start_response."""
    return lambda environ, start_response: result(start_response)


def returns(result: Any, *headers: tuple[str, str], status: str = "200 OK") -> Callable[[Environ, Any], Any]:
    """An application that starts a response with these headers and returns this."""

    def application(environ: Environ, start_response: Any) -> Any:
        start_response(status, list(headers))
        return result() if callable(result) else result

    return application


class Closing:
    """An iterable that counts how often it was closed."""

    def __init__(self, *pieces: bytes, error: BaseException | None = None) -> None:
        self.pieces = pieces
        self.error = error
        self.closed = 0

    def __iter__(self) -> Iterator[bytes]:
        yield from self.pieces
        if self.error is not None:
            raise self.error

    def close(self) -> None:
        self.closed += 1


class Sequence:
    """An iterable by __getitem__ alone, as PEP 3333 allows."""

    def __getitem__(self, index: int) -> bytes:
        return [b"hel", b"lo"][index]


# ── results ──


@pytest.mark.parametrize(
    "result",
    [
        [b"hello"],
        (b"hello",),
        [b"he", b"", b"llo"],
        (b"h", b"ello", b""),
        lambda: iter([b"hello"]),
        lambda: (piece for piece in (b"", b"he", b"", b"llo")),
        lambda: {b"hello": 1},
        lambda: Closing(b"hel", b"lo"),
        Sequence(),
        [bytearray(b"hello")],
        [b"he", memoryview(b"llo")],
        lambda: iter([bytearray(b"he"), memoryview(b"llo")]),
        [memoryview(array.array("H", b"hell")), b"o"],
    ],
)
@pytest.mark.parametrize("length", [True, False])
def test_any_iterable_of_bytes_is_a_body(talk_to: TalkTo, result: Any, length: bool):
    headers = [("Content-Length", "5")] if length else []
    talk = talk_to(returns(result, *headers))

    for _ in range(2):
        response = talk.ask()
        assert (response.status, response.body, response.closes) == (200, b"hello", False)
    assert talk.log.text == ""


def test_a_memoryview_is_as_long_as_its_bytes(talk_to: TalkTo):
    talk = talk_to(returns([memoryview(array.array("I", range(10)))]))

    assert talk.ask().body == array.array("I", range(10)).tobytes()


class Sized(Closing):
    """An iterable with a length; what exceeds it would have to be cut (PEP 3333 trusts it)."""

    def __len__(self) -> int:
        return len(self.pieces)


@pytest.mark.parametrize(
    ("result", "framing"),
    [
        (Sized(b"hello"), "length"),
        ({b"hello": 1}, "length"),
        (deque([b"hello"]), "length"),
        (Sized(b"he", b"llo"), "chunked"),
        (Closing(b"hello"), "chunked"),
    ],
)
def test_the_length_of_one_piece_is_that_of_the_body(talk_to: TalkTo, result: Any, framing: str):
    response = talk_to(returns(result)).ask()

    assert (response.body, response.framing) == (b"hello", framing)
    if isinstance(result, Closing):
        assert result.closed == 1


def test_one_piece_that_was_written_before_it_is_another_one(talk_to: TalkTo):
    def application(start_response: Any) -> Any:
        start_response("200 OK", [])(b"one ")
        return Sized(b"two")

    assert talk_to(app_that(application)).ask().body == b"one two"


def test_a_result_with_a_wrong_length_is_sent_whole(talk_to: TalkTo):
    class Liar(Sized):
        def __len__(self) -> int:
            return 1

    assert talk_to(returns(Liar(b"he", b"llo"))).ask().body == b"hello"


@pytest.mark.parametrize("error", [TypeError, AttributeError, NotImplementedError])
def test_an_unknown_length_is_not_used(talk_to: TalkTo, error: type[Exception]):
    class Unknown(Sized):
        def __len__(self) -> int:
            raise error("not before the end")

    talk = talk_to(returns(Unknown(b"hello")))

    assert (talk.ask().body, talk.log.text) == (b"hello", "")


def test_a_length_that_raises_is_the_applications_error(talk_to: TalkTo):
    class Broken(Sized):
        def __len__(self) -> int:
            raise ValueError("no length")

    body = Broken(b"hello")
    talk = talk_to(returns(body))

    assert (talk.ask().status, body.closed) == (500, 1)
    assert "ValueError: no length" in talk.log.text


def test_a_file_object_is_an_iterable_like_any_other(talk_to: TalkTo, tmp_path: Path):
    (tmp_path / "file").write_bytes(b"one\ntwo\n\nthree")
    files = [(tmp_path / "file").open("rb"), io.BytesIO(b"one\ntwo\n\nthree")]
    for file in files:
        assert talk_to(returns(file)).ask().body == b"one\ntwo\n\nthree"
        assert file.closed


@pytest.mark.parametrize("size", [0, 10, 1_000_000])
def test_the_request_may_be_the_response(talk_to: TalkTo, size: int):
    def application(environ: Environ, start_response: Any) -> Any:
        start_response("200 OK", [])
        return environ["wsgi.input"]

    talk = talk_to(application)
    body = bytes(range(256)) * (size // 256 + 1)
    before = open_descriptors()
    for _ in range(2):
        talk.push(post(body))
        assert talk.responses("POST")[0].body == body
    assert talk.log.text == ""
    assert open_descriptors() == before


@pytest.mark.parametrize("result", [[], (), [b""], lambda: iter([]), Closing, b"", "", {}])
def test_an_empty_body_is_a_length_of_zero(talk_to: TalkTo, result: Any):
    response = talk_to(returns(result)).ask()

    assert (response.body, response.values(b"content-length")) == (b"", [b"0"])


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (None, "returned None, which is not an iterable of bytes"),
        (5, "returned 5, which is not an iterable of bytes"),
        ("text", "has str in it, not bytes"),
        (["text"], "has str in it, not bytes"),
        ([b"hello", "text"], "has str in it, not bytes"),
        (b"hello", "has int in it, not bytes"),
        ([None], "has NoneType in it, not bytes"),
        ([5], "has int in it, not bytes"),
    ],
)
def test_another_result_is_the_applications_mistake(talk_to: TalkTo, result: Any, message: str):
    talk = talk_to(returns(result))

    assert talk.ask().status == 500
    assert message in talk.log.text
    assert talk.ask().status == 500, "the connection goes on"


def test_an_iterable_that_fails_is_not_taken_for_a_non_iterable(talk_to: TalkTo):
    class Failing:
        def __iter__(self) -> Iterator[bytes]:
            raise TypeError("unsupported operand")

    talk = talk_to(returns(Failing()))

    assert talk.ask().status == 500
    assert "TypeError: unsupported operand" in talk.log.text


def test_pieces_leave_as_they_come(talk_to: TalkTo):
    seen: list[bytes] = []

    def pieces() -> Iterator[bytes]:
        seen.append(talk.client.recv(1000) if talk.connection._http.response.body_sent else b"")
        yield b"first"
        seen.append(talk.client.recv(1000))
        yield b"second"
        seen.append(talk.client.recv(1000))

    talk = talk_to(returns(pieces))
    talk.send(GET)

    assert seen[0] == b""
    assert seen[1].startswith(b"HTTP/1.1 200 OK\r\n")
    assert seen[1].endswith(b"\r\n\r\n5\r\nfirst\r\n")
    assert seen[2] == b"6\r\nsecond\r\n"
    assert talk.receive() == b"0\r\n\r\n"


def test_what_waits_leaves_while_the_next_pieces_are_made(talk_to: TalkTo):
    """PEP 3333 "Buffering and Streaming": the transmission of no block may be delayed."""
    received = 0

    def pieces() -> Iterator[bytes]:
        nonlocal received
        yield b"a" * 2_000_000
        while received < 2_000_000:
            received += len(talk.client.recv(1 << 20))
            yield b"b"

    talk = talk_to(returns(pieces), small=True)
    talk.send(GET)

    assert received >= 2_000_000
    assert talk.receive().endswith(b"b\r\n0\r\n\r\n")


def test_a_list_leaves_in_one_write_with_its_head(talk_to: TalkTo):
    talk = talk_to(returns([b"hello"]))
    written: list[bytes] = []
    send = talk.connection._outbox._send
    talk.connection._outbox._send = lambda data: written.append(data) or send(data)
    talk.send(GET)

    (only,) = written
    assert only.endswith(b"Content-Length: 5\r\n\r\nhello")


# ── close() ──


@pytest.mark.parametrize("pieces", [(), (b"hello",), (b"he", b"llo")])
def test_close_is_called_once_after_the_last_byte(talk_to: TalkTo, pieces: tuple[bytes, ...]):
    body = Closing(*pieces)
    response = talk_to(returns(body)).ask()

    assert (response.body, body.closed) == (b"".join(pieces), 1)


@pytest.mark.parametrize("pieces", [(), (b"hello",)])
@pytest.mark.parametrize("error", [ValueError("a"), SystemExit(1), KeyboardInterrupt(), GeneratorExit()])
def test_close_is_called_when_the_iteration_fails(
    talk_to: TalkTo, pieces: tuple[bytes, ...], error: BaseException
):
    body = Closing(*pieces, error=error)
    talk_to(returns(body)).send(GET)

    assert body.closed == 1


@pytest.mark.parametrize("piece", ["text", b"too long"])
def test_close_is_called_when_a_rule_is_broken(talk_to: TalkTo, piece: Any):
    body = Closing(piece)
    talk_to(returns(body, ("Content-Length", "5"))).send(GET)

    assert body.closed == 1


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("status", ["200 OK", "204 No Content", "304 Not Modified", "500 Oh"])
@pytest.mark.parametrize("headers", [(), (("Content-Length", "10"),), (("Content-Length", "3"),)])
@pytest.mark.parametrize("kind", [Closing, Sized])
@pytest.mark.parametrize("pieces", [(), (b"",), (b"0123456789",), (b"01234", b"", b"56789")])
def test_close_is_called_once_whatever_the_answer(
    talk_to: TalkTo, method: str, status: str, headers: Any, kind: type[Closing], pieces: tuple[bytes, ...]
):
    body = kind(*pieces)
    talk_to(returns(body, *headers, status=status)).send(head(f"{method} / HTTP/1.1", "Host: a"))

    assert body.closed == 1


@pytest.mark.parametrize("kind", [Closing, Sized])
@pytest.mark.parametrize("pieces", [(), (b"hello",), ("text",), (b"he", b"llo")])
def test_close_is_called_when_there_was_no_start(
    talk_to: TalkTo, kind: type[Closing], pieces: tuple[Any, ...]
):
    body = kind(*pieces)
    talk = talk_to(app_that(lambda start_response: body))

    assert (talk.ask().status, body.closed) == (500, 1)


def test_close_is_called_on_what_is_no_iterable(talk_to: TalkTo):
    class NoIterable:
        closed = 0

        def close(self) -> None:
            self.closed += 1

    body = NoIterable()

    assert talk_to(returns(lambda: body)).ask().status == 500
    assert body.closed == 1


def test_a_generator_that_is_not_exhausted_is_ended(talk_to: TalkTo):
    ended: list[str] = []

    def pieces() -> Iterator[bytes]:
        try:
            yield b"hello!"
            yield b"more"
        finally:
            ended.append("closed")

    talk_to(returns(pieces, ("Content-Length", "5"))).send(GET)

    assert ended == ["closed"]


def test_a_close_that_fails_after_a_failure_hides_nothing(talk_to: TalkTo):
    class Failing(Closing):
        def close(self) -> None:
            raise LookupError("in close")

    talk = talk_to(returns(Failing(error=ValueError("in the iteration"))))

    assert talk.ask().status == 500
    assert "ValueError: in the iteration" in talk.log.text
    assert "LookupError: in close" in talk.log.text


@pytest.mark.parametrize("when", ["before the first piece", "between two", "after the last"])
def test_close_is_called_once_whenever_the_client_leaves(talk_to: TalkTo, when: str):
    class Leaving(Closing):
        def __iter__(self) -> Iterator[bytes]:
            for moment in ("before the first piece", "between two", "after the last"):
                if moment == when:
                    talk.client.close()
                if moment != "after the last":
                    yield b"hello"

    body = Leaving()
    talk = talk_to(returns(body))

    assert talk.send(GET) is CLOSE
    assert (body.closed, talk.log.text) == (1, "")
    assert " 499 " in talk.access.text


def test_close_is_called_when_the_client_has_left_while_bytes_wait_for_it(talk_to: TalkTo):
    class Endless(Closing):
        def __iter__(self) -> Iterator[bytes]:
            yield b"a" * 1_000_000
            talk.client.close()
            while True:
                yield b"a"

    body = Endless()
    talk = talk_to(returns(body), small=True)

    assert talk.send(GET) is CLOSE
    assert (body.closed, talk.log.text) == (1, "")
    assert " 499 " in talk.access.text


def test_close_is_called_when_the_client_has_left(talk_to: TalkTo):
    class Leaving(Closing):
        def __iter__(self) -> Iterator[bytes]:
            talk.client.close()
            yield from self.pieces

    body = Leaving(*[b"a" * 100_000] * 5)
    talk = talk_to(returns(body))
    talk.send(GET)

    assert body.closed == 1
    assert talk.log.text == ""
    assert '"GET / HTTP/1.1" 499 ' in talk.access.text


@pytest.mark.parametrize("pieces", [(), (b"hello",)])
def test_a_close_that_fails_is_logged_and_the_response_is_whole(talk_to: TalkTo, pieces: tuple[bytes, ...]):
    class Failing(Closing):
        def close(self) -> None:
            raise ValueError("in close")

    talk = talk_to(returns(lambda: Failing(*pieces)))
    for _ in range(2):
        response = talk.ask()
        assert (response.status, response.body, response.closes) == (200, b"".join(pieces), False)

    assert talk.log.text.count("ValueError: in close") == 2
    assert talk.counters.app_errors == 2


# ── start_response ──


def test_it_must_be_called_before_the_body(talk_to: TalkTo):
    for result in ([b"hello"], [], iter([b"hello"]), iter([])):
        talk = talk_to(app_that(lambda start_response, result=result: result))
        assert talk.ask().status == 500
        assert f"{START} not called before the" in talk.log.text


def test_it_may_be_called_within_the_iteration(talk_to: TalkTo):
    def late(start_response: Any) -> Iterator[bytes]:
        start_response("201 Created", [])
        yield b"hello"

    response = talk_to(app_that(late)).ask()

    assert (response.status, response.body) == (201, b"hello")


def test_nothing_is_sent_before_the_first_byte(talk_to: TalkTo):
    def change_its_mind(start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [("X", "first")])
        yield b""
        try:
            raise ValueError("a")
        except ValueError:
            start_response("404 Not Found", [("X", "second")], sys.exc_info())
        yield b"hello"

    response = talk_to(app_that(change_its_mind)).ask()

    assert (response.status, response.values(b"x"), response.body) == (404, [b"second"], b"hello")


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        ("200 OK", [("X", "a\r\nb")]),
        ("200 OK", [("X",)]),
        ("200 OK", [("Content-Length", "1"), ("Content-Length", "1")]),
        ("200 OK", None),
        ("200 OK", 5),
        ("200", [["X", "a"]]),
        ("two hundred", []),
        (200, []),
        (["200 OK"], []),
        ("103 Early Hints", []),
    ],
)
def test_a_mistake_is_raised_where_it_is_made_and_can_be_made_good(
    talk_to: TalkTo, status: Any, headers: Any
):
    """PEP 3333: check "at the time start_response is called, so that an error can be raised while the
    application is still running"."""

    def application(start_response: Any) -> list[bytes]:
        with pytest.raises(AppMistake):
            start_response(status, headers)
        start_response("200 OK", [("X", "good")])
        return [b"hello"]

    talk = talk_to(app_that(application))
    response = talk.ask()

    assert (response.status, response.body, response.values(b"x")) == (200, b"hello", [b"good"])
    assert talk.log.text == ""


def test_headers_count_as_they_were_when_they_were_given(talk_to: TalkTo):
    def application(start_response: Any) -> Iterator[bytes]:
        headers = [("X", "first"), ("Content-Length", "5")]
        start_response("200 OK", headers)
        headers[:] = [("X", "later"), ("Content-Length", "500")]
        yield b""
        headers.clear()
        yield b"hello"

    response = talk_to(app_that(application)).ask()

    assert (response.values(b"x"), response.body) == ([b"first"], b"hello")


def test_the_applications_list_of_headers_is_left_as_it_is(talk_to: TalkTo):
    headers = [("X", "a"), ("Connection", "keep-alive"), ("Date", "now")]
    given = headers.copy()

    def application(start_response: Any) -> list[bytes]:
        start_response("200 OK", headers)
        return [b"hello"]

    talk_to(app_that(application)).ask()

    assert headers == given


@pytest.mark.parametrize("make", [tuple, iter, lambda headers: (header for header in headers)])
def test_headers_may_come_in_any_iterable(talk_to: TalkTo, make: Callable[[Any], Any]):
    def application(start_response: Any) -> list[bytes]:
        start_response("200 OK", make([("X", "a")]))
        return [b"hello"]

    assert talk_to(app_that(application)).ask().values(b"x") == [b"a"]


def test_a_piece_that_was_refused_spoils_no_head(talk_to: TalkTo):
    """The application may handle the error of a write() and go on with what fits."""

    def application(start_response: Any) -> list[bytes]:
        write = start_response("200 OK", [("Content-Length", "5")])
        for _ in range(2):
            with pytest.raises(AppMistake, match="longer"):
                write(b"hello!")
        write(b"hello")
        return []

    talk = talk_to(app_that(application))

    assert talk.ask().body == b"hello"


def test_what_belongs_to_the_connection_is_the_servers(talk_to: TalkTo):
    headers = [
        ("Transfer-Encoding", "gzip"),
        ("Keep-Alive", "timeout=5"),
        ("Proxy-Connection", "close"),
        ("Connection", "X"),
        ("X", "a"),
    ]
    talk = talk_to(returns(lambda: iter([b"hello"]), *headers))

    response = talk.ask()
    assert (response.body, response.closes, response.values(b"x")) == (b"hello", False, [b"a"])
    assert response.values(b"transfer-encoding") == [b"chunked"]
    assert not response.values(b"keep-alive") + response.values(b"connection")


def test_a_second_call_without_exc_info_is_a_mistake(talk_to: TalkTo):
    def twice(start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        start_response("200 OK", [])
        return [b"hello"]

    talk = talk_to(app_that(twice))

    assert talk.ask().status == 500
    assert f"{START} called a second time without exc_info" in talk.log.text


def test_a_replaced_head_that_said_close_does_not_close(talk_to: TalkTo):
    def application(start_response: Any) -> Any:
        start_response("200 OK", [("Connection", "close")])
        try:
            raise LookupError
        except LookupError:
            start_response("404 Not Found", [], sys.exc_info())
        return [b"sorry"]

    talk = talk_to(app_that(application))

    for _ in range(2):
        response = talk.ask()
        assert (response.status, response.closes) == (404, False)


def test_a_failure_after_a_head_that_said_close_does_not_close(talk_to: TalkTo):
    def application(start_response: Any) -> Any:
        start_response("200 OK", [("Connection", "close")])
        raise LookupError

    talk = talk_to(app_that(application))

    for _ in range(2):
        response = talk.ask()
        assert (response.status, response.closes) == (500, False)


@pytest.mark.parametrize("exc_info", [(None, None, None), ()])
def test_exc_info_may_be_empty_before_the_body(talk_to: TalkTo, exc_info: Any):
    def first(start_response: Any) -> list[bytes]:
        start_response("200 OK", [], exc_info)
        return [b"hello"]

    assert talk_to(app_that(first)).ask().status == 200


def test_after_the_first_byte_exc_info_is_raised_again(talk_to: TalkTo):
    reached: list[str] = []

    def fail_late(start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [])
        yield b"hello"
        try:
            raise ValueError("the cause")
        except ValueError:
            start_response("500 Oh", [], sys.exc_info())
            reached.append("the line after")

    talk = talk_to(app_that(fail_late))
    talk.send(GET)

    assert reached == []
    assert "ValueError: the cause" in talk.log.text
    assert talk.receive().endswith(b"5\r\nhello\r\n"), "the last chunk must not come"
    assert talk.has_ended
    assert ' 200 5 "' in talk.access.text


@pytest.fixture
def no_collector() -> Iterator[None]:
    """Only what has no references is freed."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("started", [True, False])
@pytest.mark.parametrize("handled", [True, False])
def test_an_exception_is_not_kept_alive(talk_to: TalkTo, started: bool, handled: bool):
    """A traceback holds every frame, and a frame what is in it: the request, and a body on disk."""
    troubles: list[weakref.ref[Exception]] = []

    class Trouble(Exception):
        def __init__(self) -> None:
            super().__init__("the cause")
            troubles.append(weakref.ref(self))

    def application(environ: Environ, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [])
        yield b"hello" if started else b""
        try:
            raise Trouble
        except Trouble:
            if not handled:
                raise
            start_response("500 Oh", [], sys.exc_info())
        yield b"sorry"

    talk = talk_to(application)
    talk.send(GET)
    talk.turn()

    assert [trouble() for trouble in troubles] == [None]
    assert ("Trouble: the cause" in talk.log.text) == (started or not handled)


def test_a_start_that_comes_too_late_reaches_no_other_answer(talk_to: TalkTo):
    starts: list[Any] = []

    def application(environ: Environ, start_response: Any) -> list[bytes]:
        for start in starts:
            with pytest.raises(AppMistake):
                start("200 OK", [("Connection", "close"), ("X", "late")])
            with pytest.raises(ValueError, match="the cause"):
                try:
                    raise ValueError("the cause")
                except ValueError:
                    start("200 OK", [("Connection", "close"), ("X", "late")], sys.exc_info())
        starts.append(start_response)
        if len(starts) == 2:
            raise ValueError("before it started")
        start_response("200 OK", [])
        return [b"hello"]

    talk = talk_to(application)
    for status in (200, 500, 200, 200):
        response = talk.ask()
        assert (response.status, response.closes, response.values(b"x")) == (status, False, [])


def test_after_the_first_byte_an_empty_exc_info_is_a_mistake(talk_to: TalkTo):
    def pretend(start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [])
        yield b"hello"
        start_response("500 Oh", [], (None, None, None))

    talk = talk_to(app_that(pretend))
    talk.send(GET)

    assert "AppMistake" in talk.log.text
    assert ' 200 5 "' in talk.access.text


@pytest.mark.parametrize("with_keyword", [True, False])
def test_exc_info_may_be_given_by_name_or_by_position(talk_to: TalkTo, with_keyword: bool):
    def application(start_response: Any) -> list[bytes]:
        if with_keyword:
            start_response("200 OK", [], exc_info=None)
        else:
            start_response("200 OK", [], None)
        return [b""]

    assert talk_to(app_that(application)).ask().status == 200


@pytest.mark.parametrize(
    ("status", "line"),
    [
        ("200 OK", b"HTTP/1.1 200 OK\r\n"),
        ("200", b"HTTP/1.1 200 OK\r\n"),
        ("200 ", b"HTTP/1.1 200 \r\n"),
        ("404 Nothing here", b"HTTP/1.1 404 Nothing here\r\n"),
        ("599 ü", b"HTTP/1.1 599 \xfc\r\n"),
        ("999 x", b"HTTP/1.1 999 x\r\n"),
    ],
)
def test_a_status_is_a_code_and_a_phrase(status: str, line: bytes):
    assert read_status(status) == (int(status[:3]), line)


@pytest.mark.parametrize(
    "status",
    [
        *("", "OK", "20 OK", "2000 OK", "200OK", " 200 OK", "000 a", "200\tOK", "200 a\r\nX: b", "200 €"),
        200,
        b"200 OK",
    ],
)
def test_another_status_is_the_applications_mistake(talk_to: TalkTo, status: Any):
    talk = talk_to(returns([b"hello"], status=status))

    with pytest.raises(AppMistake):
        read_status(status)
    assert talk.ask().status == 500


@pytest.mark.parametrize("status", ["100 Continue", "101 Switching Protocols", "103 Early Hints"])
def test_an_interim_status_is_no_answer(talk_to: TalkTo, status: str):
    talk = talk_to(returns([b"hello"], status=status))

    assert talk.ask().status == 500
    assert "not the status of a final response" in talk.log.text
    assert talk.ask().status == 500, "the connection goes on"


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (("X", "a\r\nSet-Cookie: b"), "control character"),
        (("X", "a\nb"), "control character"),
        (("X", "a\x00b"), "control character"),
        (("X\r\nY", "a"), "not a token"),
        (("X Y", "a"), "not a token"),
        (("", "a"), "not a token"),
        (("X", "€"), "beyond latin-1"),
        (("X", b"a"), "not made of str"),
        (["X", "a"], "not a (name, value) tuple"),
        (("Content-Length", "five"), "not a decimal number"),
    ],
)
@pytest.mark.parametrize("result", [[b"hello"], lambda: iter([b"hello"]), lambda: iter([])])
def test_a_header_that_could_be_two_is_a_500_and_logged(
    talk_to: TalkTo, header: Any, message: str, result: Any
):
    talk = talk_to(returns(result, header))
    response = talk.ask()

    assert (response.status, response.values(b"set-cookie")) == (500, [])
    assert message in talk.log.text
    assert "application error in GET /" in talk.log.text
    assert talk.ask().status == 500, "the connection goes on"


@pytest.mark.parametrize("headers", [None, 5])
def test_headers_that_are_no_list_are_a_500(talk_to: TalkTo, headers: Any):
    def application(start_response: Any) -> list[bytes]:
        start_response("200 OK", headers)
        return [b"hello"]

    assert talk_to(app_that(application)).ask().status == 500


def test_cookies_are_several_headers(talk_to: TalkTo):
    cookies = [("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")]

    assert talk_to(returns([b""], *cookies)).ask().values(b"set-cookie") == [b"a=1", b"b=2"]


# ── write() ──


def test_what_is_written_comes_before_what_is_returned(talk_to: TalkTo):
    def application(start_response: Any) -> list[bytes]:
        write = start_response("200 OK", [])
        write(b"one ")
        write(b"")
        write(bytearray(b"two "))
        return [b"three"]

    response = talk_to(app_that(application)).ask()

    assert (response.body, response.framing) == (b"one two three", "chunked")


def test_what_is_written_is_sent_before_write_returns(talk_to: TalkTo):
    seen: list[bytes] = []

    def application(start_response: Any) -> list[bytes]:
        write = start_response("200 OK", [("Content-Length", "5")])
        write(b"")
        write(b"hello")
        seen.append(talk.client.recv(1000))
        return []

    talk = talk_to(app_that(application))
    talk.send(GET)

    assert seen[0].endswith(b"\r\n\r\nhello")


def test_it_may_be_written_while_the_result_is_iterated(talk_to: TalkTo):
    def application(environ: Environ, start_response: Any) -> Iterator[bytes]:
        write = start_response("200 OK", [])
        write(b"1")
        yield b"2"
        write(b"3")
        yield b""
        write(b"4")

    assert talk_to(application).ask().body == b"1234"


def test_a_write_within_the_only_piece_comes_before_it(talk_to: TalkTo):
    class Writing(Sized):
        def __iter__(self) -> Iterator[bytes]:
            writes[0](b"written ")
            return iter(self.pieces)

    writes: list[Any] = []

    def application(start_response: Any) -> Any:
        writes.append(start_response("200 OK", []))
        return Writing(b"returned")

    assert talk_to(app_that(application)).ask().body == b"written returned"


@pytest.mark.parametrize("data", ["text", None, 5, [b"hello"]])
def test_writing_anything_but_bytes_is_a_mistake(talk_to: TalkTo, data: Any):
    def application(start_response: Any) -> list[bytes]:
        start_response("200 OK", [])(data)
        return []

    talk = talk_to(app_that(application))

    assert talk.ask().status == 500
    assert "not bytes" in talk.log.text


def test_a_write_that_comes_too_late_goes_into_no_other_answer(talk_to: TalkTo):
    writes: list[Any] = []

    def application(start_response: Any) -> list[bytes]:
        for write in writes:
            with pytest.raises(AppMistake, match="after its request had been answered"):
                write(b"from before")
        writes.append(start_response("200 OK", []))
        return [b"hello"]

    talk = talk_to(app_that(application))
    assert [talk.ask().body for _ in range(3)] == [b"hello"] * 3
    with pytest.raises(AppMistake):
        writes[-1](b"from before")
    assert talk.ask().body == b"hello"
    assert talk.log.text == ""


def test_a_write_after_the_last_answer_of_a_connection_is_refused(talk_to: TalkTo):
    writes: list[Any] = []

    def application(start_response: Any) -> list[bytes]:
        writes.append(start_response("200 OK", [("Connection", "close")]))
        return [b"hello"]

    talk = talk_to(app_that(application))
    talk.ask()
    with pytest.raises(AppMistake):
        writes[0](b"more")


# ── length ──


@pytest.mark.parametrize(
    "result", [[b"hello!"], [b"hello", b"!"], lambda: iter([b"hello!"]), lambda: Closing(b"too long")]
)
def test_a_body_that_is_too_long_at_once_is_a_500(talk_to: TalkTo, result: Any):
    talk = talk_to(returns(result, ("Content-Length", "5")))

    assert talk.ask().status == 500
    assert "longer than its Content-Length" in talk.log.text


@pytest.mark.parametrize("pieces", [(b"hello", b"!"), (b"he", b"llo!")])
def test_a_body_that_becomes_too_long_is_cut_and_the_connection_ends(
    talk_to: TalkTo, pieces: tuple[bytes, ...]
):
    talk = talk_to(returns(lambda: iter(pieces), ("Content-Length", "5")))
    talk.send(GET)
    received = talk.receive()

    assert received.endswith(b"\r\n\r\n" + pieces[0])
    assert talk.has_ended
    assert "longer than its Content-Length" in talk.log.text


@pytest.mark.parametrize("result", [[b"hell"], [], lambda: iter([b"he", b"ll"]), lambda: iter([])])
def test_a_body_that_is_too_short_ends_the_connection(talk_to: TalkTo, result: Any):
    talk = talk_to(returns(result, ("Content-Length", "5")))
    talk.send(GET + GET)
    received = talk.receive()

    assert received.count(b"HTTP/1.1 200 OK") == 1
    assert talk.has_ended
    assert "bytes short of its Content-Length" in talk.log.text
    assert talk.counters.app_errors == 1


# ── methods and statuses without a body ──


@pytest.mark.parametrize(
    "result", [[b"hello"], [b"he", b"llo"], lambda: iter([b"he", b"llo"]), lambda: Closing(b"hello"), []]
)
@pytest.mark.parametrize("length", [True, False])
def test_head_has_the_head_of_get_and_no_body(talk_to: TalkTo, result: Any, length: bool):
    talk = talk_to(returns(result, *([("Content-Length", "5")] if length else [])))

    for _ in range(2):
        response = talk.ask(method="HEAD")
        assert (response.status, response.body, response.closes) == (200, b"", False)
        assert response.values(b"transfer-encoding") == []
        if length:
            assert response.values(b"content-length") == [b"5"]
    assert talk.log.text == ""


@pytest.mark.parametrize(
    ("method", "status"), [("HEAD", "200 OK"), ("GET", "204 No Content"), ("GET", "304 Not Modified")]
)
def test_a_stream_without_a_reader_is_ended(talk_to: TalkTo, method: str, status: str):
    """It may be endless, and a client that leaves shows only where something is sent."""

    class Endless(Closing):
        def __iter__(self) -> Iterator[bytes]:
            while True:
                yield b"a"

    body = Endless()
    response = talk_to(returns(body, status=status)).ask(method=method)

    assert (response.status, response.body, body.closed) == (int(status[:3]), b"", 1)


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
@pytest.mark.parametrize("result", [[b"hello"], lambda: iter([b"hello"]), [], lambda: iter([])])
def test_204_and_304_have_no_body(talk_to: TalkTo, status: str, result: Any):
    talk = talk_to(returns(result, status=status))

    for _ in range(2):
        response = talk.ask()
        assert (response.status, response.body, response.closes) == (int(status[:3]), b"", False)


def test_http_1_0_without_a_length_ends_with_the_connection(talk_to: TalkTo):
    talk = talk_to(returns(lambda: iter([b"he", b"llo"])))
    talk.send(head("GET / HTTP/1.0", "Connection: keep-alive"))
    (response,) = talk.responses("GET", version="1.0")

    assert (response.body, response.framing, response.closes) == (b"hello", "close", True)
