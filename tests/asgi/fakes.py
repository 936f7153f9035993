"""A connection without a network: a transport that keeps what is written, and logs that can be read."""

import asyncio
import functools
import inspect
import os
import socket
import tempfile
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from typing import Any

import pytest

from appserve.asgi.http1 import Http1Driver
from appserve.asgi.registry import Registry
from appserve.asgi.scope import AsgiFields
from appserve.asgi.stream import Stream
from appserve.connection.origin import Address, Endpoints
from appserve.connection.service import Service
from appserve.http.date import DateFields
from appserve.http.messages import Limits
from appserve.http.timeouts import Timeouts
from appserve.observe.access import AccessLog
from appserve.observe.counters import Counters
from appserve.observe.log import Level, Log
from appserve.observe.refusals import Refusals
from appserve.observe.scoreboard import Scoreboard, ScoreboardRow, size_for
from tests.connection.services import changed

LOOPS = ("asyncio", "uvloop")

# What a test leaves open is closed with its loop: thousands of tests share one process.
_given_back: ContextVar[ExitStack] = ContextVar("_given_back")


def run_on(loop_name: str, main: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine to its end on a new loop of this kind."""
    if loop_name == "uvloop":
        import uvloop

        factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    else:
        factory = asyncio.new_event_loop
    with giving_back(), asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(asyncio.wait_for(main, 20))


@contextmanager
def giving_back() -> Iterator[None]:
    """Close at the end what the fakes opened meanwhile."""
    with ExitStack() as given_back:
        _given_back.set(given_back)
        yield


def on_both_loops(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Make a test of a coroutine function, and run it on asyncio's loop and on uvloop's."""

    @functools.wraps(test)
    def call(loop_name: str, **arguments: Any) -> None:
        run_on(loop_name, test(**arguments))

    signature = inspect.signature(test)
    name = inspect.Parameter("loop_name", inspect.Parameter.KEYWORD_ONLY)
    call.__signature__ = signature.replace(parameters=[*signature.parameters.values(), name])  # type: ignore[attr-defined]  # read by pytest
    return pytest.mark.parametrize("loop_name", LOOPS)(call)


async def turns(count: int = 5) -> None:
    """Let the loop turn so often: everything that is ready has run then."""
    for _ in range(count):
        await asyncio.sleep(0)


class FakeTransport(asyncio.Transport):
    """Keeps what is written. With `holds`, the client reads nothing until `take`."""

    def __init__(self, protocol: Any, *, holds: bool = False) -> None:
        super().__init__()
        self.protocol = protocol
        self.holds = holds
        self.sent = b""
        self.writes: list[bytes] = []
        self.buffered = b""
        self.high = 65536
        self.paused = False
        self.reading = True
        self.closing = False
        self.aborted = False
        self.ended = False
        self.lost = False
        # For code that sets options on it, and looks whether it can be read or written.
        ours, self.peer = socket.socketpair()
        self.peer.setblocking(False)
        _given_back.get().callback(ours.close)
        _given_back.get().callback(self.peer.close)
        if holds:
            _fill(ours)
        self._extra = {"socket": ours}
        protocol.connection_made(self)

    def write(self, data: bytes) -> None:  # type: ignore[override]  # only bytes are ever written
        assert type(data) is bytes
        assert not self.ended, "written after write_eof"
        assert not self.lost, "written after connection_lost"
        if self.closing:
            return
        self.writes.append(data)
        if self.holds:
            self.buffered += data
            if len(self.buffered) > self.high and not self.paused:
                self.paused = True
                self.protocol.pause_writing()
        else:
            self.sent += data

    def take(self, size: int | None = None) -> None:
        """The client reads."""
        taken = self.buffered[:size]
        self.sent += taken
        self.buffered = self.buffered[len(taken) :]
        if self.paused and len(self.buffered) <= self.high // 4:
            self.paused = False
            self.protocol.resume_writing()
        if self.closing and not self.buffered:
            self._lose()

    def feed(self, data: bytes) -> None:
        """The client sends."""
        assert self.reading, "data while reading is paused"
        if not self.closing:
            self.protocol.data_received(data)

    def feed_eof(self) -> None:
        """The client ends its side."""
        if not self.protocol.eof_received():
            self.close()

    def reset(self) -> None:
        """The client is gone."""
        self._force_close(ConnectionResetError())

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self.high = 65536 if high is None else high
        if len(self.buffered) > self.high and not self.paused:
            self.paused = True
            self.protocol.pause_writing()

    def get_write_buffer_size(self) -> int:
        return len(self.buffered)

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def is_closing(self) -> bool:
        return self.closing

    @property
    def over(self) -> bool:
        """Whether our side has ended, so that the client sees it. It is closed when the client has ended its
        own, if that was not before."""
        return self.ended or self.closing

    def close(self) -> None:
        if not self.closing:
            self.closing = True
            if not self.buffered:
                self._lose()

    def abort(self) -> None:
        self.aborted = True
        self.buffered = b""
        self._force_close(None)

    def write_eof(self) -> None:
        self.ended = True

    def can_write_eof(self) -> bool:
        return True

    def _force_close(self, error: Exception | None) -> None:
        self.closing = True
        self._lose(error)

    def _lose(self, error: Exception | None = None) -> None:
        if not self.lost:
            self.lost = True
            asyncio.get_running_loop().call_soon(self.protocol.connection_lost, error)


class MemoryLog(Log):
    """A log that can be read."""

    def __init__(self) -> None:
        self._file = _temporary_file()
        super().__init__(self._file, Level.DEBUG)

    @property
    def text(self) -> str:
        return _read(self._file)


class Scene:
    """A registry with one application; made on a running loop."""

    def __init__(
        self,
        application: Any,
        *,
        limits: Limits | None = None,
        timeouts: Timeouts | None = None,
        access: bool = True,
    ) -> None:
        self.error_log = MemoryLog()
        self._access_fd = _temporary_file()
        board = Scoreboard(bytearray(size_for(1)), 1)
        self.row: ScoreboardRow = board.row(0)
        self.counters = Counters(self.row)
        service = Service(
            application=application,
            fields=AsgiFields(),
            limits=limits or Limits(),
            timeouts=timeouts or Timeouts(first=30, idle=75, head=30, body=60, body_rate=0, write=60),
            date_fields=DateFields(0),
            log=self.error_log,
            access=AccessLog(self._access_fd) if access else None,
            counters=self.counters,
            refusals=Refusals(self.error_log, self.row),
        )
        self.registry = Registry(service, asyncio.get_running_loop(), self.row)

    def change(self, **changes: Any) -> None:
        """Change what the service of further connections says."""
        self.registry.service = changed(self.registry.service, **changes)

    def connect(self, *, holds: bool = False) -> FakeTransport:
        """A new connection."""
        return FakeTransport(self.stream(("192.0.2.7", 4711), ("192.0.2.1", 80)), holds=holds)

    def stream(self, client: Address | None, server: Address | None) -> Stream:
        """What the transport of a new connection speaks with."""
        stream = Stream(self.registry)
        Http1Driver(stream, self.registry, Endpoints(client, server))
        return stream

    @property
    def log(self) -> str:
        return self.error_log.text

    @property
    def access_lines(self) -> list[str]:
        return _read(self._access_fd).splitlines()


def _fill(sending: socket.socket) -> None:
    """The other end does not read."""
    sending.setblocking(False)
    try:
        while True:
            sending.send(bytes(65536))
    except BlockingIOError:
        pass


def _temporary_file() -> int:
    fd, path = tempfile.mkstemp()
    os.unlink(path)
    _given_back.get().callback(os.close, fd)
    return fd


def _read(fd: int) -> str:
    return os.pread(fd, 1 << 20, 0).decode()
