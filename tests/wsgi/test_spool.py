import errno
import os
import tempfile
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appserve.wsgi import spool as module
from appserve.wsgi.spool import SEGMENT, Quota, Spool, SpoolFile
from tests.wsgi.talk import open_descriptors

Kind = type[SpoolFile] | type[Spool]


def room(quota: Quota) -> int:
    """How much can still be taken."""
    size = quota._left
    assert quota.take(size)
    assert not quota.take(1)
    quota.give(size)
    return size


def test_a_quota_gives_no_more_than_it_has():
    quota = Quota(10)

    assert [quota.take(6), quota.take(5), quota.take(4), quota.take(0)] == [True, False, True, True]
    quota.give(10)
    assert room(quota) == 10


every_kind = pytest.mark.parametrize("kind", [SpoolFile, Spool])


def test_a_quota_is_exact_whoever_takes_from_it():
    quota = Quota(1000)
    threads = [threading.Thread(target=take_and_give, args=(quota,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert room(quota) == 1000


def take_and_give(quota: Quota) -> None:
    for size in range(1, 2000):
        if quota.take(size % 300):
            quota.give(size % 300)


@every_kind
def test_what_goes_in_first_comes_out_first(kind: Kind):
    spool = kind(Quota(100))
    assert spool.write(b"hello ")
    assert spool.write(memoryview(b"the world")[4:])

    assert (len(spool), spool.read(4), spool.read(2)) == (11, b"hell", b"o ")
    assert spool.write(b"!")
    assert (len(spool), spool.read(100)) == (6, b"world!")


@every_kind
def test_an_empty_spool_is_no_file_and_takes_no_room(kind: Kind):
    quota = Quota(100)
    spool = kind(quota)
    before = open_descriptors()

    for give_up in (lambda: spool.read(5), spool.clear):
        assert spool.write(b"hello")
        assert len(open_descriptors()) == len(before) + 1
        give_up()
        assert (open_descriptors(), len(spool), bool(spool), room(quota)) == (before, 0, False, 100)
    spool.clear()
    assert room(quota) == 100


@every_kind
def test_without_quota_nothing_is_written(kind: Kind):
    quota = Quota(10)
    spool = kind(quota)

    assert spool.write(b"hello")
    assert not spool.write(b"world!")
    assert (len(spool), room(quota)) == (5, 5)
    assert (spool.read(100), room(quota)) == (b"hello", 10)


@every_kind
def test_without_quota_nothing_is_opened(kind: Kind):
    before = open_descriptors()
    spool = kind(Quota(0))

    assert not spool.write(b"hello")
    assert (open_descriptors(), len(spool)) == (before, 0)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO])
@every_kind
def test_a_full_disk_is_no_room(kind: Kind, code: int, monkeypatch: pytest.MonkeyPatch):
    def fail_in_the_middle(fd: int, data: bytes, offset: int) -> int:
        if len(data) < 5:
            raise OSError(code, os.strerror(code))
        return write(fd, data[:2], offset)

    quota, write = Quota(100), os.pwrite
    spool = kind(quota)
    spool.write(b"before ")
    monkeypatch.setattr(os, "pwrite", fail_in_the_middle)

    assert not spool.write(b"hello")
    assert (len(spool), room(quota)) == (7, 93)
    monkeypatch.undo()
    assert spool.write(b"after")
    assert spool.read(100) == b"before after"


@every_kind
def test_a_disk_that_is_full_from_the_first_byte_leaves_no_file(kind: Kind, monkeypatch: pytest.MonkeyPatch):
    def fail(fd: int, data: bytes, offset: int) -> int:
        raise OSError(errno.ENOSPC, "full")

    quota, before = Quota(100), open_descriptors()
    spool = kind(quota)
    monkeypatch.setattr(os, "pwrite", fail)

    assert not spool.write(b"hello")
    spool.clear()
    assert (open_descriptors(), room(quota)) == (before, 100)


@every_kind
def test_a_file_that_cannot_be_opened_is_no_room(kind: Kind, monkeypatch: pytest.MonkeyPatch):
    def fail() -> int:
        raise OSError(errno.EMFILE, "too many")

    quota = Quota(100)
    monkeypatch.setattr(module, "_open_nameless", fail)

    assert not kind(quota).write(b"hello")
    assert room(quota) == 100


def test_short_writes_are_completed(monkeypatch: pytest.MonkeyPatch):
    write = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, offset: write(fd, data[:3], offset))
    spool = SpoolFile(Quota(100))

    assert spool.write(b"hello world")
    assert spool.read(100) == b"hello world"


def test_a_file_that_lost_its_bytes_is_an_error_and_no_end():
    spool = SpoolFile(Quota(100))
    spool.write(b"hello")
    os.ftruncate(spool._fd, 0)

    with pytest.raises(OSError, match="shorter"):
        spool.read(5)
    spool.clear()


def test_a_detached_file_is_the_callers_and_its_room_stays_taken():
    quota = Quota(100)
    spool = SpoolFile(quota)
    spool.write(b"hello")
    fd = spool.detach()

    assert os.read(fd, 100) == b"hello"
    assert room(quota) == 95
    spool.clear()
    assert room(quota) == 100
    assert os.pread(fd, 100, 0) == b"hello"
    os.close(fd)


def test_the_file_has_no_name_and_is_not_inherited():
    spool = SpoolFile(Quota(100))
    spool.write(b"hello")
    fd = spool.detach()

    assert os.fstat(fd).st_nlink == 0
    assert not os.get_inheritable(fd)
    os.close(fd)


# ── giving room back ──


def test_room_is_given_back_while_it_is_read():
    size = 10 * SEGMENT
    quota = Quota(size)
    spool = Spool(quota)
    piece = bytes(SEGMENT // 16)
    while spool.write(piece):
        pass
    assert len(spool) == size
    held = []
    while spool:
        spool.read(len(piece))
        held.append(size - room(quota) - len(spool))

    assert min(held) >= 0
    assert max(held) <= size // 5
    assert room(quota) == size


def test_many_bytes_need_few_files(monkeypatch: pytest.MonkeyPatch):
    """As of a gigabyte, without writing it."""
    monkeypatch.setattr(os, "pwrite", lambda fd, data, offset: len(data))
    monkeypatch.setattr(os, "pread", lambda fd, size, offset: bytes(size))
    quota = Quota(1 << 30)
    spool = Spool(quota)
    before = len(open_descriptors())
    piece = bytes(SEGMENT // 4)
    while spool.write(piece):
        pass
    files = len(open_descriptors()) - before
    most_held = 0
    while spool:
        spool.read(len(piece))
        most_held = max(most_held, (1 << 30) - room(quota) - len(spool))

    assert files <= 30
    assert most_held <= (1 << 30) // 5 + SEGMENT
    assert len(open_descriptors()) == before


@settings(deadline=None)
@given(st.lists(st.one_of(st.binary(min_size=1, max_size=9), st.integers(1, 9)), max_size=60))
def test_it_is_a_queue_whatever_is_done_to_it(steps: list[bytes | int]):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "SEGMENT", 5)
        quota = Quota(50)
        spool, model = Spool(quota), b""
        for step in steps:
            if isinstance(step, bytes):
                if spool.write(step):
                    model += step
                else:
                    assert len(step) > room(quota)
            elif model:
                data = spool.read(step)
                assert 1 <= len(data) <= step
                assert model.startswith(data)
                model = model[len(data) :]
            assert len(spool) == len(model)
            assert room(quota) <= 50 - len(model)
        spool.clear()
        assert room(quota) == 50


def test_it_is_known_why_there_was_no_room(monkeypatch):
    quota = Quota(10)
    assert not SpoolFile(quota).write(bytes(11))
    assert quota.shortage == "0 of 10 bytes are taken (see --limit-spool)"

    quota.shortage = ""
    full = SpoolFile(quota)
    assert full.write(b"abc")
    assert quota.shortage == ""
    monkeypatch.setattr(
        os, "pwrite", lambda *_: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left"))
    )
    assert not full.write(b"d")
    assert quota.shortage == f"No space left in {tempfile.gettempdir()}"


def test_without_a_directory_for_temporary_files_there_is_no_room(monkeypatch: pytest.MonkeyPatch):
    """A container whose file system is read-only, /tmp included."""
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: ["/nowhere"])
    quota = Quota(10)

    assert not Spool(quota).write(b"a")
    assert quota.shortage == "No usable temporary directory found in ['/nowhere'] (see TMPDIR)"
    assert quota.take(10), "nothing stays taken"
