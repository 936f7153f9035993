"""The world of a thread pool, for tests that decide which thread goes on when: a poller, sockets and
connections, no kernel. Each connection notices when two threads have it at once.

The poller keeps to epoll's rules: a descriptor that is closed is forgotten, one that was reported is not
reported again before it is watched again, and a closed number may be the next one's.
"""

import sys
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, cast

from appserve.net.poller import READ, WRITE
from appserve.observe.counters import Counters
from appserve.observe.scoreboard import ROW_SIZE, ScoreboardRow
from appserve.workers import pool
from appserve.workers.acceptor import Acceptor, PauseReason
from appserve.workers.slow_requests import SlowRequests
from appserve.wsgi.connection import Next
from tests.interleaving import Lock, Queue, Schedule

LISTENER = 0
DELICATE = ("", "_work", "_end", "_close", "_pause_or_accept", "_hand_over", "settle", "serve")


class Kernel(SimpleNamespace):
    """Which connection has which number."""

    def __init__(self) -> None:
        super().__init__(open={LISTENER: None}, backlog=deque(), accepted=0)

    def accept(self) -> tuple[Any, object]:
        if not self.backlog:
            raise BlockingIOError
        client = self.backlog.popleft()
        client.fd = next(number for number in range(1, 10_000) if number not in self.open)
        self.open[client.fd] = client
        self.accepted += 1
        return client, None


class Client:
    """A client that sends requests and reads responses at any time."""

    def __init__(self, schedule: Schedule, kernel: Kernel, requests: int) -> None:
        self.schedule, self.kernel = schedule, kernel
        self.fd = -1
        self.to_send = requests
        self.unread = 0  # of what he has sent
        self.answered = 0
        self.reads = True
        self.closed = False

    @property
    def events(self) -> int:
        return (READ if self.unread else 0) | (WRITE if self.reads else 0)

    def setblocking(self, value: bool) -> None:
        pass

    def close(self) -> None:
        assert not self.closed, "closed twice"
        self.closed = True
        assert self.kernel.open.pop(self.fd) is self


class FakePoller:
    """Epoll, as far as a pool needs it."""

    def __init__(self, schedule: Schedule, kernel: Kernel) -> None:
        self.schedule, self.kernel = schedule, kernel
        self.watched: dict[int, tuple[Any, int]] = {}
        self.rung = False
        self.closed = False

    def wait(self) -> list[tuple[int, int]]:
        ready = self.ready()
        for fd, _ in ready:
            if fd != LISTENER:
                self.watched[fd] = (self.watched[fd][0], 0)
        self.rung = False
        self.schedule.random.shuffle(ready)
        return ready

    def ready(self) -> list[tuple[int, int]]:
        found = []
        for fd, (client, wanted) in self.watched.items():
            if fd == LISTENER:
                happened = READ if self.kernel.backlog else 0
            elif self.kernel.open.get(fd) is not client:
                continue  # closed: forgotten
            else:
                happened = client.events & wanted
            if happened:
                found.append((fd, happened))
        return found

    def _client(self, fd: int) -> Any:
        if fd not in self.kernel.open:
            raise OSError(9, "bad descriptor")
        return self.kernel.open[fd]

    def add_listener(self, fd: int) -> None:
        assert fd not in self.watched
        self.watched[fd] = (None, READ)

    def remove_listener(self, fd: int) -> None:
        del self.watched[fd]

    def rearm_listener(self, fd: int) -> None:
        assert fd in self.watched

    def add_once(self, fd: int, events: int = READ) -> None:
        client = self._client(fd)
        assert self.watched.get(fd, (None, 0))[0] is not client, "watched already"
        self.watched[fd] = (client, events)

    def watch_once(self, fd: int, events: int) -> None:
        client = self._client(fd)
        assert self.watched.get(fd, (None, 0))[0] is client, "not watched"
        self.watched[fd] = (client, events)

    def remove(self, fd: int) -> None:
        if fd in self.kernel.open and self.watched.get(fd, (None, 0))[0] is self.kernel.open[fd]:
            del self.watched[fd]

    def hang_bell(self) -> None:
        pass

    def ring(self) -> None:
        self.rung = True

    def close(self) -> None:
        self.closed = True


class FakeConnection:
    """Serves a client's requests, and lets others go on in the middle of it."""

    out: list[None]

    def __init__(self, client: Client) -> None:
        self.socket, self.fd = client, client.fd
        self.schedule = client.schedule
        self.owner = ""
        self.pending = 0  # requests that were read and not served
        self.unsent = False
        self.late_at = 0
        self.is_closed = False
        self.watched: Next | None = None

    @contextmanager
    def had_by(self, action: str) -> Iterator[None]:
        assert not self.owner, f"{action} while {self.owner}"
        assert not self.is_closed, f"{action} after it was closed"
        self.owner = action
        self.schedule.pause()
        try:
            yield
        finally:
            self.schedule.pause()
            self.owner = ""

    def served_by(self, service: object) -> None:
        with self.had_by("served_by"):
            pass

    def on_readable(self) -> Next:
        with self.had_by("on_readable"):
            self.take_in()
        return self.proceed()

    def take_in(self) -> None:
        client = self.socket
        assert not client.closed
        self.pending += client.unread
        client.unread = 0

    def proceed(self) -> Next:
        with self.had_by("proceed"):
            if self.pending:
                self.pending -= 1
                self.socket.answered += 1
                choice = self.schedule.random.random()
                if choice < 0.03:
                    raise LookupError("our own mistake")
                if choice < 0.15:
                    return Next.CLOSE
                if choice < 0.4:
                    self.unsent = True
                    self.socket.reads = choice < 0.3
                    return Next.WRITE
            return Next.AGAIN if self.pending else Next.READ

    def relieve(self) -> Next:
        with self.had_by("relieve"):
            assert self.unsent
            self.unsent = False
            return Next.AGAIN if self.pending else Next.READ

    def expire(self) -> Next:
        with self.had_by("expire"):
            if self.unsent:
                return Next.CLOSE
            self.take_in()
            if self.pending:
                return Next.AGAIN
            return self.schedule.random.choice((Next.READ, Next.CLOSE))

    def release(self) -> None:
        with self.had_by("release"):
            pass
        self.is_closed = True


class Fleet:
    """A pool, its door, a loop and its clients, on one schedule."""

    def __init__(
        self,
        seed: int,
        monkeypatch: Any,
        threads: int = 2,
        clients: int = 7,
        make_pool: "type[pool.Pool]" = pool.Pool,
        make_poller: "type[FakePoller]" = FakePoller,
    ) -> None:
        modules = [pool, sys.modules[make_pool.__module__]]
        self.schedule = schedule = Schedule(seed, modules, pressure=0.02, delicate=DELICATE)
        self.kernel = Kernel()
        self.poller = make_poller(schedule, self.kernel)
        monkeypatch.setattr(pool, "SimpleQueue", lambda: Queue(schedule))
        monkeypatch.setattr(pool, "Thread", self.make_thread)
        monkeypatch.setattr(pool.sys, "setswitchinterval", lambda seconds: None)
        self.logged: list[str] = []
        self.row = ScoreboardRow(memoryview(bytearray(ROW_SIZE)))
        log: Any = SimpleNamespace(block=lambda level, text, trace: self.logged.append(trace))
        service: Any = SimpleNamespace(
            shared=SimpleNamespace(counters=Counters(), access=None, log=log),
            waiting=SimpleNamespace(wake=lambda connection: None),
        )
        slow = SlowRequests(0.0, log, 1)
        self.pool = make_pool(service, cast(Any, self.poller), 0.0, threads, self.row, slow)
        self.pool.guard = guard = Lock(schedule)
        listener: Any = SimpleNamespace(
            fileno=lambda: LISTENER, accept=self.kernel.accept, local_address=lambda client: None
        )
        self.acceptor = Acceptor([listener], cast(Any, self.poller), log, self.admit, guard)
        self.pool.start(self.acceptor)
        self.acceptor.resume(PauseReason.EARLY)
        self.clients = [Client(schedule, self.kernel, schedule.random.randint(1, 6)) for _ in range(clients)]
        self.clients_left = clients
        self.lost: list[Client] = []
        self.sleeps = False
        self.now = 1000.0  # no call has ended of late
        self.pool.turned(self.now)
        schedule.add(self.turn)
        schedule.add(self.visit)

    def make_thread(self, target: Callable[..., None], args: tuple[Any, ...], **named: object) -> Any:
        return SimpleNamespace(start=lambda: self.schedule.add(target, *args))

    # ── the clients ──

    def visit(self) -> None:
        """They come, and send."""
        random, backlog = self.schedule.random, self.kernel.backlog
        waiting = list(self.clients)
        while waiting:
            client = random.choice(waiting)
            self.schedule.pause()
            assert not self.is_shut_for_good, "accepting is never resumed"
            if client.closed or (client.fd >= 0 and not client.to_send and client.reads):
                waiting.remove(client)
            elif client.fd < 0 and client not in backlog:
                backlog.append(client)
            elif client.fd < 0:
                self.schedule.wait(lambda: any(one.fd >= 0 or one not in backlog for one in waiting))
            elif not client.reads:
                client.reads = True
            else:
                client.to_send -= 1
                client.unread += 1
        self.poller.ring()  # for a loop that waits for nothing else any more
        self.clients_left = 0

    @property
    def is_shut_for_good(self) -> bool:
        """Whether the loop sleeps and accepts nothing although all threads are free, and no bell rings."""
        all_free = cast(Any, self.pool._queue).waiting == len(self.pool.threads)
        sleeps = self.sleeps and not self.wakes
        return sleeps and all_free and not self.pool._busy and PauseReason.NO_THREAD in self.acceptor._bars

    # ── the loop ──

    @property
    def wakes(self) -> Any:
        """Whether the loop has something to do."""
        return self.poller.rung or self.poller.ready()

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to happen."""
        return not self.clients_left and not self.pool._busy and not self.poller.ready()

    def turned(self, later: float = 0.0) -> None:
        """The loop has turned, so many seconds after it did so last."""
        self.now += later
        self.pool.turned(self.now)

    @property
    def accepts(self) -> bool:
        """Whether the loop watches the listener."""
        return LISTENER in self.poller.watched

    def turn(self) -> None:
        while not self.is_over:
            self.sleeps = True
            self.schedule.wait(lambda: self.is_over or self.wakes)
            self.sleeps = False
            if self.is_over:
                break
            for fd in self.pool.serve(self.poller.wait()):
                self.acceptor.on_readable(fd)
            if self.pool.has_ended:
                self.pool.has_ended = False
                self.acceptor.resume(PauseReason.CROWDED)
            self.turned()
            if self.schedule.random.random() < 0.7:
                self.sweep()
        # One that does not read its response is not listened to either.
        self.lost = [one for one in self.clients if one.unread and one.reads and not one.closed]
        self.pool.close()

    def sweep(self) -> None:
        for connection in list(self.pool.connections.values()):
            if not self.pool.is_out(connection) and self.schedule.random.random() < 0.5:
                self.pool.ask(connection, cast(Any, FakeConnection.expire))

    def admit(self, client: Any, peer: object, local: object) -> bool:
        self.pool.add(cast(Any, FakeConnection(client)))
        return False

    # ── what has to be true ──

    def check(self) -> None:
        """After the run: nothing was lost, and nothing is left."""
        for trace in self.logged:
            assert "our own mistake" in trace, trace
        assert not self.lost, "what they sent was never read"
        for client in self.clients:
            assert client.closed, "a connection was forgotten"
        assert not self.pool._busy
        assert not self.pool.connections
        assert list(self.kernel.open) == [LISTENER]
        assert self.kernel.accepted == len(self.clients)
