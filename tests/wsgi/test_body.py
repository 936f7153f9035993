import io
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appserve.errors import Rejected
from appserve.http.messages import CHUNKED, SHARES
from appserve.wsgi import body as module
from appserve.wsgi.body import MEMORY, RequestBody
from appserve.wsgi.spool import UNCOUNTED, Quota, Share
from tests.wsgi.talk import open_descriptors

LINES = b"first\n\nthird with more\r\n\n" * 4 + b"no end"


def collect(*pieces: bytes, quota: Quota | None = None, length: int = CHUNKED) -> RequestBody:
    body = RequestBody(quota or Quota(1 << 32), length)
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
    quota = Quota(1 << 30)
    before = open_descriptors()
    body = collect(b"a" * MEMORY, b"b" * MEMORY, quota=quota)
    if is_opened:
        assert body.open() is body.open()
    assert len(open_descriptors()) == len(before) + 1
    assert quota._left == (1 << 30) - 2 * MEMORY

    body.discard()
    body.discard()

    assert open_descriptors() == before
    assert quota._left == 1 << 30


def test_no_more_than_64_kib_are_in_memory_and_they_are_counted():
    assert MEMORY == 64 * 1024
    quota = Quota(1 << 30)
    small, larger, large = collect(quota=quota), collect(quota=quota), collect(quota=quota)
    small.append(b"a" * UNCOUNTED)
    assert quota._left == 1 << 30
    larger.append(b"a" * (UNCOUNTED + 1))
    assert quota._left == (1 << 30) - MEMORY
    for _ in range(3):
        large.append(b"a" * MEMORY)
    assert len(large._memory) == 0
    assert quota._left == (1 << 30) - 4 * MEMORY

    for body in (small, larger, large):
        body.discard()
        body.discard()
    assert quota._left == 1 << 30


def test_an_application_may_close_or_detach_the_file():
    before = open_descriptors()
    closed, detached = collect(b"a" * (MEMORY + 1)), collect(b"a" * (MEMORY + 1))
    closed.open().close()
    raw = detached.open().detach()  # type: ignore[attr-defined]  # a BufferedReader has it
    closed.discard()
    detached.discard()
    raw.close()

    assert open_descriptors() == before


def refusal(of: Callable[[], object]) -> int:
    """The status that a call is refused with."""
    with pytest.raises(Rejected) as caught:
        of()
    return caught.value.status


def crowded(size: int) -> Quota:
    """A quota of which others have taken so much that there is no room for `size` bytes, and for few less."""
    quota = Quota(100 * size)
    while quota._left >= 2 * size:
        Share(quota).take(size // 10)
    return quota


def test_a_body_for_which_there_is_no_room_now_is_503():
    quota = crowded(3 * MEMORY)
    left = quota._left
    body = collect(b"a" * MEMORY, b"b" * MEMORY, quota=quota, length=3 * MEMORY)

    assert refusal(lambda: body.append(b"c" * MEMORY)) == 503
    body.discard()
    assert quota._left == left
    assert quota.shortage


def test_a_body_that_one_request_may_never_hold_is_413_before_it_comes():
    quota = Quota(SHARES * 2 * MEMORY)

    assert refusal(lambda: collect(quota=quota, length=2 * MEMORY + 1)) == 413
    collect(b"a" * MEMORY, b"b" * MEMORY, quota=quota, length=2 * MEMORY).discard()
    assert (quota._left, quota.shortage) == (SHARES * 2 * MEMORY, "")


def test_a_chunked_body_is_413_when_it_is_more_than_one_request_may_ever_hold():
    quota = Quota(SHARES * 2 * MEMORY)
    body = collect(b"a" * MEMORY, b"b" * MEMORY, quota=quota)

    assert refusal(lambda: body.append(b"c")) == 413
    body.discard()
    assert quota._left == SHARES * 2 * MEMORY


def test_a_chunked_body_without_room_is_counted_to_its_end_and_503_then():
    quota = crowded(2 * MEMORY)
    left = quota._left
    body = collect(quota=quota)
    for _ in range(20):
        body.append(b"a" * MEMORY)

    assert refusal(body.open) == 503
    assert quota._left == left, "nothing is kept of it"
    assert len(body._memory) == 0
    assert refusal(lambda: [body.append(bytes(quota.largest)) for _ in range(2)]) == 413


@pytest.mark.parametrize("room", [0, 1, SHARES * UNCOUNTED])
def test_without_any_room_small_bodies_are_served(room: int):
    quota = Quota(room)
    body = collect(b"a" * UNCOUNTED, quota=quota, length=UNCOUNTED)

    assert len(body.open().read()) == UNCOUNTED
    assert refusal(lambda: collect(quota=quota, length=UNCOUNTED + 1)) == 413


SIZES = st.one_of(st.none(), st.integers(-2, 40))
CALLS = st.one_of(
    st.tuples(st.sampled_from(["read", "readline", "readlines"]), st.tuples(SIZES)),
    st.tuples(st.sampled_from(["read", "readline", "readlines"]), st.just(())),
    st.tuples(st.sampled_from(["__next__", "tell"]), st.just(())),
    st.tuples(st.just("seek"), st.tuples(st.integers(0, 80))),
    st.tuples(st.just("seek"), st.tuples(st.integers(-10, 0), st.just(io.SEEK_END))),
)


def answers(file: Any, calls: list[tuple[str, tuple[Any, ...]]]) -> list[object]:
    """What a file says to each call; then what is left of it, line by line."""
    said: list[object] = []
    for name, arguments in calls:
        try:
            said.append(getattr(file, name)(*arguments))
        except (StopIteration, ValueError, OSError) as error:
            said.append(isinstance(error, StopIteration))
    return [*said, list(file), file.read()]


@contextmanager
def on_disk(text: bytes) -> Iterator[BinaryIO]:
    with tempfile.TemporaryFile() as file:
        file.write(text)
        file.seek(0)
        yield file


@settings(deadline=None)
@given(
    pieces=st.lists(st.one_of(st.binary(max_size=20), st.sampled_from([b"\n", b"a\n", b"\nb", b"a" * 9]))),
    calls=st.lists(CALLS, max_size=12),
)
def test_in_memory_or_on_disk_it_answers_every_call_like_a_file(
    pieces: list[bytes], calls: list[tuple[str, tuple[Any, ...]]]
):
    text = b"".join(pieces)
    calls = [call for call in calls if call[0] != "seek" or len(call[1]) == 1 or -call[1][0] <= len(text)]
    short = answers(io.BytesIO(text), calls)
    with on_disk(text) as file:
        long = answers(file, calls)
    for memory in (10_000, len(text), 25, 0):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "MEMORY", memory)
            patch.setattr(module, "UNCOUNTED", min(memory, 10))
            body = collect(*pieces)
            assert answers(body.open(), calls) == (short if len(text) <= memory else long)
            body.discard()


def test_only_in_how_far_a_hint_goes_do_python_s_files_differ():
    """The io module says: no more lines once they exceed the hint. BytesIO stops when they reach it."""
    with on_disk(b"\n\n") as file:
        assert file.readlines(1) == [b"\n", b"\n"]
    assert io.BytesIO(b"\n\n").readlines(1) == [b"\n"]


@pytest.mark.parametrize("size", [10, MEMORY + 10])
def test_a_file_that_is_kept_for_too_long_gives_nothing_of_another_body(size: int):
    quota = Quota(1 << 30)
    first = collect(b"1" * size, quota=quota)
    kept = first.open()
    assert kept.read(5) == b"11111"
    first.discard()
    second = collect(b"2" * size, quota=quota)
    assert second.open().read(5) == b"22222"
    try:
        assert set(kept.read()) <= set(b"1")
    except ValueError:
        assert kept.closed

    assert second.open().read() == b"2" * (size - 5)
    second.discard()
