import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from appserve.system.this_process import set_title, signal_on_parent_death
from tests.system.child import in_child

on_linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux has it")

_FAMILY = """
import os, signal, sys, time
from appserve.system.this_process import signal_on_parent_death
writer = int(sys.argv[1])
parent = os.getpid()
if os.fork() == 0:
    def received(number, frame):
        os.write(writer, b"received")
        os._exit(0)
    signal.signal(signal.SIGTERM, received)
    assert signal_on_parent_death(signal.SIGTERM)
    assert os.getppid() == parent
    os.write(1, b"armed\\n")
    while True:
        time.sleep(600)
signal.pause()
"""


@on_linux
def test_a_child_gets_a_signal_when_its_parent_is_killed() -> None:
    reader, writer = os.pipe()
    with subprocess.Popen(
        [sys.executable, "-c", _FAMILY, str(writer)], pass_fds=[writer], stdout=subprocess.PIPE
    ) as parent:
        os.close(writer)
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"armed\n"
        parent.send_signal(signal.SIGKILL)
        with os.fdopen(reader, "rb") as file:
            assert file.read() == b"received"


def test_another_system_says_that_it_cannot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not signal_on_parent_death(signal.SIGTERM)


@on_linux
def test_a_python_without_ctypes_says_that_it_cannot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ctypes", None)
    assert not signal_on_parent_death(signal.SIGTERM)


@on_linux
@pytest.mark.parametrize(
    ("title", "expected"),
    [("appserve: worker 3 [app:app]", "appserve: worker 3 [app:app]"), ("a\x1b\nb\x9bc", "a??b?c")],
)
def test_the_title_is_shown_without_control_characters(title: str, expected: str) -> None:
    def child() -> str:
        set_title(title)
        return Path("/proc/self/cmdline").read_bytes().rstrip(b"\0").decode()

    assert in_child(child) == expected


def test_a_system_that_cannot_show_titles_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "setproctitle", None)
    set_title("appserve: master")
