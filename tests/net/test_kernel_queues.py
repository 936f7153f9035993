"""What the kernel reports of bytes that are on their way."""

import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from appserve.net.kernel_queues import count_untaken, silent_for

LIMIT = 20.0
ENOUGH = 50_000_000
"""Nanoseconds that cannot be mistaken for the kernel's granularity of 4 ms."""

on_linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux reports it")


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as made:
        yield made


def await_growth(client: socket.socket, beyond: int) -> int:
    end = time.monotonic() + LIMIT
    while (reported := silent_for(client)) <= beyond:
        assert time.monotonic() < end
        time.sleep(0.01)
    return reported


def fill(writer: socket.socket) -> None:
    writer.setblocking(False)
    with suppress(BlockingIOError):
        while True:
            writer.send(bytes(65536))


def make_pair(kind: str, listener: socket.socket) -> tuple[socket.socket, socket.socket]:
    if kind == "unix":
        return socket.socketpair()
    reader = socket.create_connection(listener.getsockname())
    return listener.accept()[0], reader


@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_bytes_not_read_by_the_peer_are_counted(kind: str, listener: socket.socket):
    writer, reader = make_pair(kind, listener)
    with writer, reader:
        assert count_untaken(writer.fileno()) == 0
        fill(writer)
        full = count_untaken(writer.fileno())
        assert full > 0
        end = time.monotonic() + LIMIT
        reader.settimeout(LIMIT)
        while count_untaken(writer.fileno()) >= full:
            assert time.monotonic() < end
            reader.recv(4096)


def test_a_descriptor_that_is_no_socket_is_unknown():
    with open(os.devnull, "rb") as null:
        assert count_untaken(null.fileno()) == 0
    assert count_untaken(-1) == 0


@on_linux
def test_a_request_waits_from_its_arrival_and_not_from_its_accept(listener: socket.socket):
    with socket.create_connection(listener.getsockname()) as client:
        client.sendall(b"GET")
        before = time.monotonic_ns()
        # Nothing happens meanwhile: the kernel's clock is what is tested.
        while time.monotonic_ns() - before < 2 * ENOUGH:
            time.sleep(0.01)
        accepted = listener.accept()[0]
        with accepted:
            assert silent_for(accepted) > ENOUGH


@on_linux
def test_bytes_end_the_silence(listener: socket.socket):
    with socket.create_connection(listener.getsockname()) as client, listener.accept()[0] as accepted:
        long = await_growth(accepted, 2 * ENOUGH)
        began = time.monotonic_ns()
        client.sendall(b"x")
        assert accepted.recv(1) == b"x"
        now = silent_for(accepted)

        # Or the machine stood still in between.
        assert now < long or time.monotonic_ns() - began > ENOUGH


def test_a_unix_socket_is_unknown():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(b"x")
        assert silent_for(ours) == 0


def test_a_closed_socket_is_unknown(listener: socket.socket):
    client = socket.create_connection(listener.getsockname())
    client.close()

    assert silent_for(client) == 0
