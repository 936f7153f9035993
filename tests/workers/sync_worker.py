"""A WSGI worker in a process of its own, over real sockets. The test is its master, and knows its pid."""

import gc
import itertools
import mmap
import os
import re
import resource
import select
import signal
import socket
import struct
import sys
import time
import traceback
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from appserve.config.settings import Settings
from appserve.net.listeners import bind_all
from appserve.observe.access import AccessLog
from appserve.observe.log import Level, Log
from appserve.observe.scoreboard import TICK_NS, Scoreboard, size_for
from appserve.workers import base, sync_loop
from appserve.workers.application import Application
from appserve.workers.channel import Channel, ChannelMessage, Listening, Ready, make_channel_pair
from tests.conformance.wire import Response, read_response

TIMEOUT = 20.0
"""Seconds that only a failure waits."""

MASTER_ENDS: "weakref.WeakSet[Channel]" = weakref.WeakSet()

T = TypeVar("T")
GET = b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n"


def until(look: Callable[[], T]) -> T:
    """What `look` gives as soon as that is true; a fact of the system that nothing else announces."""
    deadline = time.monotonic() + TIMEOUT
    while not (found := look()):
        assert time.monotonic() < deadline, f"did not come true: {look}"
        time.sleep(0.002)
    return found


class Client:
    """A connection to the worker."""

    def __init__(self, address: object, *, small: bool = False) -> None:
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        self.socket = socket.socket(family)
        if small:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.socket.settimeout(TIMEOUT)
        self.socket.connect(address)
        self._received = b""

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def response(self, method: str = "GET", version: str = "1.1") -> Response:
        """The next response."""
        ended = False
        while (read := read_response(self._received, method, version, ended=ended)) is None:
            assert not ended, f"the connection ended inside a response: {self._received[:1000]!r}"
            parts = [self._received]
            missing = self._missing()
            while missing > 0 and not ended:
                parts.append(self.socket.recv(1 << 20))
                missing -= len(parts[-1])
                ended = not parts[-1]
            self._received = b"".join(parts)
        response, self._received = read
        return response

    def _missing(self) -> int:
        """How many bytes have to come before it is worth looking again."""
        head, _, body = self._received.partition(b"\r\n\r\n")
        announced = re.search(rb"\r\ncontent-length: ([0-9]+)", head.lower())
        return max(1, int(announced[1]) - len(body)) if announced else 1

    def ask(self, request: bytes = GET, method: str = "GET") -> Response:
        self.send(request)
        return self.response(method)

    def end(self) -> str:
        """How the connection ends: `reset`, or `end`; nothing may come before it."""
        assert self._received == b""
        try:
            data = self.socket.recv(1000)
        except ConnectionResetError:
            return "reset"
        assert data == b""
        return "end"

    def has_something(self) -> bool:
        """Whether something can be read, be it the end."""
        poll = select.poll()  # select() is for descriptors below 1024
        poll.register(self.socket, select.POLLIN)
        return bool(poll.poll(0))

    def reset(self) -> None:
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def close(self) -> None:
        self.socket.close()


def leave_descriptors(count: int) -> None:
    """Let this process open no more than `count` further descriptors."""
    taken = set(map(int, os.listdir("/proc/self/fd")))
    free = (fd for fd in itertools.count() if fd not in taken)
    limit = next(itertools.islice(free, count, None))
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))


class Worker:
    """One worker that serves `application`.

    sweep      seconds between two looks at the clients
    files      how many descriptors it may open, 0 for as many as usual
    prepare    called in the worker's process before it serves
    settings   fields of Settings; worker_class is sync by default
    """

    def __init__(
        self,
        application: Callable[..., Any],
        folder: Path,
        *,
        sweep: float = 0.05,
        files: int = 0,
        prepare: Callable[[], object] | None = None,
        bind: str = "127.0.0.1:0",
        listening: bool = True,
        **settings: Any,
    ) -> None:
        self._log, self._access = folder / "error.log", folder / "access.log"
        self.listeners = bind_all([bind])
        for listener in self.listeners:
            listener.listen(2048)
        self.address = self.listeners[0].socket.getsockname()
        self.board = Scoreboard(mmap.mmap(-1, size_for(2)), 2)
        self.row = self.board.row(0)
        self.row.claim(1, 1, time.monotonic_ns())
        self.channel, theirs = make_channel_pair()
        MASTER_ENDS.add(self.channel)
        self.clients: list[Client] = []
        self._status: int | None = None
        master = os.getpid()
        self.pid = os.fork()
        if self.pid == 0:
            values = {"worker_class": "sync", **settings}
            self._live(application, theirs, master, Settings(**values), sweep, files, prepare)
        theirs.close()
        self.await_message(Ready)
        if listening:
            self.channel.send(Listening())

    def _live(
        self,
        call: Callable[..., Any],
        channel: Channel,
        master: int,
        settings: Settings,
        sweep: float,
        files: int,
        prepare: Callable[[], object] | None,
    ) -> None:
        code = 71
        gc.freeze()  # what the tests of this process hold is no business of the worker's collector
        log, access = (os.open(path, os.O_WRONLY | os.O_CREAT) for path in (self._log, self._access))
        try:
            for master_end in MASTER_ENDS:
                master_end.close()  # or the worker would keep its own master alive
            sys.stderr = os.fdopen(os.dup(log), "w", buffering=1)
            sync_loop.SWEEP, sync_loop.ATTENTION = sweep, 2 * sweep
            if files:
                leave_descriptors(files)
            context = base.WorkerContext(
                slot=1,
                master_pid=master,
                settings=settings,
                listeners=tuple(self.listeners),
                channel=channel,
                board=self.board,
                row=self.row,
                log=Log(log, Level.INFO),
                access=AccessLog(access),
                blackbox_fd=-1,
            )
            os.register_at_fork(after_in_child=lambda: base._after_fork(context))
            if prepare is not None:
                prepare()
            serve = base._serve_function(settings.worker_class)
            code = serve(Application(call, "wsgi", "test:app", "the test says so"), context)
        except BaseException:
            os.write(log, traceback.format_exc().encode())
        finally:
            os._exit(code)

    # ── what it says ──

    def await_message(self, kind: type[ChannelMessage]) -> None:
        def look() -> bool:
            alive = self.is_alive
            found = any(isinstance(message, kind) for message in self.channel.receive())
            assert found or alive, f"it ended without a {kind.__name__}"
            return found

        until(look)

    @property
    def log(self) -> str:
        return self._log.read_text()

    @property
    def access(self) -> str:
        return self._access.read_text()

    def await_log(self, text: str) -> None:
        until(lambda: text in self.log)

    def word(self, at: int) -> int:
        """A word of its row in the scoreboard, as it was at its last sweep."""
        return self.row.words[at]

    def await_word(self, at: int, value: int) -> None:
        until(lambda: self.row.words[at] == value)

    def await_sweeps(self, count: int = 3) -> None:
        """Wait until it has looked at its clients so often."""
        for _ in range(count):
            before = self.row.words[TICK_NS]
            until(lambda before=before: self.row.words[TICK_NS] != before)

    def descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self) -> int:
        """Bytes of its own that are in memory now."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(status.partition("RssAnon:")[2].split()[0]) * 1024

    # ── what is done to it ──

    def connect(self, *, small: bool = False) -> Client:
        client = Client(self.address, small=small)
        self.clients.append(client)
        return client

    def ask(self, request: bytes = GET, method: str = "GET") -> Response:
        """The response on a connection of its own."""
        client = self.connect()
        try:
            return client.ask(request, method)
        finally:
            client.close()

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def orphan(self) -> None:
        """Its master is gone, as far as the channel shows."""
        self.channel.close()

    @property
    def is_alive(self) -> bool:
        if self._status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self._status = status
        return self._status is None

    def exit_code(self) -> int:
        """How it ends."""
        until(lambda: not self.is_alive)
        assert self._status is not None
        return os.waitstatus_to_exitcode(self._status)

    def close(self) -> None:
        for client in self.clients:
            client.close()
        if self.is_alive:
            os.kill(self.pid, signal.SIGKILL)
            self.exit_code()
        self.channel.close()
        for listener in self.listeners:
            listener.close(unlink=True)


class Gate:
    """What an application in another process waits at, until the test opens it."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe()

    def fileno(self) -> int:
        return self._read

    def pass_through(self) -> None:
        os.read(self._read, 1)

    def open(self, times: int = 1) -> None:
        os.write(self._write, b"x" * times)

    def close(self) -> None:
        os.close(self._read)
        os.close(self._write)
