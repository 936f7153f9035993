import fcntl
import mmap
import os

import pytest

from appserve.system.memory import make_shared
from tests.system.child import in_child

needs_memfd = pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="this system has no memfd")

KINDS = [pytest.param(False, marks=needs_memfd, id="memfd"), pytest.param(True, id="portable")]


@pytest.mark.parametrize("portable", KINDS)
def test_what_a_child_stores_the_parent_sees_also_when_the_child_is_dead(portable: bool) -> None:
    fd, memory = make_shared(8192, "test", portable)
    assert memory[:] == bytes(8192)
    assert in_child(lambda: memory.write(b"hello")) == "5"
    assert memory[:5] == b"hello"
    assert os.pread(fd, 5, 0) == b"hello"
    os.close(fd)


@pytest.mark.parametrize("portable", KINDS)
def test_the_descriptor_is_not_inherited_by_programs(portable: bool) -> None:
    fd, _ = make_shared(4096, "test", portable)
    assert not os.get_inheritable(fd)
    assert os.fstat(fd).st_nlink == 0
    os.close(fd)


@needs_memfd
@pytest.mark.parametrize("size", [0, 4096, 16384])
def test_no_process_can_shrink_or_grow_the_memory_under_its_readers(size: int) -> None:
    fd, memory = make_shared(8192, "test")
    with pytest.raises(PermissionError):
        os.ftruncate(fd, size)
    with pytest.raises(PermissionError):
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE)
    memory[8191] = 1
    os.close(fd)


@needs_memfd
def test_the_name_is_shown_in_the_memory_map() -> None:
    fd, memory = make_shared(4096, "appserve-test")
    with open("/proc/self/maps", encoding="ascii") as maps:
        assert "/memfd:appserve-test" in maps.read()
    memory.close()
    os.close(fd)


@needs_memfd
def test_a_system_that_refuses_memfd_gives_the_portable_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(name: str, flags: int) -> int:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(os, "memfd_create", refused)
    fd, memory = make_shared(mmap.PAGESIZE, "test")
    os.ftruncate(fd, mmap.PAGESIZE)  # nothing is sealed
    assert len(memory) == mmap.PAGESIZE
    os.close(fd)
