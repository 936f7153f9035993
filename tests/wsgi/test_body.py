import io
import os
from typing import BinaryIO

import pytest

from appserve.errors import Rejected
from appserve.wsgi.body import MEMORY, RequestBody
from appserve.wsgi.spool import Quota
from tests.wsgi.talk import open_descriptors

LINES = b"first\n\nthird with more\r\n\n" * 4 + b"no end"


def collect(*pieces: bytes, quota: Quota | None = None) -> RequestBody:
    body = RequestBody(quota or Quota(1 << 30))
    for piece in pieces:
        body.append(piece)
    return body


def big(text: bytes) -> bytes:
    """`text` again and again, too long for memory."""
    return text * (MEMORY // len(text) + 1)


@pytest.mark.parametrize("text", [LINES, big(LINES)], ids=["in memory", "on disk"])
def test_it_reads_like_any_file(text: bytes):
    def read(file: BinaryIO) -> list[object]:
        return [
            file.read(3),
            file.read(0),
            file.readline(),
            file.readline(2),
            file.readline(-1),
            file.readlines(10),
            next(file),
            file.read(7),
            list(file)[-1],
            file.read(),
            file.read(5),
            file.readline(),
            file.readlines(),
        ]

    body = collect(*(text[start : start + 50_000] for start in range(0, len(text), 50_000)))

    assert body.size == len(text)
    assert read(body.open()) == read(io.BytesIO(text))
    body.discard()


@pytest.mark.parametrize("size", [0, 1, MEMORY - 1, MEMORY, MEMORY + 1, 3 * MEMORY])
@pytest.mark.parametrize("step", [1000, MEMORY, 10 * MEMORY])
def test_whatever_its_size_it_is_what_was_sent(size: int, step: int):
    text = os.urandom(size)
    body = collect(*(text[start : start + step] for start in range(0, size, step)))

    assert body.open().read() == text
    body.discard()


def test_a_small_body_needs_no_file():
    before = open_descriptors()
    body = collect(b"a" * MEMORY)
    file = body.open()

    assert open_descriptors() == before
    body.discard()
    assert len(file.read()) == MEMORY


@pytest.mark.parametrize("is_opened", [True, False])
def test_the_file_and_its_room_are_given_back_together(is_opened: bool):
    quota = Quota(3 * MEMORY)
    before = open_descriptors()
    body = collect(b"a" * MEMORY, b"b" * MEMORY, quota=quota)
    if is_opened:
        assert body.open() is body.open()
    assert len(open_descriptors()) == len(before) + 1
    assert not quota.take(3 * MEMORY)

    body.discard()
    body.discard()

    assert open_descriptors() == before
    assert quota.take(3 * MEMORY)


def test_an_application_may_close_or_detach_the_file():
    before = open_descriptors()
    closed, detached = collect(b"a" * (MEMORY + 1)), collect(b"a" * (MEMORY + 1))
    closed.open().close()
    raw = detached.open().detach()  # type: ignore[attr-defined]  # a BufferedReader has it
    closed.discard()
    detached.discard()
    raw.close()

    assert open_descriptors() == before


def test_a_body_for_which_there_is_no_room_is_503():
    quota = Quota(2 * MEMORY)
    body = collect(b"a" * MEMORY, b"b" * MEMORY, quota=quota)
    with pytest.raises(Rejected) as caught:
        body.append(b"c")

    assert caught.value.status == 503
    body.discard()
    assert quota.take(2 * MEMORY)
