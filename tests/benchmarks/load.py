"""The load of `make bench` where there is no C compiler: the program of load.c, in Python.

It counts the same and is called the same; load.c explains the arguments. It is slower than most servers,
which then wait for it: their figures contain what it costs them to be woken.
"""

import argparse
import errno
import json
import select
import socket
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from enum import Enum, auto
from pathlib import Path

HEAD_LIMIT = 65536
SWEEP = 0.1  # seconds between two searches for connections that have timed out
ENDS = select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR


class Malformed(Exception):
    """What came is no response to the request."""


class Response:
    """One response, as its bytes arrive."""

    def __init__(self, head_only: bool) -> None:
        self._head_only = head_only
        self._buffer = b""
        self._left = 0
        self._feed: Callable[[bytes], bytes] = self._feed_head
        self.status = 0
        self.keep = True
        self.body_bytes = 0
        self.complete = False
        self.until_close = False

    def receive(self, data: bytes) -> None:
        """Raises Malformed; also for bytes after the end, as the next request has not been sent."""
        while data and not self.complete:
            data = self._feed(data)
        if data:
            raise Malformed

    def _feed_head(self, data: bytes) -> bytes:
        head, found, rest = (self._buffer + data).partition(b"\r\n\r\n")
        if not found:
            if len(head) > HEAD_LIMIT:
                raise Malformed
            self._buffer = head
            return b""
        self._buffer = b""
        self._read_head(head)
        return rest

    def _read_head(self, head: bytes) -> None:
        """Which body follows, and whether the connection is kept after it (RFC 9112, 6.3)."""
        first, *lines = head.split(b"\r\n")
        if not first.startswith(b"HTTP/1.") or len(first) < 12 or not first[9:12].isdigit():
            raise Malformed
        fields = {}
        for line in lines:
            name, colon, value = line.partition(b":")
            if not colon:
                raise Malformed
            fields[name.lower()] = value.strip()
        self.status = int(first[9:12])
        if self.status < 200:  # interim: the response proper is still to come
            return
        connection = fields.get(b"connection", b"").lower()
        self.keep = b"close" not in connection and (first[7:8] == b"1" or b"keep-alive" in connection)
        length = fields.get(b"content-length")
        if length is not None and not length.isdigit():
            raise Malformed
        if self._head_only or self.status in {204, 304}:
            self.complete = True
        elif b"chunked" in fields.get(b"transfer-encoding", b"").lower():
            self._feed = self._feed_chunk_line
        elif length is not None:
            self._left = int(length)
            self.complete = not self._left
            self._feed = self._feed_body
        else:
            self.until_close, self.keep = True, False
            self._feed = self._feed_until_close

    def _feed_body(self, data: bytes) -> bytes:
        piece = data[: self._left]
        self._left -= len(piece)
        self.body_bytes += len(piece)
        self.complete = not self._left
        return data[len(piece) :]

    def _feed_until_close(self, data: bytes) -> bytes:
        self.body_bytes += len(data)
        return b""

    def _feed_chunk_line(self, data: bytes) -> bytes:
        line, rest = self._line(data)
        if line is not None:
            try:
                self._left = int(line.partition(b";")[0], 16)
            except ValueError:
                raise Malformed from None
            self._feed = self._feed_chunk if self._left else self._feed_trailer
        return rest

    def _feed_chunk(self, data: bytes) -> bytes:
        piece = data[: self._left]
        self._left -= len(piece)
        self.body_bytes += len(piece)
        if not self._left:
            self._feed = self._feed_chunk_end
        return data[len(piece) :]

    def _feed_chunk_end(self, data: bytes) -> bytes:
        line, rest = self._line(data)
        if line:
            raise Malformed
        if line is not None:
            self._feed = self._feed_chunk_line
        return rest

    def _feed_trailer(self, data: bytes) -> bytes:
        line, rest = self._line(data)
        self.complete = line == b""
        return rest

    def _line(self, data: bytes) -> tuple[bytes | None, bytes]:
        """The line that is complete now, or None; and what follows it."""
        line, found, rest = (self._buffer + data).partition(b"\n")
        self._buffer = b"" if found else line
        return (line.rstrip(b"\r") if found else None), rest


class State(Enum):
    CLOSED = auto()
    CONNECTING = auto()
    ACTIVE = auto()
    IDLE = auto()
    ENDING = auto()  # the server is to close


class Connection:
    """A connection, or the place of one, and the request that is under way on it."""

    def __init__(self, following: int) -> None:
        self.socket: socket.socket | None = None
        self.state = State.CLOSED
        self.following = following  # the number of its next request
        self.unsent = b""
        self.due = 0.0  # the latency counts from here
        self.since = 0.0  # of the last request or byte, for the timeout
        self.response = Response(False)


class Load:
    """The run: its connections, and what has been counted."""

    def __init__(self, options: argparse.Namespace, requests: Sequence[bytes]) -> None:
        self._options = options
        self._requests = requests
        self._address = ("127.0.0.1", options.port)
        self._epoll = select.epoll()
        number = options.connections
        self._connections = [Connection(i * len(requests) // number) for i in range(number)]
        self._idle = deque(self._connections)
        self._by_fd: dict[int, Connection] = {}
        self._begun = time.monotonic()
        self._deadline = self._begun + (options.seconds or 0)
        self._started = self._active = self._opened = self._bytes = 0
        self._last_answer = self._begun
        self._latencies: list[float] = []
        self._statuses: Counter[int] = Counter()
        self._errors = dict.fromkeys(("connect", "broken", "short", "malformed", "timeout"), 0)

    def run(self) -> None:
        swept = self._begun
        self._dispatch()
        while True:
            for fd, events in self._epoll.poll(0, 64):
                if fd in self._by_fd:
                    self._on_event(self._by_fd[fd], events)
                    self._dispatch()
            self._dispatch()
            now = time.monotonic()
            if now - swept >= SWEEP:
                self._expire(now)
                swept = now
            if not self._active and self._over(now):
                return

    def result(self) -> dict[str, object]:
        end = self._last_answer if self._options.requests else self._deadline
        seconds = end - self._begun
        taken = sorted(self._latencies)
        due = int(round(seconds * self._options.rate, 3)) if self._options.seconds else 0
        return {
            "requests": len(taken),
            "seconds": seconds,
            "not_2xx": sum(number for status, number in self._statuses.items() if status // 100 != 2),
            "bytes": self._bytes,
            "connections": self._opened,
            "unsent": max(0, due - self._started),
            "errors": self._errors,
            "latency": {
                name: taken[min(len(taken) - 1, int(share * len(taken)))] if taken else 0.0
                for name, share in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p999", 0.999), ("max", 1))
            },
            "statuses": {str(status): number for status, number in sorted(self._statuses.items())},
        }

    # ── requests ──

    def _over(self, now: float) -> bool:
        if self._options.requests:
            return self._started >= int(self._options.requests)
        return now >= self._deadline

    def _dispatch(self) -> None:
        """Give work to the connections that have none."""
        while self._idle:
            now = due = time.monotonic()
            if self._over(now):
                return
            if self._options.rate:
                due = self._begun + self._started / self._options.rate
                if due > now:
                    return
            self._begin(self._idle.popleft(), due, now)

    def _begin(self, connection: Connection, due: float, now: float) -> None:
        request = self._requests[connection.following]
        connection.following = (connection.following + 1) % len(self._requests)
        connection.unsent = request
        connection.response = Response(request.startswith(b"HEAD "))
        connection.due, connection.since = due, now
        self._started += 1
        self._active += 1
        if connection.socket is None:
            self._open(connection)
        else:
            connection.state = State.ACTIVE
            self._send(connection)

    def _record(self, connection: Connection) -> None:
        self._latencies.append(connection.since - connection.due)
        self._statuses[connection.response.status] += 1
        self._last_answer = connection.since
        self._active -= 1

    def _complete(self, connection: Connection) -> None:
        self._record(connection)
        if not connection.response.keep:
            connection.state = State.ENDING  # the end that closes first keeps the port occupied for a minute
            return
        if self._options.close or connection.unsent:
            self._close(connection)
        else:
            connection.state = State.IDLE
        self._idle.append(connection)

    def _fail(self, connection: Connection, kind: str) -> None:
        self._errors[kind] += 1
        self._active -= 1
        self._close(connection)
        self._idle.append(connection)

    # ── sockets ──

    def _open(self, connection: Connection) -> None:
        opened = socket.socket()
        opened.setblocking(False)
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.socket = opened
        self._opened += 1
        result = opened.connect_ex(self._address)
        if result not in {0, errno.EINPROGRESS}:
            self._fail(connection, "connect")
            return
        connection.state = State.CONNECTING if result else State.ACTIVE
        self._by_fd[opened.fileno()] = connection
        self._epoll.register(opened, select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLET)
        if connection.state is State.ACTIVE:
            self._send(connection)

    def _close(self, connection: Connection) -> None:
        if connection.socket is not None:
            self._by_fd.pop(connection.socket.fileno(), None)
            connection.socket.close()
        connection.socket = None
        connection.state = State.CLOSED

    def _send(self, connection: Connection) -> None:
        assert connection.socket is not None
        while connection.unsent:
            try:
                sent = connection.socket.send(connection.unsent)
            except (BlockingIOError, BrokenPipeError, ConnectionResetError):
                return  # there may be a response, and the end is reported either way
            except OSError:
                self._fail(connection, "broken")
                return
            connection.unsent = connection.unsent[sent:]

    def _on_event(self, connection: Connection, events: int) -> None:
        assert connection.socket is not None
        if connection.state is State.CONNECTING:
            if connection.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                self._fail(connection, "connect")
                return
            if not events & select.EPOLLOUT:
                return
            connection.state = State.ACTIVE
        if events & select.EPOLLOUT and connection.state is State.ACTIVE:
            self._send(connection)
        if events & (select.EPOLLIN | ENDS):
            while connection.socket is not None and self._read(connection, bool(events & ENDS)):
                pass

    def _read(self, connection: Connection, ending: bool) -> bool:
        """Whether there may be more to read; an end that comes later is an event of its own."""
        assert connection.socket is not None
        try:
            data = connection.socket.recv(65536)
        except BlockingIOError:
            return False
        except OSError:
            return self._on_end(connection, broken=True)
        if not data:
            return self._on_end(connection, broken=False)
        if connection.state is State.ACTIVE:
            response = connection.response
            connection.since = time.monotonic()
            before = response.body_bytes
            try:
                response.receive(data)
            except Malformed:
                self._fail(connection, "malformed")
                return False
            finally:
                self._bytes += response.body_bytes - before
            if response.complete:
                self._complete(connection)
        elif connection.state is State.IDLE:
            self._errors["malformed"] += 1  # bytes that no request has asked for
            self._close(connection)
        return len(data) == 65536 or ending

    def _on_end(self, connection: Connection, *, broken: bool) -> bool:
        if connection.state is State.ACTIVE and connection.response.until_close and not broken:
            self._record(connection)
            self._close(connection)
            self._idle.append(connection)
        elif connection.state is State.ACTIVE:
            self._fail(connection, "broken" if broken else "short")
        else:
            ending = connection.state is State.ENDING
            self._close(connection)
            if ending:  # an idle one is in the queue
                self._idle.append(connection)
        return False

    def _expire(self, now: float) -> None:
        for connection in self._connections:
            if now - connection.since < self._options.timeout or connection.socket is None:
                continue
            if connection.state is State.ENDING:  # the server has announced to close, and does not
                self._errors["timeout"] += 1
                self._close(connection)
                self._idle.append(connection)
            elif connection.state is not State.IDLE:
                self._fail(connection, "timeout")


def write_requests(path: Path, requests: Iterable[bytes]) -> None:
    """A file as both generators read it: for each request its length, a line feed, and its bytes."""
    path.write_bytes(b"".join(b"%d\n%b" % (len(request), request) for request in requests))


def read_requests(path: Path) -> list[bytes]:
    with path.open("rb") as file:
        return [file.read(int(length)) for length in file]


def main() -> None:
    parser = argparse.ArgumentParser(prog="load.py", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("port", type=int)
    parser.add_argument("file", type=Path)
    parser.add_argument("--connections", type=int, default=64)
    length = parser.add_mutually_exclusive_group(required=True)
    length.add_argument("--seconds", type=float)
    length.add_argument("--requests", type=int)
    parser.add_argument("--rate", type=float, default=0.0)
    parser.add_argument("--close", action="store_true")
    parser.add_argument("--timeout", type=float, default=10.0)
    options = parser.parse_args()
    load = Load(options, read_requests(options.file))
    load.run()
    print(json.dumps(load.result()))


if __name__ == "__main__":
    main()
