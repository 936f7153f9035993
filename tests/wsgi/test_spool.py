import errno
import os

import pytest

from appserve.wsgi import spool as module
from appserve.wsgi.spool import Quota, Spool
from tests.wsgi.talk import open_descriptors


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


def test_what_goes_in_first_comes_out_first():
    spool = Spool(Quota(100))
    assert spool.write(b"hello ")
    assert spool.write(memoryview(b"the world")[4:])

    assert (len(spool), spool.peek(4), spool.peek(100)) == (11, b"hell", b"hello world")
    spool.advance(6)
    assert spool.write(b"!")
    assert (len(spool), spool.peek(100)) == (6, b"world!")
    spool.clear()


def test_an_empty_spool_is_no_file_and_takes_no_room():
    quota = Quota(100)
    spool = Spool(quota)
    before = open_descriptors()

    for give_up in (lambda: spool.advance(5), spool.clear):
        assert spool.write(b"hello")
        assert len(open_descriptors()) == len(before) + 1
        give_up()
        assert (open_descriptors(), len(spool), bool(spool), room(quota)) == (before, 0, False, 100)
    spool.clear()
    assert room(quota) == 100


def test_without_quota_nothing_is_written():
    quota = Quota(10)
    spool = Spool(quota)

    assert spool.write(b"hello")
    assert not spool.write(b"world!")
    assert (spool.peek(100), room(quota)) == (b"hello", 5)
    spool.clear()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO])
def test_a_full_disk_is_no_room(code: int, monkeypatch: pytest.MonkeyPatch):
    def fail_in_the_middle(fd: int, data: bytes, offset: int) -> int:
        if len(data) < 5:
            raise OSError(code, os.strerror(code))
        return write(fd, data[:2], offset)

    quota, write = Quota(100), os.pwrite
    spool = Spool(quota)
    spool.write(b"before ")
    monkeypatch.setattr(os, "pwrite", fail_in_the_middle)

    assert not spool.write(b"hello")
    assert (spool.peek(100), room(quota)) == (b"before ", 93)
    monkeypatch.undo()
    assert spool.write(b"after")
    assert spool.peek(100) == b"before after"
    spool.clear()


def test_a_file_that_cannot_be_opened_is_no_room(monkeypatch: pytest.MonkeyPatch):
    def fail() -> int:
        raise OSError(errno.EMFILE, "too many")

    quota = Quota(100)
    monkeypatch.setattr(module, "_open_nameless", fail)

    assert not Spool(quota).write(b"hello")
    assert room(quota) == 100


def test_short_writes_are_completed(monkeypatch: pytest.MonkeyPatch):
    write = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, offset: write(fd, data[:3], offset))
    spool = Spool(Quota(100))

    assert spool.write(b"hello world")
    assert spool.peek(100) == b"hello world"
    spool.clear()


def test_a_detached_file_is_the_callers_and_its_room_stays_taken():
    quota = Quota(100)
    spool = Spool(quota)
    spool.write(b"hello")
    fd = spool.detach()

    assert os.read(fd, 100) == b"hello"
    assert room(quota) == 95
    spool.clear()
    assert room(quota) == 100
    assert os.pread(fd, 100, 0) == b"hello"
    os.close(fd)


def test_the_file_has_no_name_and_is_not_inherited():
    spool = Spool(Quota(100))
    spool.write(b"hello")
    fd = spool.detach()

    assert os.fstat(fd).st_nlink == 0
    assert not os.get_inheritable(fd)
    os.close(fd)
