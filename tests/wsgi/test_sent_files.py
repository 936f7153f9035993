"""Answers with `wsgi.file_wrapper` (PEP 3333 "Optional Platform-Specific File Handling")."""

import gzip
import io
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from appserve.wsgi.connection import CLOSE, READ, WRITE
from appserve.wsgi.file_wrapper import FileWrapper
from appserve.wsgi.spool import Quota
from tests.wsgi.talk import GET, Environ, Talk, head, open_descriptors

TalkTo = Callable[..., Talk]
DATA = os.urandom(3_000_000)
OLD = head("GET / HTTP/1.0")
NOTHING = Path(os.devnull)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "file").write_bytes(DATA)
    return tmp_path / "file"


class Downloads:
    """An application that sends what `open` opens; `file` is the last one."""

    def __init__(
        self, open_file: Callable[[], Any], *headers: tuple[str, str], status: str = "200 OK"
    ) -> None:
        self.open = open_file
        self.headers = headers
        self.status = status
        self.file: Any = None
        self.closed = 0

    def __call__(self, environ: Environ, start_response: Any) -> Any:
        start_response(self.status, list(self.headers))
        self.file = self.open()
        return self.wrap(environ["wsgi.file_wrapper"])

    def wrap(self, wrapper: Any) -> Any:
        return wrapper(self.file, 8192)


def binary(path: Path, start: int = 0) -> Callable[[], Any]:
    def open_file() -> Any:
        file = path.open("rb")
        file.seek(start)
        return file

    return open_file


def length(size: int) -> tuple[str, str]:
    return ("Content-Length", str(size))


@pytest.fixture(params=["by the kernel", "by hand"])
def any_way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test is run with os.sendfile, and where there is none."""
    if request.param == "by hand":
        monkeypatch.delattr(os, "sendfile")


# ── as much as is asked for ──


@pytest.mark.usefixtures("any_way")
@pytest.mark.parametrize("start", [0, 1_000_000, len(DATA) - 1])
@pytest.mark.parametrize("with_length", [True, False])
def test_a_file_is_sent_from_its_position_on(talk_to: TalkTo, path: Path, start: int, with_length: bool):
    application = Downloads(binary(path, start), *([length(len(DATA) - start)] if with_length else []))
    talk = talk_to(application)
    before = open_descriptors()
    for _ in range(2):
        response = talk.ask()
        assert (response.status, response.framing, response.closes) == (200, "length", False)
        assert response.body == DATA[start:]
        assert application.file.closed
    assert open_descriptors() == before
    assert talk.log.text == ""


def test_a_file_that_the_reader_cannot_have_at_once_waits_where_it_is(talk_to: TalkTo, path: Path):
    application = Downloads(binary(path))
    talk = talk_to(application, small=True, quota=Quota(0), stall=0.001)
    before = open_descriptors()

    assert talk.send(GET) is WRITE
    assert (application.file.closed, talk.counters.calls) == (True, 1), "the application is done"
    assert len(open_descriptors()) == len(before) + 1, "one descriptor, no spool"
    path.unlink()
    assert talk.responses("GET")[0].body == DATA
    assert open_descriptors() == before
    assert f'"GET / HTTP/1.1" 200 {len(DATA)} ' in talk.access.text


@pytest.mark.parametrize("size", [0, 1, 1000, len(DATA) - 1])
def test_of_a_longer_file_only_the_announced_length_goes(talk_to: TalkTo, path: Path, size: int):
    talk = talk_to(Downloads(binary(path), length(size)))
    for _ in range(2):
        response = talk.ask()
        assert (response.body, response.closes) == (DATA[:size], False)
    assert talk.log.text == ""


def test_a_file_that_grows_while_it_is_sent_is_as_long_as_it_was(talk_to: TalkTo, path: Path):
    talk = talk_to(Downloads(binary(path)), small=True)
    assert talk.send(GET) is WRITE
    with path.open("ab") as file:
        file.write(b"more")

    assert talk.responses("GET")[0].body == DATA


@pytest.mark.usefixtures("any_way")
@pytest.mark.parametrize("left", [0, 2_000_000])
@pytest.mark.parametrize("with_length", [True, False])
def test_a_file_that_shrinks_while_it_is_sent_is_logged_and_cuts_the_response(
    talk_to: TalkTo, path: Path, left: int, with_length: bool
):
    talk = talk_to(Downloads(binary(path), *([length(len(DATA))] if with_length else [])), small=True)
    before = open_descriptors()
    assert talk.send(GET + GET) is WRITE
    os.truncate(path, left)
    received = talk.receive()

    head_of_it, _, body = received.partition(b"\r\n\r\n")
    assert b"Content-Length: %d" % len(DATA) in head_of_it
    assert DATA.startswith(body)
    assert len(body) < len(DATA)
    assert talk.has_ended, "the second request is not answered in the middle of the first response"
    message = re.search(
        r"application error in GET /: the file .* shrank by ([0-9]+) bytes while", talk.log.text
    )
    assert message is not None
    assert int(message[1]) == len(DATA) - len(body)
    assert f'"GET / HTTP/1.1" 200 {len(body)} ' in talk.access.text
    assert talk.counters.app_errors == 1
    assert open_descriptors() == before


def test_a_file_that_is_shorter_than_announced_ends_the_connection(talk_to: TalkTo, path: Path):
    talk = talk_to(Downloads(binary(path), length(len(DATA) + 7)))
    talk.send(GET)

    assert talk.receive().endswith(DATA)
    assert talk.has_ended
    assert "the body ended 7 bytes short of its Content-Length" in talk.log.text


# ── without a body ──


@pytest.mark.parametrize(
    ("method", "status", "lengths"),
    [
        ("HEAD", "200 OK", [b"%d" % len(DATA)]),
        ("GET", "204 No Content", []),
        ("GET", "304 Not Modified", []),
        ("HEAD", "304 Not Modified", []),
    ],
)
@pytest.mark.parametrize("kind", [binary, lambda path: lambda: io.BytesIO(DATA)])
def test_where_there_is_no_body_the_file_is_only_closed(
    talk_to: TalkTo, path: Path, method: str, status: str, lengths: list[bytes], kind: Any
):
    application = Downloads(kind(path), status=status)
    talk = talk_to(application)
    before = open_descriptors()
    for _ in range(2):
        response = talk.ask(method=method)
        assert (response.status, response.body, response.closes) == (int(status[:3]), b"", False)
        if kind is binary:
            assert response.values(b"content-length") == lengths
        assert application.file.closed
    assert open_descriptors() == before


def test_nothing_is_read_where_there_is_no_body(talk_to: TalkTo):
    class Endless:
        reads = 0

        def read(self, size: int) -> bytes:
            self.reads += 1
            return b"a" * size

    application = Downloads(Endless)
    talk_to(application).ask(method="HEAD")

    assert application.file.reads <= 1


# ── lengths that only reading shows ──


def gzipped(path: Path) -> Any:
    packed = path.with_suffix(".gz")
    with gzip.open(packed, "wb") as file:
        file.write(DATA[:100_000])
    return gzip.open(packed)


def piped(path: Path) -> Any:
    read, write = os.pipe()
    os.write(write, DATA[:60_000])
    os.close(write)
    return os.fdopen(read, "rb")


def spooled(path: Path) -> Any:
    file = tempfile.SpooledTemporaryFile(max_size=1000)  # noqa: SIM115  the server closes it
    file.write(DATA[:100_000])
    file.seek(5)
    return file


class Lying(io.BytesIO):
    """A file object with the descriptor of something else."""

    def fileno(self) -> int:
        return 0


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda path: io.BytesIO(DATA), DATA),
        (lambda path: Lying(DATA), DATA),
        (gzipped, DATA[:100_000]),
        (piped, DATA[:60_000]),
        (spooled, DATA[5:100_000]),
        (lambda path: io.BytesIO(), b""),
        (lambda path: NOTHING.open("rb"), b""),
    ],
)
@pytest.mark.parametrize("with_length", [True, False])
def test_what_is_no_regular_file_is_read(
    talk_to: TalkTo, path: Path, make: Callable[[Path], Any], expected: bytes, with_length: bool
):
    application = Downloads(lambda: make(path), *([length(len(expected))] if with_length else []))
    talk = talk_to(application)
    for _ in range(2):
        response = talk.ask()
        assert (response.status, response.body, response.closes) == (200, expected, False)
        assert application.file.closed
    assert talk.log.text == ""


@pytest.mark.parametrize("size", [0, 1, 8192, 20_000])
def test_of_what_is_read_only_the_announced_length_goes(talk_to: TalkTo, size: int):
    talk = talk_to(Downloads(lambda: io.BytesIO(DATA), length(size)))
    for _ in range(2):
        response = talk.ask()
        assert (response.body, response.closes) == (DATA[:size], False)
    assert talk.log.text == ""


def test_what_is_read_and_falls_short_ends_the_connection(talk_to: TalkTo):
    talk = talk_to(Downloads(lambda: io.BytesIO(b"hello"), length(10)))
    talk.send(GET)

    assert talk.receive().endswith(b"\r\n\r\nhello")
    assert talk.has_ended
    assert "the body ended 5 bytes short of its Content-Length" in talk.log.text


@pytest.mark.parametrize(
    "kind", [lambda path: path.open("r", encoding="latin-1"), lambda path: io.StringIO("a")]
)
def test_a_text_file_is_the_applications_mistake(talk_to: TalkTo, path: Path, kind: Any):
    application = Downloads(lambda: kind(path))
    talk = talk_to(application)

    assert talk.ask().status == 500
    assert "has str in it, not bytes" in talk.log.text
    assert application.file.closed


def test_a_file_that_cannot_be_read_is_the_applications_error(talk_to: TalkTo, path: Path):
    application = Downloads(lambda: path.open("ab"))
    talk = talk_to(application)

    assert talk.ask().status == 500
    assert "UnsupportedOperation" in talk.log.text
    assert application.file.closed


# ── what others make of it ──


def test_a_middleware_may_take_it_for_any_iterable(talk_to: TalkTo, path: Path):
    class Reversing(Downloads):
        def wrap(self, wrapper: Any) -> Any:
            body = wrapper(self.file, 1000)
            return Closing((block[::-1] for block in body), body.close)

    class Closing:
        def __init__(self, pieces: Iterator[bytes], close: Callable[[], None]) -> None:
            self.pieces = pieces
            self.close = close

        def __iter__(self) -> Iterator[bytes]:
            return self.pieces

    application = Reversing(binary(path))
    response = talk_to(application).ask()

    expected = b"".join(DATA[start : start + 1000][::-1] for start in range(0, len(DATA), 1000))
    assert response.body == expected
    assert application.file.closed


def test_a_subclass_may_say_what_its_blocks_are(talk_to: TalkTo, path: Path):
    class Upper(FileWrapper):
        def __next__(self) -> bytes:
            return super().__next__().upper()

    class Shouting(Downloads):
        def wrap(self, wrapper: Any) -> Any:
            return Upper(self.file)

    path.write_bytes(b"hello" * 1000)
    application = Shouting(binary(path))

    assert talk_to(application).ask().body == b"HELLO" * 1000
    assert application.file.closed


def test_a_part_of_it_may_have_been_read(talk_to: TalkTo, path: Path):
    class Sniffing(Downloads):
        def wrap(self, wrapper: Any) -> Any:
            body = wrapper(self.file, 1000)
            next(body)
            return body

    assert talk_to(Sniffing(binary(path))).ask().body == DATA[1000:]


def test_a_close_that_was_put_in_the_files_place_is_called(talk_to: TalkTo, path: Path):
    """As Django does, to end its request with the file."""
    closed: list[str] = []

    class Ending(Downloads):
        def wrap(self, wrapper: Any) -> Any:
            self.file.close = lambda: closed.append("closed")
            return wrapper(self.file)

    application = Ending(binary(path))

    assert talk_to(application).ask().body == DATA
    assert closed == ["closed"]
    type(application.file).close(application.file)


def test_it_comes_behind_what_was_written(talk_to: TalkTo, path: Path):
    class Writing(Downloads):
        def __call__(self, environ: Environ, start_response: Any) -> Any:
            start_response("200 OK", list(self.headers))(b"before ")
            return environ["wsgi.file_wrapper"](path.open("rb"))

    for headers, framing in ([], "chunked"), ([length(7 + len(DATA))], "length"):
        response = talk_to(Writing(binary(path), *headers)).ask()
        assert (response.body, response.framing) == (b"before " + DATA, framing)
    talk = talk_to(Writing(binary(path)))
    talk.send(OLD)
    (response,) = talk.responses("GET", version="1.0")
    assert (response.body, response.framing) == (b"before " + DATA, "close")


# ── rules that it shares with others ──


def test_it_needs_a_start_like_any_other(talk_to: TalkTo, path: Path):
    files: list[Any] = []

    def application(environ: Environ, start_response: Any) -> Any:
        files.append(path.open("rb"))
        return environ["wsgi.file_wrapper"](files[-1])

    talk = talk_to(application)
    before = open_descriptors()

    assert talk.ask().status == 500
    assert "start_response() was not called" in talk.log.text
    assert files[0].closed
    assert open_descriptors() == before


@pytest.mark.usefixtures("any_way")
def test_a_client_that_leaves_within_a_file_is_recorded(talk_to: TalkTo, path: Path):
    application = Downloads(binary(path))
    talk = talk_to(application, small=True)
    before = open_descriptors()
    assert talk.send(GET) is WRITE

    assert talk.leave() is CLOSE
    talk._access_log.flush()
    match = re.search(r'"GET / HTTP/1.1" 499 ([0-9]+) ', talk.access.text)
    assert match is not None
    assert 0 < int(match[1]) < len(DATA)
    assert len(open_descriptors()) == len(before) - 2
    assert (talk.log.text, talk.counters.aborted) == ("", 1)


def test_a_client_that_left_before_a_file_is_recorded(talk_to: TalkTo, path: Path):
    def open_file() -> Any:
        talk.client.close()
        return path.open("rb")

    application = Downloads(open_file)
    talk = talk_to(application)
    before = open_descriptors()

    assert talk.send(GET) is CLOSE
    assert application.file.closed
    assert '"GET / HTTP/1.1" 499 0 ' in talk.access.text
    assert len(open_descriptors()) == len(before) - 2
    assert talk.log.text == ""


def test_a_request_pipelined_behind_a_file_is_answered_after_it(talk_to: TalkTo, path: Path):
    talk = talk_to(Downloads(binary(path)), small=True)
    talk.client.sendall(GET * 3)

    assert [response.body == DATA for response in talk.responses("GET", "GET", "GET")] == [True] * 3
    assert talk.needed is READ


def test_a_reader_that_stops_within_a_file_is_given_up(talk_to: TalkTo, path: Path):
    talk = talk_to(Downloads(binary(path)), small=True, stall=50.0)
    before = open_descriptors()
    assert talk.send(GET) is WRITE
    talk.connection.is_expired(0.0)
    assert talk.connection.is_expired(50.1)

    assert talk.expire() is CLOSE
    assert '"GET / HTTP/1.1" 499 ' in talk.access.text
    assert len(open_descriptors()) == len(before) - 1


def test_the_kernel_sends_it_and_python_does_not_read_it(
    talk_to: TalkTo, path: Path, monkeypatch: pytest.MonkeyPatch
):
    sent: list[int] = []
    sendfile = os.sendfile

    def count(*arguments: Any) -> int:
        sent.append(sendfile(*arguments))
        return sent[-1]

    def never(*arguments: Any) -> Any:
        raise AssertionError("it was read")

    monkeypatch.setattr(os, "sendfile", count)
    monkeypatch.setattr(os, "pread", never)
    monkeypatch.setattr(FileWrapper, "__next__", never)

    assert talk_to(Downloads(binary(path))).ask().body == DATA
    assert sum(sent) == len(DATA)
