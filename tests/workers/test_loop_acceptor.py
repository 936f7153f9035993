"""Accepting connections of shared listeners on an event loop, with real sockets."""

import asyncio
import errno
import os
import select
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from appserve.net.listeners import Listener, bind_all
from appserve.net.poller import EpollPoller
from appserve.workers.asgi_loop import make_loop
from appserve.workers.loop_acceptor import BATCH, LoopAcceptor, make_fair_epoll
from tests.asgi.fakes import LOOPS, MemoryLog, giving_back, turns

needs_epoll = pytest.mark.skipif(not hasattr(select, "EPOLLEXCLUSIVE"), reason="no epoll here")


@pytest.fixture
def listener() -> Iterator[Listener]:
    (bound,) = bind_all(["127.0.0.1:0"])
    bound.listen(100)
    yield bound
    bound.close(unlink=True)


class Held(asyncio.Protocol):
    """A connection that was accepted."""

    def __init__(self, scene: "Scene", address: Any) -> None:
        self.scene = scene
        self.address = address
        self.transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.scene.held.append(self)
        self.scene.came.set()

    def connection_lost(self, error: Exception | None) -> None:
        self.scene.held.remove(self)
        self.scene.came.set()


class Scene:
    """Where connections arrive: an acceptor with room for so many."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, listener: Listener, epoll: EpollPoller | None
    ) -> None:
        self.held: list[Held] = []
        self.clients: list[socket.socket] = []
        self.came = asyncio.Event()
        self.room = 100
        self.lets_go = False
        self.listener = listener
        self.log = MemoryLog()
        self.acceptor = LoopAcceptor(
            loop,
            [listener],
            lambda connection, address, listener: Held(self, address),
            lambda: self.room - len(self.held),
            self.make_room,
            self.log,
            has_siblings=True,
        )
        self.acceptor.epoll = epoll

    async def until(self, count: int) -> None:
        """Until so many are held."""
        while len(self.held) != count:
            self.came.clear()
            await asyncio.wait_for(self.came.wait(), 10)

    def make_room(self) -> int:
        """The first connection is closed, if any may be."""
        leaving = [held for held in self.held if self.lets_go][:1]
        for held in leaving:
            held.transport.close()
        return len(leaving)

    def connect(self) -> socket.socket:
        """A client, which is closed at the end."""
        self.clients.append(connect(self.listener))
        return self.clients[-1]

    async def clear(self) -> None:
        for held in tuple(self.held):
            held.transport.abort()
        await self.until(0)

    async def close(self) -> None:
        self.lets_go = False
        self.acceptor.close()
        await self.clear()
        for client in self.clients:
            client.close()


def on_each_loop(main: Any) -> Any:
    """Run a test on both loops, with fair accept and without; it is given a scene that is closed after it."""

    @pytest.mark.parametrize("fair", [pytest.param(True, marks=needs_epoll), False], ids=["fair", "plain"])
    @pytest.mark.parametrize("loop_name", LOOPS)
    def test(loop_name: str, fair: bool, listener: Listener) -> None:
        loop, backend_fd = make_loop(loop_name)

        async def run() -> None:
            epoll = await make_fair_epoll(loop, backend_fd if fair else -1)
            assert (epoll is not None) is fair

            scene = Scene(loop, listener, epoll)
            await main(scene)
            await scene.close()

        with giving_back():
            loop.run_until_complete(asyncio.wait_for(run(), 30))
            loop.close()

    test.__name__ = main.__name__
    return test


def connect(listener: Listener) -> socket.socket:
    return socket.create_connection(listener.socket.getsockname(), timeout=10)


@on_each_loop
async def test_connections_are_accepted_with_their_address_and_without_delay(scene: Scene) -> None:
    await scene.acceptor.open()
    with scene.connect() as client:
        await scene.until(1)
        (held,) = scene.held
        accepted = held.transport.get_extra_info("socket")

        assert held.address == client.getsockname()
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert not os.get_blocking(accepted.fileno())
    await scene.until(0)
    assert scene.acceptor.accepted == 1


@on_each_loop
async def test_a_backlog_is_accepted_to_its_last_connection(scene: Scene) -> None:
    clients = [scene.connect() for _ in range(3 * BATCH + 1)]
    await scene.acceptor.open()

    await scene.until(len(clients))


@on_each_loop
async def test_nothing_is_accepted_without_room_and_again_with_it(scene: Scene) -> None:
    scene.room = 2
    await scene.acceptor.open()
    clients = [scene.connect() for _ in range(4)]
    await scene.until(2)
    await turns(10)
    scene.acceptor.rearm()
    await turns(10)
    assert len(scene.held) == 2
    assert not scene.acceptor.watching

    clients[0].close()
    await scene.until(1)
    scene.acceptor.rearm()

    await scene.until(2)
    assert scene.acceptor.accepted == 3
    await scene.clear()
    scene.acceptor.rearm()
    await scene.until(1)


@on_each_loop
async def test_rearming_before_it_is_opened_does_nothing(scene: Scene) -> None:
    scene.acceptor.rearm()
    client = scene.connect()
    await turns(10)
    assert scene.held == []

    await scene.acceptor.open()
    await scene.until(1)

    await scene.clear()
    scene.acceptor.close()
    scene.acceptor.rearm()
    client.close()


@on_each_loop
async def test_when_it_is_closed_waiting_connections_stay_in_the_queue(scene: Scene) -> None:
    await scene.acceptor.open()
    address = scene.listener.socket.getsockname()
    sibling = scene.listener.socket.dup()
    clients = [scene.connect() for _ in range(5)]
    scene.acceptor.close()
    scene.acceptor.close()
    await turns(10)

    assert scene.held == []
    for client in clients:
        sibling.accept()[0].close()
        client.close()
    sibling.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address, timeout=10)


@on_each_loop
async def test_it_is_closed_only_when_the_queue_is_empty(scene: Scene) -> None:
    await scene.acceptor.open()
    scene.connect()
    scene.acceptor.close_if_empty()
    assert not scene.acceptor.is_closed
    await scene.until(1)
    scene.acceptor.close_if_empty()

    assert scene.acceptor.is_closed


@on_each_loop
async def test_what_is_withheld_is_accepted_when_it_is_resumed(scene: Scene) -> None:
    await scene.acceptor.open()
    scene.acceptor.withhold()
    scene.connect()
    scene.acceptor.rearm()
    scene.acceptor.relieve()
    await turns(10)
    assert scene.held == []

    scene.acceptor.resume()
    await scene.until(1)


@on_each_loop
async def test_closing_what_was_never_opened_ends(scene: Scene) -> None:
    scene.acceptor.close_if_empty()

    assert scene.listener.fileno() == -1


class Exhausted:
    """A listener's socket that is out of descriptors as long as `error` is set."""

    def __init__(self, real: socket.socket) -> None:
        self.real = real
        self.error: OSError | None = None

    def _accept(self) -> Any:
        if self.error:
            raise self.error
        return self.real._accept()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)


@on_each_loop
async def test_without_descriptors_the_listener_is_left_alone_for_a_while(scene: Scene) -> None:
    exhausted = Exhausted(scene.listener.socket)
    scene.listener.socket = exhausted  # type: ignore[assignment]  # it does what a socket does
    await scene.acceptor.open()
    exhausted.error = OSError(errno.EMFILE, "Too many open files")
    scene.connect()
    while scene.acceptor.watching:
        await asyncio.sleep(0)
    assert scene.log.text.count("cannot accept connections: Too many open files") == 1

    scene.acceptor.rearm()
    while scene.acceptor.watching:
        await asyncio.sleep(0)
    assert scene.log.text.count("cannot accept connections") == 1, "it is logged once"
    exhausted.error = None
    scene.acceptor.rearm()

    await scene.until(1)


@on_each_loop
async def test_without_descriptors_an_idle_connection_is_evicted(scene: Scene) -> None:
    exhausted = Exhausted(scene.listener.socket)
    scene.listener.socket = exhausted  # type: ignore[assignment]  # it does what a socket does
    scene.lets_go = True
    await scene.acceptor.open()
    scene.connect()
    await scene.until(1)
    exhausted.error = OSError(errno.EMFILE, "Too many open files")
    scene.connect()
    await scene.until(0)
    exhausted.error = None
    scene.acceptor.relieve()

    await scene.until(1)


@on_each_loop
async def test_without_room_a_connection_is_evicted_only_when_another_waits(scene: Scene) -> None:
    scene.room = 1
    scene.lets_go = True
    await scene.acceptor.open()
    scene.connect()
    await scene.until(1)
    for _ in range(3):
        scene.acceptor.relieve()
        await turns(10)
    assert len(scene.held) == 1

    second = scene.connect()
    scene.acceptor.relieve()
    await scene.until(0)
    scene.acceptor.relieve()
    await scene.until(1)
    assert scene.held[0].address == second.getsockname()


@on_each_loop
async def test_a_client_that_left_before_it_was_accepted_is_passed_over(scene: Scene) -> None:
    failing = Exhausted(scene.listener.socket)
    scene.listener.socket = failing  # type: ignore[assignment]  # it does what a socket does
    await scene.acceptor.open()
    scene.connect()
    for code in (errno.ECONNABORTED, errno.EPROTO, errno.ENETDOWN):
        failing.error = OSError(code, "failed")
        await turns(10)
        assert scene.acceptor.watching
    failing.error = None

    await scene.until(1)
    assert "ERROR" not in scene.log.text


class FullEpoll:
    """An epoll without room for another descriptor."""

    def __init__(self, real: EpollPoller) -> None:
        self.remove_listener = real.remove_listener

    def add_listener(self, fd: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")


@needs_epoll
@pytest.mark.parametrize("loop_name", LOOPS)
def test_without_room_in_epoll_it_is_tried_again(loop_name: str, listener: Listener) -> None:
    loop, backend_fd = make_loop(loop_name)

    async def run() -> None:
        epoll = await make_fair_epoll(loop, backend_fd)
        assert epoll is not None
        scene = Scene(loop, listener, epoll)
        await scene.acceptor.open()

        scene.acceptor.epoll = FullEpoll(epoll)  # type: ignore[assignment]  # it does what the acceptor needs
        scene.acceptor.rearm()
        scene.acceptor.relieve()
        scene.connect()
        await turns(10)
        assert not scene.held
        assert scene.log.text.count("No space left on device (see fs.epoll.max_user_watches)") == 1
        scene.acceptor.epoll = epoll
        scene.acceptor.relieve()

        await scene.until(1)
        await scene.close()

    with giving_back():
        loop.run_until_complete(asyncio.wait_for(run(), 30))
        loop.close()


@on_each_loop
async def test_a_mistake_of_our_own_costs_one_connection(scene: Scene) -> None:

    def fail(connection: Any, address: Any, listener: Listener) -> Any:
        raise LookupError("our own mistake")

    admit, scene.acceptor._admit = scene.acceptor._admit, fail
    await scene.acceptor.open()
    first = scene.connect()
    while "our own mistake" not in scene.log.text:
        await asyncio.sleep(0)
    assert first.recv(1) == b""
    assert "internal error: closed a new connection" in scene.log.text
    scene.acceptor._admit = admit
    scene.connect()

    await scene.until(1)


@pytest.mark.parametrize("loop_name", LOOPS)
def test_an_epoll_that_does_not_work_is_noticed(loop_name: str) -> None:
    loop, _ = make_loop(loop_name)
    with select.epoll() as other:
        epoll = loop.run_until_complete(make_fair_epoll(loop, other.fileno()))
    loop.close()

    assert epoll is None


@on_each_loop
async def test_a_worker_without_room_can_leave(scene: Scene) -> None:
    scene.room = 1
    await scene.acceptor.open()
    scene.connect()
    await scene.until(1)
    assert not scene.acceptor.watching

    scene.acceptor.close()

    await turns(10)
