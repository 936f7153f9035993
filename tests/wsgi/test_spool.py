import errno
import os
import tempfile
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appserve.http.messages import SHARES
from appserve.wsgi import spool as module
from appserve.wsgi.spool import SEGMENT, Quota, Share, Spool, SpoolFile
from tests.wsgi.talk import open_descriptors

Kind = type[SpoolFile] | type[Spool]


WHOLE = SHARES * 100
"""Of a quota of which one request may hold 100 bytes; with UNCOUNTED out of the way."""


@pytest.fixture(autouse=True)
def small_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "UNCOUNTED", 0)


def room(quota: Quota) -> int:
    """How much is free."""
    return quota._left


def test_one_request_holds_no_more_than_its_share():
    quota = Quota(WHOLE)
    share = Share(quota)

    assert [share.take(60), share.take(41), share.take(40), share.take(1), share.take(0)] == [
        *(True, False, True, False, True)
    ]
    assert (share.held, room(quota)) == (100, WHOLE - 100)
    assert quota.shortage == "", "that it holds its share is no shortage"
    share.give(100)
    assert (share.held, room(quota)) == (0, WHOLE)


def test_however_many_take_what_they_can_the_next_one_has_room():
    quota = Quota(SHARES << 20)
    for _ in range(10):
        before = room(quota)
        share = Share(quota)
        while share.take(1 << 10):
            pass
        assert share.held >= min(quota.largest, before // 2) - (1 << 10)
    assert room(quota) > 0


def test_the_largest_body_has_room_while_others_are_served():
    """As by default: the largest body is a quarter of the quota."""
    quota = Quota(4 << 30)
    for _ in range(3):
        assert Share(quota).take(1 << 30)
    assert Share(quota).take(1 << 29)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(-50, 200)), max_size=200))
def test_nothing_taken_is_lost_and_no_taker_gets_more_than_is_left(steps: list[tuple[int, int]]):
    quota = Quota(1000)
    quota.largest = 250
    shares = [Share(quota) for _ in range(6)]
    for which, size in steps:
        share = shares[which]
        if size < 0:
            share.give(min(share.held, -size))
        elif share.take(size):
            assert share.held <= min(250, room(quota))
        assert room(quota) + sum(one.held for one in shares) == 1000


every_kind = pytest.mark.parametrize("kind", [SpoolFile, Spool])


def test_a_quota_is_exact_for_concurrent_takers():
    quota = Quota(1000)
    threads = [threading.Thread(target=take_and_give, args=(quota,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert room(quota) == 1000


def take_and_give(quota: Quota) -> None:
    share = Share(quota)
    for size in range(1, 2000):
        if share.take(size % 300):
            share.give(size % 300)


@every_kind
def test_what_goes_in_first_comes_out_first(kind: Kind):
    spool = kind(Share(Quota(WHOLE)))
    assert spool.write(b"hello ")
    assert spool.write(memoryview(b"the world")[4:])

    assert (len(spool), spool.read(4), spool.read(2)) == (11, b"hell", b"o ")
    assert spool.write(b"!")
    assert (len(spool), spool.read(100)) == (6, b"world!")


@every_kind
def test_an_empty_spool_is_no_file_and_takes_no_room(kind: Kind):
    quota = Quota(WHOLE)
    spool = kind(Share(quota))
    before = open_descriptors()

    for give_up in (lambda: spool.read(5), spool.clear):
        assert spool.write(b"hello")
        assert len(open_descriptors()) == len(before) + 1
        give_up()
        assert (open_descriptors(), len(spool), bool(spool), room(quota)) == (before, 0, False, WHOLE)
    spool.clear()
    assert room(quota) == WHOLE


@every_kind
def test_without_quota_nothing_is_written(kind: Kind):
    quota = Quota(SHARES * 10)
    spool = kind(Share(quota))

    assert spool.write(b"hello")
    assert not spool.write(b"world!")
    assert (len(spool), room(quota)) == (5, SHARES * 10 - 5)
    assert (spool.read(100), room(quota)) == (b"hello", SHARES * 10)


@every_kind
def test_without_quota_nothing_is_opened(kind: Kind):
    before = open_descriptors()
    spool = kind(Share(Quota(0)))

    assert not spool.write(b"hello")
    assert (open_descriptors(), len(spool)) == (before, 0)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO])
@every_kind
def test_a_full_disk_is_no_room(kind: Kind, code: int, monkeypatch: pytest.MonkeyPatch):
    def fail_in_the_middle(fd: int, data: bytes, offset: int) -> int:
        if len(data) < 5:
            raise OSError(code, os.strerror(code))
        return write(fd, data[:2], offset)

    quota, write = Quota(WHOLE), os.pwrite
    spool = kind(Share(quota))
    spool.write(b"before ")
    monkeypatch.setattr(os, "pwrite", fail_in_the_middle)

    assert not spool.write(b"hello")
    assert (len(spool), room(quota)) == (7, WHOLE - 7)
    monkeypatch.undo()
    assert spool.write(b"after")
    assert spool.read(100) == b"before after"


@every_kind
def test_a_disk_that_is_full_from_the_first_byte_leaves_no_file(kind: Kind, monkeypatch: pytest.MonkeyPatch):
    def fail(fd: int, data: bytes, offset: int) -> int:
        raise OSError(errno.ENOSPC, "full")

    quota, before = Quota(WHOLE), open_descriptors()
    spool = kind(Share(quota))
    monkeypatch.setattr(os, "pwrite", fail)

    assert not spool.write(b"hello")
    spool.clear()
    assert (open_descriptors(), room(quota)) == (before, WHOLE)


@pytest.mark.pure
@every_kind
def test_a_file_that_cannot_be_opened_is_no_room(kind: Kind, monkeypatch: pytest.MonkeyPatch):
    def fail() -> int:
        raise OSError(errno.EMFILE, "too many")

    quota = Quota(WHOLE)
    monkeypatch.setattr(module, "_open_nameless", fail)

    assert not kind(Share(quota)).write(b"hello")
    assert room(quota) == WHOLE


def test_short_writes_are_completed(monkeypatch: pytest.MonkeyPatch):
    write = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, offset: write(fd, data[:3], offset))
    spool = SpoolFile(Share(Quota(WHOLE)))

    assert spool.write(b"hello world")
    assert spool.read(100) == b"hello world"


def test_a_file_that_lost_its_bytes_is_an_error_and_no_end():
    spool = SpoolFile(Share(Quota(WHOLE)))
    spool.write(b"hello")
    os.ftruncate(spool._fd, 0)

    with pytest.raises(OSError, match="shorter"):
        spool.read(5)
    spool.clear()


def test_a_detached_file_is_the_callers_and_its_room_stays_taken():
    quota = Quota(WHOLE)
    spool = SpoolFile(Share(quota))
    spool.write(b"hello")
    fd = spool.detach()

    assert os.read(fd, 100) == b"hello"
    assert room(quota) == WHOLE - 5
    spool.clear()
    assert room(quota) == WHOLE
    assert os.pread(fd, 100, 0) == b"hello"
    os.close(fd)


def test_the_file_has_no_name_and_is_not_inherited():
    spool = SpoolFile(Share(Quota(WHOLE)))
    spool.write(b"hello")
    fd = spool.detach()

    assert os.fstat(fd).st_nlink == 0
    assert not os.get_inheritable(fd)
    os.close(fd)


# ── giving room back ──


def test_room_is_given_back_while_it_is_read():
    size = 10 * SEGMENT
    quota = Quota(SHARES * size)
    spool = Spool(Share(quota))
    piece = bytes(SEGMENT // 16)
    while spool.write(piece):
        pass
    assert len(spool) == size
    held = []
    while spool:
        spool.read(len(piece))
        held.append(SHARES * size - room(quota) - len(spool))

    assert min(held) >= 0
    assert max(held) <= size // 5
    assert room(quota) == SHARES * size


def test_many_bytes_need_few_files(monkeypatch: pytest.MonkeyPatch):
    """As of a gigabyte, without writing it."""
    monkeypatch.setattr(os, "pwrite", lambda fd, data, offset: len(data))
    monkeypatch.setattr(os, "pread", lambda fd, size, offset: bytes(size))
    quota = Quota(SHARES << 30)
    spool = Spool(Share(quota))
    before = len(open_descriptors())
    piece = bytes(SEGMENT // 4)
    while spool.write(piece):
        pass
    files = len(open_descriptors()) - before
    most_held = 0
    while spool:
        spool.read(len(piece))
        most_held = max(most_held, (SHARES << 30) - room(quota) - len(spool))

    assert files <= 30
    assert most_held <= (1 << 30) // 5 + SEGMENT
    assert len(open_descriptors()) == before


@settings(deadline=None)
@given(st.lists(st.one_of(st.binary(min_size=1, max_size=9), st.integers(1, 9)), max_size=60))
def test_it_is_a_queue_whatever_is_done_to_it(steps: list[bytes | int]):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "SEGMENT", 5)
        quota = Quota(SHARES * 50)
        spool, model = Spool(Share(quota)), b""
        for step in steps:
            if isinstance(step, bytes):
                if spool.write(step):
                    model += step
                else:
                    assert len(step) > 50 - (SHARES * 50 - room(quota))
            elif model:
                data = spool.read(step)
                assert 1 <= len(data) <= step
                assert model.startswith(data)
                model = model[len(data) :]
            assert len(spool) == len(model)
            assert room(quota) <= SHARES * 50 - len(model)
        spool.clear()
        assert room(quota) == SHARES * 50


def test_it_is_known_why_there_was_no_room(monkeypatch):
    quota = Quota(80)
    assert Share(quota).take(20)
    assert Share(quota).take(20)
    assert Share(quota).take(20)
    assert not SpoolFile(Share(quota)).write(bytes(11))
    assert quota.shortage == "60 of 80 bytes are in use (--limit-spool)"

    quota.shortage = ""
    full = SpoolFile(Share(quota))
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
    quota = Quota(80)

    assert not Spool(Share(quota)).write(b"a")
    assert quota.shortage == "No usable temporary directory found in ['/nowhere'] (see TMPDIR)"
    assert room(quota) == 80, "nothing stays taken"
