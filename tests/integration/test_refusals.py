"""What an operator learns of requests that are refused, and of what is left out, on every worker class."""

from collections.abc import Callable

import pytest

from tests.integration.server import HELLO, HELLO_ASGI, Server, Threaded

OWN_FRAMING = HELLO.replace("[(", '[("Transfer-Encoding", "chunked"), (', 1)
OWN_FRAMING_ASGI = HELLO_ASGI.replace("[(", '[(b"transfer-encoding", b"chunked"), (', 1)

every_class = pytest.mark.parametrize(
    "source",
    [OWN_FRAMING, Threaded(OWN_FRAMING), OWN_FRAMING_ASGI],
    ids=["sync", "threads", "asgi"],
)


def ask(server: Server, *lines: str) -> bytes:
    """Send a head, and read to the end of the connection."""
    client = server.send("".join(line + "\r\n" for line in (*lines, "")).encode("latin-1"))
    received = b""
    while data := client.recv(65536):
        received += data
    client.close()
    return received


@every_class
def test_refusals_are_logged_once_a_minute_for_each_cause(serve: Callable[..., Server], source: str):
    server = serve(files={"app.py": source})
    for _ in range(5):
        answer = ask(server, "GET / HTTP/1.1", "Host: a b")
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert answer.endswith(b"\r\n\r\n400 malformed Host (RFC 9112 \xc2\xa73.2)\n")
    answer = ask(server, "GET / HTTP/1.1", "Host: a", "X: " + "a" * 8190)
    assert answer.endswith(b"\r\n\r\n431 header field longer than 8190 bytes (--limit-request-field-size)\n")

    server.await_line(r"INFO +refused a request from 127\.0\.0\.1: 431 header field longer than 8190 bytes")
    assert len(server.find(r"INFO +refused a request from 127\.0\.0\.1: 400 malformed Host")) == 1
    assert "malformed Host" not in server.log.partition("malformed Host")[2]


@every_class
def test_what_is_left_out_is_logged_once(serve: Callable[..., Server], source: str):
    server = serve(files={"app.py": source})
    for _ in range(3):
        answer = ask(
            server,
            "GET / HTTP/1.1",
            "Host: a",
            "X_Forwarded_For: 192.0.2.1",
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        )
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert b"\r\nConnection: close\r\n" in answer

    for line in (
        r"INFO +dropped the request field X_Forwarded_For: ",
        r"WARNING +ignored Transfer-Encoding of the application: ",
        r"WARNING +ignored a WebSocket handshake: ",
    ):
        server.await_line(line)
    assert server.stop() == 0
    for word in ("dropped the request", "ignored Transfer-Encoding", "ignored a WebSocket"):
        assert server.log.count(word) == 1
