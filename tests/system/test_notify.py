"""The states that are sent to systemd."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from appserve.system.notify import Notifier, ServiceState

READY, RELOADING, STOPPING = ServiceState.READY, ServiceState.RELOADING, ServiceState.STOPPING


@pytest.fixture(params=["path", "abstract"])
def systemd(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    name = f"@appserve-{os.getpid()}" if request.param == "abstract" else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(name.replace("@", "\0", 1) if name.startswith("@") else name)
        receiver.settimeout(10)
        yield receiver, name


def test_each_state_is_sent_once(systemd: tuple[socket.socket, str]):
    receiver, name = systemd
    notifier = Notifier({"NOTIFY_SOCKET": name})

    for state in (READY, READY, RELOADING, READY, STOPPING, STOPPING):
        notifier.send(state, "as it is")
    received = [receiver.recv(4096).decode().splitlines() for _ in range(4)]

    assert [lines[0] for lines in received] == ["READY=1", "RELOADING=1", "READY=1", "STOPPING=1"]
    assert all("STATUS=as it is" in lines and f"MAINPID={os.getpid()}" in lines for lines in received)
    assert ["MONOTONIC_USEC=" in "".join(lines) for lines in received] == [False, True, False, False]
    with pytest.raises(BlockingIOError):
        receiver.setblocking(False)
        receiver.recv(1)


def test_the_variable_is_not_inherited():
    environ = {"NOTIFY_SOCKET": "/nowhere", "PATH": "/bin"}

    Notifier(environ)

    assert environ == {"PATH": "/bin"}


@pytest.mark.parametrize("environ", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "/nowhere/at/all"}])
def test_where_nothing_receives_nothing_happens(environ: dict[str, str]):
    Notifier(environ).send(READY, "")
