import gzip
import io
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from appserve.net.sendfile import FilePart
from appserve.wsgi.file_wrapper import FileWrapper, find_part
from tests.wsgi.talk import open_descriptors

DATA = b"hello world " * 1000
DEVICE, SAYS_IT_IS_EMPTY = Path("/dev/zero"), Path("/proc/self/status")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "file").write_bytes(DATA)
    return tmp_path / "file"


# ── the iterable ──


def test_a_file_comes_in_blocks():
    assert list(FileWrapper(io.BytesIO(b"hello world"), 4)) == [b"hell", b"o wo", b"rld"]
    assert list(FileWrapper(io.BytesIO(b""))) == []


def test_it_reads_from_where_the_file_is():
    file = io.BytesIO(b"hello world")
    file.seek(6)

    assert b"".join(FileWrapper(file)) == b"world"


def test_it_goes_on_where_it_was():
    wrapper = FileWrapper(io.BytesIO(b"hello world"), 6)

    assert (next(wrapper), list(wrapper)) == (b"hello ", [b"world"])


def test_closing_closes_the_file_if_it_can_be_closed():
    file = io.BytesIO()
    FileWrapper(file).close()
    FileWrapper(Endless()).close()

    assert file.closed


class Endless:
    """A file that can only be read."""

    def read(self, size: int, /) -> bytes:
        return b"a" * size


class Movable(Endless):
    """A file from before there was seekable()."""

    def seek(self, offset: int) -> None:
        pass


def test_it_can_be_moved_if_its_file_can():
    wrapper = FileWrapper(io.BytesIO(b"hello world"), 4)
    wrapper.seek(6)

    assert (wrapper.tell(), wrapper.seekable(), list(wrapper)) == (6, True, [b"worl", b"d"])
    assert [FileWrapper(file).seekable() for file in (Endless(), Movable())] == [False, True]


# ── the part of a file ──


def read_part(part: FilePart | None) -> bytes | None:
    """All of it, by its own descriptor."""
    if part is None:
        return None
    try:
        return os.pread(part.fd, part.size, part.offset)
    finally:
        part.close()


def move(file: Any, position: int) -> Any:
    file.seek(position)
    return file


def filled(make: Callable[[], Any]) -> Any:
    file = make()
    file.write(DATA)
    return move(file, 0)


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda path: path.open("rb"), DATA),
        (lambda path: path.open("rb", buffering=0), DATA),
        (lambda path: path.open("r+b"), DATA),
        (lambda path: move(path.open("rb"), 5), DATA[5:]),
        (lambda path: move(path.open("rb", buffering=0), 5), DATA[5:]),
        (lambda path: move(path.open("rb"), len(DATA) - 1), DATA[-1:]),
        (lambda path: filled(tempfile.TemporaryFile), DATA),
        (lambda path: filled(tempfile.NamedTemporaryFile), DATA),
        (lambda path: move(filled(tempfile.NamedTemporaryFile), 5), DATA[5:]),
    ],
)
def test_a_regular_file_is_known_from_its_position_on(
    path: Path, make: Callable[[Path], Any], expected: bytes
):
    with make(path) as file:
        assert read_part(find_part(file)) == expected


def test_the_position_is_that_of_the_reader_not_of_its_buffer(path: Path):
    with path.open("rb") as file:
        file.readline(7)
        assert os.lseek(file.fileno(), 0, os.SEEK_CUR) > 7, "the buffer has read ahead"
        assert read_part(find_part(file)) == DATA[7:]
        assert file.read() == DATA[7:], "the file has not moved"


def test_what_was_written_and_not_flushed_is_there(path: Path):
    with path.open("r+b") as file:
        file.write(b"HELLO")
        file.seek(0)
        file.write(b"J")
        assert read_part(find_part(file)) == (b"JELLO" + DATA[5:])[1:]


def test_the_application_may_close_its_file(path: Path):
    before = open_descriptors()
    file = path.open("rb")
    part = find_part(file)
    file.close()

    assert part is not None
    assert not os.get_inheritable(part.fd)
    assert read_part(part) == DATA
    assert open_descriptors() == before


class Fake(io.BytesIO):
    """A file object whose descriptor is that of another."""

    def fileno(self) -> int:
        return 0


class Own(io.FileIO):
    """A file that gives something else than its bytes."""

    def read(self, size: int | None = -1, /) -> bytes:
        return b"something else"[: size or 0]


def closed(path: Path) -> Any:
    file = path.open("rb")
    file.close()
    return file


def detached(path: Path) -> Any:
    file = path.open("rb")
    file.detach().close()  # type: ignore[attr-defined]  # a BufferedReader has it
    return file


def compressed(path: Path) -> Any:
    with gzip.open(path, "wb") as file:
        file.write(DATA)
    return gzip.open(path)


def pipe(path: Path) -> Any:
    read, write = os.pipe()
    os.close(write)
    return os.fdopen(read, "rb")


@pytest.mark.parametrize(
    "make",
    [
        lambda path: io.BytesIO(DATA),
        lambda path: Fake(DATA),
        lambda path: Endless(),
        compressed,
        lambda path: io.BufferedReader(compressed(path)),
        lambda path: path.open("r"),
        Own,
        lambda path: io.BufferedReader(Own(path)),
        pipe,
        lambda path: DEVICE.open("rb"),
        lambda path: SAYS_IT_IS_EMPTY.open("rb"),
        lambda path: move(path.open("rb"), len(DATA)),
        lambda path: move(path.open("rb"), len(DATA) + 1),
        lambda path: path.open("ab"),
        lambda path: io.FileIO(path, "a"),
        closed,
        detached,
        lambda path: filled(tempfile.SpooledTemporaryFile),
        lambda path: None,
        lambda path: "text",
        lambda path: 5,
    ],
)
def test_no_part_is_found_of_a_file_that_has_to_be_read(path: Path, make: Callable[[Path], Any]):
    file = make(path)
    before = open_descriptors()

    assert find_part(file) is None
    assert open_descriptors() == before
    if hasattr(file, "close") and file is not None:
        try:
            file.close()
        except ValueError:
            pass  # it is detached


def test_without_descriptors_it_is_read(path: Path, monkeypatch: pytest.MonkeyPatch):
    def fail(fd: int) -> int:
        raise OSError("too many")

    monkeypatch.setattr(os, "dup", fail)
    with path.open("rb") as file:
        assert find_part(file) is None


def test_a_part_is_used_up_from_its_front(path: Path):
    with path.open("rb") as file:
        part = find_part(file)
        assert part is not None
        part.advance(6)
        assert (part.offset, part.size) == (6, len(DATA) - 6)
        part.close()
