import os
from collections.abc import Iterator
from typing import Any

import pytest

from appserve.observe import access as module
from appserve.observe.access import AccessLog

AT = 1_795_253_160.9


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    yield reader, writer
    os.close(reader)
    os.close(writer)


Pipe = tuple[int, int]


def read(pipe: Pipe) -> str:
    try:
        return os.read(pipe[0], 1 << 20).decode("ascii")
    except BlockingIOError:
        return ""


def line(
    pipe: Pipe,
    request: str | bytes = "GET / HTTP/1.1",
    client: str = "127.0.0.1",
    referer: str = "",
    agent: str = "",
) -> str:
    """The line of one request."""
    access = AccessLog(pipe[1], clock=lambda: AT)
    access.record(client, request, 200, 12, 0.000312, referer, agent)
    access.flush()
    return read(pipe)


def test_a_line_is_the_combined_format_and_the_duration(pipe: Pipe) -> None:
    assert line(pipe, "GET /a HTTP/1.1", agent="curl/8") == (
        '127.0.0.1 - - [21/Nov/2026:09:26:00 +0000] "GET /a HTTP/1.1" 200 12 "-" "curl/8" 0.000312\n'
    )


def test_what_is_unknown_is_a_hyphen(pipe: Pipe) -> None:
    assert line(pipe, b"", client="") == '- - - [21/Nov/2026:09:26:00 +0000] "-" 200 12 "-" "-" 0.000312\n'


@pytest.mark.parametrize("before", [1, 2])
def test_what_a_thread_records_during_a_flush_belongs_to_the_next(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch, before: int
) -> None:
    access = AccessLog(pipe[1])
    render = module._render

    def interrupted(*arguments: Any) -> bytes:
        record(access, "/meanwhile")
        return render(*arguments)

    monkeypatch.setattr(module, "_render", interrupted)
    for _ in range(before):
        record(access, "/before")
    access.flush()
    assert paths(read(pipe)) == ["/before"] * before
    monkeypatch.undo()
    access.flush()
    assert paths(read(pipe)) == ["/meanwhile"]


def record(access: AccessLog, path: str) -> None:
    access.record("::1", f"GET {path} HTTP/1.1", 200, 0, 0.5, "", "")


def paths(lines: str) -> list[str]:
    return [line.split()[6] for line in lines.splitlines()]


def test_nothing_is_written_before_the_flush_and_nothing_twice(pipe: Pipe) -> None:
    access = AccessLog(pipe[1])
    access.flush()
    for number in range(3):
        access.record("::1", f"GET /{number} HTTP/1.1", 200, 0, 0.5, "", "")
    assert read(pipe) == ""
    access.flush()
    assert [text.split()[6] for text in read(pipe).splitlines()] == ["/0", "/1", "/2"]
    access.flush()
    assert read(pipe) == ""


def test_the_time_is_that_of_the_flush(pipe: Pipe) -> None:
    now = [AT]
    access = AccessLog(pipe[1], clock=lambda: now[0])
    for seconds in (0.0, 0.05, 0.05, 86_400.0):
        now[0] += seconds
        access.record("::1", "GET / HTTP/1.1", 200, 0, 0, "", "")
        access.flush()
    stamps = [text[text.index("[") + 1 : text.index("]")] for text in read(pipe).splitlines()]
    assert stamps == [
        "21/Nov/2026:09:26:00 +0000",
        "21/Nov/2026:09:26:00 +0000",
        "21/Nov/2026:09:26:01 +0000",
        "22/Nov/2026:09:26:01 +0000",
    ]


def test_a_request_line_may_be_bytes_or_text(pipe: Pipe) -> None:
    assert '"GET /\\xe9 HTTP/1.1"' in line(pipe, b"GET /\xe9 HTTP/1.1")
    assert '"GET /\\xe9 HTTP/1.1"' in line(pipe, "GET /\xe9 HTTP/1.1")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('" 200 1 "-" "forged', '\\" 200 1 \\"-\\" \\"forged'),
        ("a\\", "a\\\\"),
        ("a\r\nb", "a\\x0d\\x0ab"),
        ("a\x1b[31m\0\x7f\x9b", "a\\x1b[31m\\x00\\x7f\\x9b"),
        ("a\tb", "a\\x09b"),
        ("Ω\u2028", "\\xce\\xa9\\xe2\\x80\\xa8"),
        ("\ud800", "\\xed\\xa0\\x80"),
        ("%s %d %", "%s %d %"),
        ("{}[]~!#", "{}[]~!#"),
    ],
)
def test_a_text_of_the_client_cannot_end_its_field_or_its_line(pipe: Pipe, text: str, expected: str) -> None:
    stamp = "[21/Nov/2026:09:26:00 +0000]"
    rest = f'{stamp} "{expected}" 200 12 "{expected}" "{expected}" 0.000312\n'
    assert line(pipe, text, referer=text, agent=text) == f"127.0.0.1 - - {rest}"
    assert line(pipe, text, text, text, text) == f"{expected} - - {rest}"


def test_every_byte_is_shown_as_itself_or_escaped(pipe: Pipe) -> None:
    shown = line(pipe, bytes(range(256)))
    field = shown[shown.index('"') + 1 : shown.index('" 200')]
    assert field.isprintable()
    assert field.isascii()
    escaped = field.replace("\\\\", "\\x5c").replace('\\"', "\\x22")
    assert escaped.encode().decode("unicode_escape").encode("latin-1") == bytes(range(256))


def test_one_unsafe_line_does_not_change_the_others_of_its_turn(pipe: Pipe) -> None:
    access = AccessLog(pipe[1], clock=lambda: AT)
    for request in ("GET /one HTTP/1.1", 'GET /" HTTP/1.1', "GET /three HTTP/1.1"):
        access.record("::1", request, 200, 0, 0, "-", "-")
    access.flush()
    assert [text.split('] "')[1].split('" 200')[0] for text in read(pipe).splitlines()] == [
        "GET /one HTTP/1.1",
        'GET /\\" HTTP/1.1',
        "GET /three HTTP/1.1",
    ]


def test_quotes_that_make_up_for_one_another_are_found(pipe: Pipe) -> None:
    """The search for unsafe bytes looks at a whole batch: its lines must not lend each other quotes."""
    access = AccessLog(pipe[1], clock=lambda: AT)
    access.record("::1", 'a"', 200, 0, 0, "", "")
    access.record("::1", 'b\n"c', 200, 0, 0, "", "")
    access.flush()
    assert [text.split('] "')[1].split('" 200')[0] for text in read(pipe).splitlines()] == [
        'a\\"',
        'b\\x0a\\"c',
    ]


def test_a_stopped_reader_loses_lines_and_hears_how_many(pipe: Pipe) -> None:
    access = AccessLog(pipe[1])
    total = 6000
    for _ in range(total):
        access.record("127.0.0.1", "GET / HTTP/1.1", 200, 0, 0, "", "")
        access.flush()
    lines: list[str] = []
    while text := read(pipe):
        lines += text.splitlines()
        access.flush()
    reported = lines[-1]
    assert reported == (
        f"# appserve [{os.getpid()}]: {total - len(lines) + 1} access log lines lost:"
        " its reader was too slow, or the disk full"
    )


def test_last_lines_are_written_by_drain(pipe: Pipe) -> None:
    access = AccessLog(pipe[1])
    access.record("127.0.0.1", "GET /last HTTP/1.1", 200, 0, 0, "", "")
    assert access.drain(1)
    assert "/last" in read(pipe)
    assert access.given == pipe[1]
