"""The messages between the master and one of its workers, and the socket that carries them.

Each is a value in this file; there are no others. A message is one packet of JSON with a version, because
after an upgrade in place a master exchanges messages with workers of the release before it: a reader ignores
kinds and fields that it does not know, and fills in fields that it misses from their defaults.

The socket is SOCK_SEQPACKET: a message arrives whole or not at all, and the death of either side is an end
of file for the other, however it died. Where the system has no such sockets (macOS), a stream with a length
before each message does the same. Neither side ever blocks on the other: what does not fit into the
socket's buffer is refused.
"""

import json
import os
import select
import socket
import struct
import time
from array import array
from collections import deque
from collections.abc import Sequence
from typing import get_args

from appserve.values import Value

VERSION = 1

#: Longer texts (a traceback of a failed boot) are cut in the middle, so that a message fits a socket's
#: buffer.
TEXT_LIMIT = 24 * 1024

#: At most so many messages are read in one go: a worker that floods its channel must not hold up the master.
MESSAGES_PER_TURN = 16

_PACKET = 256 * 1024
_LENGTH = struct.Struct("!I")
_INT = array("i").itemsize
_MOST_FILES = 2


class Ready(Value):
    """Worker to master: the application is loaded (and its lifespan started); connections could be served.

    `why` is how the worker class was chosen, `reason` how the interface was recognised.
    """

    interface: str = ""
    worker_class: str = ""
    why: str = ""
    application: str = ""
    reason: str = ""


class Failed(Value):
    """Worker to master: it cannot start, and is about to exit with `exit_code`; `text` is a traceback or
    empty."""

    exit_code: int = 71
    headline: str = ""
    text: str = ""


class Listening(Value):
    """Master to worker: listen() was called, the listeners can be watched."""


class RetireOrder(Value):
    """Master to worker: accept no more connections, finish the requests of those that are there, and leave.

    The connections that wait in the queue of the listeners are for the other workers. Idle connections wait
    `linger` seconds for a last request; everything ends within `deadline` seconds.
    """

    linger: float = 1.0
    deadline: float = 25.0


class StopOrder(Value):
    """Master to worker: all workers leave. Accept as before until the queue of the listeners is empty, then
    close them; the rest is as for Retire."""

    linger: float = 1.0
    deadline: float = 25.0


class QuitOrder(Value):
    """Master to worker: leave now; accept no more connections, and cut what is in flight after `deadline`
    seconds."""

    deadline: float = 2.0


class Retiring(Value):
    """Worker to master: it accepts no more connections, because of a Retire or a SIGTERM."""


class SiblingDied(Value):
    """Master to worker: a sibling died or retires, and may have taken a wake-up of the listener with it: look
    again."""


class LogFiles(Value):
    """Master to worker: write these logs into the descriptors that come with this message, in this order."""

    access: bool = False
    error: bool = False

    @property
    def count(self) -> int:
        return self.access + self.error


ChannelMessage = (
    Ready | Failed | Listening | RetireOrder | StopOrder | QuitOrder | Retiring | SiblingDied | LogFiles
)

TYPE_OF_KIND: dict[str, type[ChannelMessage]] = {kind.__name__: kind for kind in get_args(ChannelMessage)}
"""A message goes by the name of its class, which therefore never changes."""


def encode(message: ChannelMessage) -> bytes:
    """The packet that carries `message`."""
    values = {
        name: _cut(value) if isinstance(value, str) else value for name, value in message.fields().items()
    }
    text = json.dumps({"v": VERSION, "kind": type(message).__name__, **values}, ensure_ascii=False)
    # A lone surrogate (from a file name in a traceback, say) becomes \udc80: JSON's own way to write it.
    return text.encode("utf-8", "backslashreplace")


def decode(packet: bytes) -> ChannelMessage | None:
    """The message in `packet`, or None if it is none that this release knows. Never raises: a worker runs
    code that is not ours, and what it writes must not hurt its master."""
    try:
        values = json.loads(packet)
    except (ValueError, RecursionError):
        return None
    message_type = TYPE_OF_KIND.get(str(values.get("kind"))) if isinstance(values, dict) else None
    if message_type is None:
        return None
    known = {}
    for name, field_type in message_type.__annotations__.items():
        value = values.get(name, getattr(message_type, name))
        if field_type is float and type(value) is int:
            value = float(value)
        if type(value) is not field_type:
            return None
        known[name] = value
    message: ChannelMessage = message_type(**known)
    return message


class Channel:
    """One end of the connection between a master and one worker. Non-blocking; `closed` once the other end
    is gone."""

    def __init__(self, endpoint: socket.socket, *, takes_files: bool = False) -> None:
        endpoint.setblocking(False)
        self._takes_files = takes_files
        self._files: deque[int] = deque()
        self._endpoint = endpoint
        self._packets = endpoint.type != socket.SOCK_STREAM
        self._unread = bytearray()
        self.closed = False

    def fileno(self) -> int:
        return self._endpoint.fileno()

    def send(self, message: ChannelMessage, files: Sequence[int] = ()) -> bool:
        """Send `message` if the other end lives and keeps up; False if not. Never blocks, never raises.

        `files` are descriptors that come with it; the other end gets copies (SCM_RIGHTS).
        """
        packet = encode(message)
        if not self._packets:
            packet = _LENGTH.pack(len(packet)) + packet
        try:
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", files))] if files else ()
            sent = self._endpoint.sendmsg([packet], rights, getattr(socket, "MSG_NOSIGNAL", 0))
        except OSError:
            # Gone, or not reading. Gone is noticed by receive(); an order that a worker does not read is
            # followed by a signal when its deadline is over.
            return False
        # A stream that took half a message cannot be used for another one.
        if sent < len(packet):
            self.close()
            return False
        return True

    def send_before_leaving(self, message: ChannelMessage, timeout: float = 1.0) -> bool:
        """Send `message` as the last one of this process; waits up to `timeout` seconds for space."""
        deadline = time.monotonic() + timeout
        while not self.send(message):
            left = deadline - time.monotonic()
            if left <= 0 or self.closed or not self._wait_for_room(left):
                return False
        return True

    def _wait_for_room(self, seconds: float) -> bool:
        poll = select.poll()
        poll.register(self._endpoint, select.POLLOUT)
        events = poll.poll(seconds * 1000)
        return bool(events) and not events[0][1] & (select.POLLHUP | select.POLLERR)

    def receive(self) -> list[ChannelMessage]:
        """The messages that have arrived, at most MESSAGES_PER_TURN of them; `closed` is set at the end of
        file."""
        messages: list[ChannelMessage] = []
        for _ in range(MESSAGES_PER_TURN):
            if self.closed:
                break
            try:
                data = self._read()
            except (BlockingIOError, InterruptedError):
                break
            except OSError:
                data = b""
            if not data:
                self.closed = True
                break
            for packet in [data] if self._packets else self._split(data):
                message = decode(packet)
                if message is not None:
                    messages.append(message)
        return messages

    def take_files(self, count: int) -> list[int]:
        """The descriptors that came with a message, which says how many; they belong to the caller."""
        return [self._files.popleft() for _ in range(min(count, len(self._files)))]

    def _read(self) -> bytes:
        if not self._takes_files:
            # The kernel closes descriptors that are sent to a reader that takes none.
            return self._endpoint.recv(_PACKET)
        space = socket.CMSG_SPACE(_MOST_FILES * _INT)
        flags = getattr(socket, "MSG_CMSG_CLOEXEC", 0)
        data, rights, _, _ = self._endpoint.recvmsg(_PACKET, space, flags)
        for level, kind, content in rights:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                files = array("i", content[: len(content) // _INT * _INT])
                for fd in files:
                    os.set_inheritable(fd, False)
                self._files.extend(files)
        return data

    def _split(self, data: bytes) -> list[bytes]:
        """The whole packets in a stream's bytes; the rest waits."""
        unread = self._unread
        unread += data
        packets = []
        while len(unread) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(unread)
            if length > _PACKET:
                self.closed = True
                break
            if len(unread) < _LENGTH.size + length:
                break
            packets.append(bytes(unread[_LENGTH.size : _LENGTH.size + length]))
            del unread[: _LENGTH.size + length]
        return packets

    def close(self) -> None:
        self.closed = True
        self._endpoint.close()
        for fd in self.take_files(len(self._files)):
            os.close(fd)


def make_channel_pair(*, stream: bool = False) -> tuple[Channel, Channel]:
    """The master's end and the worker's. `stream` forces the fallback for systems without SOCK_SEQPACKET."""
    kind = getattr(socket, "SOCK_SEQPACKET", socket.SOCK_STREAM)
    if not stream:
        try:
            ours, theirs = socket.socketpair(socket.AF_UNIX, kind)
            return Channel(ours), Channel(theirs, takes_files=True)
        except OSError:
            pass
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    return Channel(ours), Channel(theirs, takes_files=True)


def _cut(text: str) -> str:
    """`text`, or its beginning and its end when it is too long: the last lines of a traceback say the
    most."""
    if len(text) <= TEXT_LIMIT:
        return text
    head, tail = TEXT_LIMIT // 4, TEXT_LIMIT - TEXT_LIMIT // 4
    return f"{text[:head]}\n… {len(text) - TEXT_LIMIT} characters left out …\n{text[-tail:]}"
