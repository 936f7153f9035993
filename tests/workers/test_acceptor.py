"""One worker's share of the listeners."""

import errno
import socket
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from appserve.net.listeners import Listener, bind_all
from appserve.net.poller import EpollPoller, Poller, make_poller
from appserve.observe.log import Log
from appserve.workers.acceptor import Acceptor, PauseReason


class Scene:
    """An acceptor, and the connections that it accepted."""

    def __init__(self, folder: Path) -> None:
        self.listener: Listener = bind_all([f"unix:{folder}/socket"])[0]
        self.listener.listen(100)
        self.poller: Poller = make_poller()
        self._log = (folder / "log").open("w+b")
        self.inside: list[socket.socket] = []
        self.refusal: Exception | None = None
        self.clients: list[socket.socket] = []
        log = Log(self._log.fileno())
        self.acceptor = Acceptor([self.listener], self.poller, log, self.admit, nullcontext())

    def admit(self, client: socket.socket, peer: object, local: object) -> None:
        if self.refusal is not None:
            raise self.refusal
        assert client.getblocking() is False
        self.inside.append(client)

    def come(self) -> socket.socket:
        client = socket.socket(socket.AF_UNIX)
        self.clients.append(client)
        client.settimeout(20)
        client.connect(self.listener.unix_path)
        return client

    def readable(self) -> list[int]:
        return [fd for fd, _ in self.poller.wait(0)]

    @property
    def log(self) -> str:
        self._log.seek(0)
        return self._log.read().decode()

    def close(self) -> None:
        for one in (*self.inside, *self.clients):
            one.close()
        self.poller.close()
        self.listener.close(unlink=True)
        self._log.close()


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    one = Scene(tmp_path)
    yield one
    one.close()


def test_nothing_is_accepted_before_the_listeners_listen(scene: Scene):
    scene.come()
    assert scene.readable() == []

    scene.acceptor.resume(PauseReason.EARLY)
    assert scene.readable() == [scene.listener.fileno()]


def test_each_readable_event_accepts_one(scene: Scene):
    scene.acceptor.resume(PauseReason.EARLY)
    for _ in range(2):
        scene.come()
    for count in (1, 2):
        (fd,) = scene.readable()
        scene.acceptor.on_readable(fd)
        assert len(scene.inside) == count
    assert scene.readable() == []

    scene.acceptor.on_readable(scene.listener.fileno())
    scene.acceptor.on_readable(12345)
    assert len(scene.inside) == 2, "a sibling was quicker, or it was no listener at all"


def test_it_accepts_when_nothing_pauses_it(scene: Scene):
    scene.come()
    scene.acceptor.pause(PauseReason.CROWDED)
    scene.acceptor.pause(PauseReason.NO_THREAD)
    scene.acceptor.pause(PauseReason.NO_THREAD)
    for reason in (PauseReason.EARLY, PauseReason.CROWDED):
        scene.acceptor.resume(reason)
        assert scene.readable() == []
    scene.acceptor.resume(PauseReason.NO_THREAD)
    scene.acceptor.resume(PauseReason.NO_THREAD)
    assert len(scene.readable()) == 1

    scene.acceptor.pause(PauseReason.NO_FILES)
    assert scene.readable() == []
    scene.acceptor.on_readable(scene.listener.fileno())
    assert scene.inside == []


@pytest.mark.parametrize(
    ("reason", "awaits"),
    [
        (PauseReason.NO_THREAD, False),
        (PauseReason.CROWDED, True),
        (PauseReason.NO_FILES, True),
        (PauseReason.LEAVING, True),
    ],
)
def test_it_is_known_whether_a_departure_changes_something(scene: Scene, reason: PauseReason, awaits: bool):
    scene.acceptor.resume(PauseReason.EARLY)
    assert not scene.acceptor.awaits_departures
    scene.acceptor.pause(reason)

    assert scene.acceptor.awaits_departures is awaits


def fail_to_accept(scene: Scene, monkeypatch: pytest.MonkeyPatch, failure: int | Exception) -> None:
    def accept(self: Listener) -> Any:
        raise OSError(failure, "no") if isinstance(failure, int) else failure

    monkeypatch.setattr(Listener, "accept", accept)
    scene.acceptor.on_readable(scene.listener.fileno())
    monkeypatch.undo()


def test_without_descriptors_it_pauses_until_one_may_be_free(scene: Scene, monkeypatch: pytest.MonkeyPatch):
    scene.acceptor.resume(PauseReason.EARLY)
    scene.come()
    for _ in range(3):
        scene.acceptor.lacks_descriptors = False
        fail_to_accept(scene, monkeypatch, errno.EMFILE)
        assert scene.readable() == [], "it would be reported again and again"
        assert scene.acceptor.lacks_descriptors
        scene.acceptor.resume(PauseReason.NO_FILES)
    (fd,) = scene.readable()
    scene.acceptor.on_readable(fd)

    assert len(scene.inside) == 1
    assert scene.log.count("cannot accept connections: no (see the limit of open files)") == 1


def test_a_client_that_left_before_the_accept_pauses_nothing(scene: Scene, monkeypatch: pytest.MonkeyPatch):
    scene.acceptor.resume(PauseReason.EARLY)
    scene.come()
    fail_to_accept(scene, monkeypatch, errno.ECONNABORTED)

    assert scene.readable() == [scene.listener.fileno()]
    assert scene.log == ""


def test_a_connection_that_cannot_be_opened_is_closed(scene: Scene):
    scene.acceptor.resume(PauseReason.EARLY)
    client = scene.come()
    scene.refusal = OSError(errno.ENOTCONN, "gone")
    scene.acceptor.on_readable(scene.listener.fileno())

    assert client.recv(1) == b""


def test_when_it_is_closed_waiting_connections_stay_in_the_queue(scene: Scene):
    scene.acceptor.resume(PauseReason.EARLY)
    sibling = scene.listener.socket.dup()
    for _ in range(5):
        scene.come()
    scene.acceptor.close()
    scene.acceptor.close()

    assert scene.inside == []
    assert scene.acceptor.is_closed
    scene.acceptor.resume(*set(PauseReason) - {PauseReason.LEAVING})
    assert scene.listener.fileno() == -1
    for _ in range(5):
        sibling.accept()[0].close()
    sibling.close()
    with pytest.raises(ConnectionRefusedError):
        scene.come()


def test_it_is_closed_only_when_the_queue_is_empty(scene: Scene):
    scene.acceptor.resume(PauseReason.EARLY)
    scene.come()
    scene.acceptor.close_if_empty()
    assert not scene.acceptor.is_closed
    (fd,) = scene.readable()
    scene.acceptor.on_readable(fd)
    scene.acceptor.close_if_empty()

    assert scene.acceptor.is_closed
    assert len(scene.inside) == 1


def test_closing_before_the_listeners_listen_does_not_wait_for_the_queue(scene: Scene):
    scene.come()
    scene.acceptor.close_if_empty()

    assert scene.acceptor.is_closed
    assert scene.inside == []


@pytest.mark.parametrize("code", [errno.ECONNABORTED, errno.EPROTO, errno.ENETDOWN, errno.EPERM])
def test_a_connection_that_failed_pauses_nothing_and_costs_no_other(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, code: int
):
    scene.acceptor.resume(PauseReason.EARLY)
    scene.come()
    fail_to_accept(scene, monkeypatch, code)

    assert scene.readable() == [scene.listener.fileno()]
    assert not scene.acceptor.lacks_descriptors


def test_without_room_in_epoll_it_is_tried_again(scene: Scene, monkeypatch: pytest.MonkeyPatch):
    def refuse(poller: Poller, fd: int) -> None:
        poller.remove_listener(fd)
        raise OSError(errno.ENOSPC, "No space left on device")

    for method in ("add_listener", "rearm_listener"):
        scene.come()
        with monkeypatch.context() as patch:
            patch.setattr(EpollPoller, method, refuse)
            scene.acceptor.resume(PauseReason.EARLY)
            scene.acceptor.rearm()
            assert scene.readable() == []
        scene.acceptor.resume(PauseReason.NO_FILES)
        assert scene.readable() == [scene.listener.fileno()]
    assert scene.log.count("cannot accept connections: No space left on device (see fs.epoll.") == 1


def test_a_mistake_of_our_own_costs_one_connection(scene: Scene):
    scene.acceptor.resume(PauseReason.EARLY)
    client = scene.come()
    scene.refusal = LookupError("our own mistake")
    scene.acceptor.on_readable(scene.listener.fileno())

    assert client.recv(1) == b""
    assert "internal error: closed a new connection" in scene.log
    assert "our own mistake" in scene.log
    scene.refusal = None
    scene.come()
    scene.acceptor.on_readable(scene.listener.fileno())
    assert len(scene.inside) == 1


def test_an_accept_that_fails_by_itself_is_left_alone_for_a_while(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
):
    scene.acceptor.resume(PauseReason.EARLY)
    scene.come()
    for failure in (LookupError("our own mistake"), OSError(errno.EINVAL, "shut down")):
        fail_to_accept(scene, monkeypatch, failure)
        assert scene.readable() == [], "it would be reported again and again"
        assert not scene.acceptor.lacks_descriptors
        scene.acceptor.resume(PauseReason.NO_FILES)
    assert "our own mistake" in scene.log
    assert "cannot accept connections: shut down" in scene.log
