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


class Hall:
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
def hall(tmp_path: Path) -> Iterator[Hall]:
    one = Hall(tmp_path)
    yield one
    one.close()


def test_nothing_is_accepted_before_the_listeners_listen(hall: Hall):
    hall.come()
    assert hall.readable() == []

    hall.acceptor.resume(PauseReason.EARLY)
    assert hall.readable() == [hall.listener.fileno()]


def test_each_readable_event_accepts_one(hall: Hall):
    hall.acceptor.resume(PauseReason.EARLY)
    for _ in range(2):
        hall.come()
    for count in (1, 2):
        (fd,) = hall.readable()
        hall.acceptor.on_readable(fd)
        assert len(hall.inside) == count
    assert hall.readable() == []

    hall.acceptor.on_readable(hall.listener.fileno())
    hall.acceptor.on_readable(12345)
    assert len(hall.inside) == 2, "a sibling was quicker, or it was no listener at all"


def test_it_accepts_when_nothing_pauses_it(hall: Hall):
    hall.come()
    hall.acceptor.pause(PauseReason.CROWDED)
    hall.acceptor.pause(PauseReason.NO_THREAD)
    hall.acceptor.pause(PauseReason.NO_THREAD)
    for reason in (PauseReason.EARLY, PauseReason.CROWDED):
        hall.acceptor.resume(reason)
        assert hall.readable() == []
    hall.acceptor.resume(PauseReason.NO_THREAD)
    hall.acceptor.resume(PauseReason.NO_THREAD)
    assert len(hall.readable()) == 1

    hall.acceptor.pause(PauseReason.NO_FILES)
    assert hall.readable() == []
    hall.acceptor.on_readable(hall.listener.fileno())
    assert hall.inside == []


@pytest.mark.parametrize(
    ("reason", "awaits"),
    [
        (PauseReason.NO_THREAD, False),
        (PauseReason.CROWDED, True),
        (PauseReason.NO_FILES, True),
        (PauseReason.LEAVING, True),
    ],
)
def test_it_is_known_whether_a_departure_changes_something(hall: Hall, reason: PauseReason, awaits: bool):
    hall.acceptor.resume(PauseReason.EARLY)
    assert not hall.acceptor.awaits_departures
    hall.acceptor.pause(reason)

    assert hall.acceptor.awaits_departures is awaits


def fail_to_accept(hall: Hall, monkeypatch: pytest.MonkeyPatch, failure: int | Exception) -> None:
    def accept(self: Listener) -> Any:
        raise OSError(failure, "no") if isinstance(failure, int) else failure

    monkeypatch.setattr(Listener, "accept", accept)
    hall.acceptor.on_readable(hall.listener.fileno())
    monkeypatch.undo()


def test_without_descriptors_it_pauses_until_one_may_be_free(hall: Hall, monkeypatch: pytest.MonkeyPatch):
    hall.acceptor.resume(PauseReason.EARLY)
    hall.come()
    for _ in range(3):
        hall.acceptor.lacks_descriptors = False
        fail_to_accept(hall, monkeypatch, errno.EMFILE)
        assert hall.readable() == [], "it would be reported again and again"
        assert hall.acceptor.lacks_descriptors
        hall.acceptor.resume(PauseReason.NO_FILES)
    (fd,) = hall.readable()
    hall.acceptor.on_readable(fd)

    assert len(hall.inside) == 1
    assert hall.log.count("cannot accept connections: no (see the limit of open files)") == 1


def test_a_client_that_left_before_the_accept_pauses_nothing(hall: Hall, monkeypatch: pytest.MonkeyPatch):
    hall.acceptor.resume(PauseReason.EARLY)
    hall.come()
    fail_to_accept(hall, monkeypatch, errno.ECONNABORTED)

    assert hall.readable() == [hall.listener.fileno()]
    assert hall.log == ""


def test_a_connection_that_cannot_be_opened_is_closed(hall: Hall):
    hall.acceptor.resume(PauseReason.EARLY)
    client = hall.come()
    hall.refusal = OSError(errno.ENOTCONN, "gone")
    hall.acceptor.on_readable(hall.listener.fileno())

    assert client.recv(1) == b""


def test_when_it_is_closed_waiting_connections_stay_in_the_queue(hall: Hall):
    hall.acceptor.resume(PauseReason.EARLY)
    sibling = hall.listener.socket.dup()
    for _ in range(5):
        hall.come()
    hall.acceptor.close()
    hall.acceptor.close()

    assert hall.inside == []
    assert hall.acceptor.is_closed
    hall.acceptor.resume(*set(PauseReason) - {PauseReason.LEAVING})
    assert hall.listener.fileno() == -1
    for _ in range(5):
        sibling.accept()[0].close()
    sibling.close()
    with pytest.raises(ConnectionRefusedError):
        hall.come()


def test_it_is_closed_only_when_the_queue_is_empty(hall: Hall):
    hall.acceptor.resume(PauseReason.EARLY)
    hall.come()
    hall.acceptor.close_if_empty()
    assert not hall.acceptor.is_closed
    (fd,) = hall.readable()
    hall.acceptor.on_readable(fd)
    hall.acceptor.close_if_empty()

    assert hall.acceptor.is_closed
    assert len(hall.inside) == 1


def test_closing_before_the_listeners_listen_does_not_wait_for_the_queue(hall: Hall):
    hall.come()
    hall.acceptor.close_if_empty()

    assert hall.acceptor.is_closed
    assert hall.inside == []


@pytest.mark.parametrize("code", [errno.ECONNABORTED, errno.EPROTO, errno.ENETDOWN, errno.EPERM])
def test_a_connection_that_failed_pauses_nothing_and_costs_no_other(
    hall: Hall, monkeypatch: pytest.MonkeyPatch, code: int
):
    hall.acceptor.resume(PauseReason.EARLY)
    hall.come()
    fail_to_accept(hall, monkeypatch, code)

    assert hall.readable() == [hall.listener.fileno()]
    assert not hall.acceptor.lacks_descriptors


def test_without_room_in_epoll_it_is_tried_again(hall: Hall, monkeypatch: pytest.MonkeyPatch):
    def refuse(poller: Poller, fd: int) -> None:
        poller.remove_listener(fd)
        raise OSError(errno.ENOSPC, "No space left on device")

    for method in ("add_listener", "rearm_listener"):
        hall.come()
        with monkeypatch.context() as patch:
            patch.setattr(EpollPoller, method, refuse)
            hall.acceptor.resume(PauseReason.EARLY)
            hall.acceptor.rearm()
            assert hall.readable() == []
        hall.acceptor.resume(PauseReason.NO_FILES)
        assert hall.readable() == [hall.listener.fileno()]
    assert hall.log.count("cannot accept connections: No space left on device (see fs.epoll.") == 1


def test_a_mistake_of_our_own_costs_one_connection(hall: Hall):
    hall.acceptor.resume(PauseReason.EARLY)
    client = hall.come()
    hall.refusal = LookupError("our own mistake")
    hall.acceptor.on_readable(hall.listener.fileno())

    assert client.recv(1) == b""
    assert "internal error: closed a new connection" in hall.log
    assert "our own mistake" in hall.log
    hall.refusal = None
    hall.come()
    hall.acceptor.on_readable(hall.listener.fileno())
    assert len(hall.inside) == 1


def test_an_accept_that_fails_by_itself_is_left_alone_for_a_while(
    hall: Hall, monkeypatch: pytest.MonkeyPatch
):
    hall.acceptor.resume(PauseReason.EARLY)
    hall.come()
    for failure in (LookupError("our own mistake"), OSError(errno.EINVAL, "shut down")):
        fail_to_accept(hall, monkeypatch, failure)
        assert hall.readable() == [], "it would be reported again and again"
        assert not hall.acceptor.lacks_descriptors
        hall.acceptor.resume(PauseReason.NO_FILES)
    assert "our own mistake" in hall.log
    assert "cannot accept connections: shut down" in hall.log
