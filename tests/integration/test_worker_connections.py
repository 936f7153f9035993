"""More clients than a worker may hold connections."""

from collections.abc import Callable
from contextlib import ExitStack

import pytest

from tests.integration.server import HELLO, HELLO_ASGI, HELLO_THREADS, Server

Serve = Callable[..., Server]

FOR_EVER = ("--first-byte-timeout", "0", "--head-timeout", "0", "--keep-alive", "3600")
"""What is waited for in these tests is made by no time limit."""


@pytest.mark.parametrize("source", [HELLO, HELLO_THREADS, HELLO_ASGI], ids=["sync", "threads", "asgi"])
def test_clients_with_incomplete_heads_exclude_no_other(serve: Serve, source: str) -> None:
    server = serve("app:app", *FOR_EVER, "--worker-connections", "100", files={"app.py": source})
    with ExitStack() as stack:
        for _ in range(110):
            stack.enter_context(server.send(b"GET / HTTP/1.1\r\nHo"))
        for _ in range(20):
            assert server.get().status == 200
    (line,) = server.find("WARNING .*$")
    assert "reached --worker-connections (100); closed " in line[0]
    assert line[0].endswith("with an incomplete request head")
