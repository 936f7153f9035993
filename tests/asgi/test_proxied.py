"""What trusted proxies say, and where the application is mounted: how a scope shows it."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from appserve.asgi.scope import AsgiFields, apply_forwarded, make_template, mount
from appserve.http.forwarded import ALL_HEADERS, Forwarding, TrustList
from tests.asgi.fakes import Scene, on_both_loops, turns

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

FAMILY = [name for name in ALL_HEADERS if name != "forwarded"]


def amended(
    path: str, *fields: tuple[bytes, bytes], root_path: str = "", scheme: str = "http"
) -> dict[str, Any]:
    """The scope of a request of a trusted proxy."""
    scope = make_template(scheme, ("192.0.2.7", 4711), ("192.0.2.1", 8000), root_path)
    scope["path"] = path
    scope["raw_path"] = path.encode()
    scope["headers"] = list(fields)
    reader = AsgiFields()
    client, origin = Forwarding(TrustList(["192.0.2.7"]), FAMILY, reader).read(reader._join(fields))
    apply_forwarded(scope, client, origin)
    if origin.prefix or root_path:
        mount(scope, origin.prefix, root_path)
    return scope


# ── root_path ──


@pytest.mark.parametrize(
    ("root_path", "prefix", "received", "shown", "whole"),
    [
        ("/shop", "", "/items/1", "/shop", "/shop/items/1"),  # the proxy strips
        ("/shop", "", "/shop/items/1", "/shop", "/shop/items/1"),  # it does not
        ("/shop", "", "/shop", "/shop", "/shop"),
        ("/shop", "", "/", "/shop", "/shop/"),
        ("/shop", "", "/shopping", "/shop", "/shop/shopping"),
        ("", "/shop", "/items/1", "/shop", "/shop/items/1"),
        ("", "/shop", "/shop/items/1", "/shop", "/shop/items/1"),
        ("/api", "/shop", "/api/1", "/shop/api", "/shop/api/1"),  # the proxy strips its own part
        ("/api", "/shop", "/shop/api/1", "/shop/api", "/shop/api/1"),
        ("/api", "/shop", "/1", "/shop/api", "/shop/api/1"),  # or another one more than that
        ("/shop", "", "*", "/shop", "*"),
        ("", "", "/items/1", "", "/items/1"),
    ],
)
def test_path_is_the_whole_path_whether_a_proxy_strips_it_or_not(
    root_path: str, prefix: str, received: str, shown: str, whole: str
) -> None:
    fields = [(b"x-forwarded-prefix", prefix.encode())] if prefix else []
    scope = amended(received, *fields, root_path=root_path)

    assert (scope["root_path"], scope["path"]) == (shown, whole)
    assert scope["raw_path"] == received.encode(), "as received"


# ── what the fields say ──


def test_client_and_scheme_are_those_of_the_fields() -> None:
    scope = amended(
        "/", (b"host", b"a"), (b"x-forwarded-for", b"198.51.100.7"), (b"x-forwarded-proto", b"https")
    )

    assert scope["client"] == ("198.51.100.7", 0)
    assert scope["scheme"] == "https"
    assert scope["server"] == ("192.0.2.1", 8000), "the address that the proxy called"
    assert (b"x-forwarded-for", b"198.51.100.7") in scope["headers"], "applications may look for themselves"


@pytest.mark.parametrize(
    ("own", "reported", "host", "server"),
    [
        (b"upstream:8000", {b"host": b"shop.example"}, b"shop.example", ("shop.example", 80)),
        (
            b"upstream:8000",
            {b"host": b"shop.example", b"proto": b"https"},
            b"shop.example",
            ("shop.example", 443),
        ),
        (b"upstream", {b"host": b"shop.example:8443"}, b"shop.example:8443", ("shop.example", 8443)),
        (b"a", {b"host": b"[2001:db8::1]:8443"}, b"[2001:db8::1]:8443", ("2001:db8::1", 8443)),
        (None, {b"host": b"shop.example"}, b"shop.example", ("shop.example", 80)),
        (b"shop.example", {b"port": b"8443"}, b"shop.example:8443", ("shop.example", 8443)),
        (b"shop.example", {b"port": b"443", b"proto": b"https"}, b"shop.example", ("shop.example", 443)),
        (b"shop.example:9", {b"port": b"8443"}, b"shop.example:9", ("shop.example", 8443)),
        (None, {b"port": b"8443"}, None, ("192.0.2.1", 8443)),
    ],
)
def test_a_forwarded_host_or_port_replaces_the_one_that_was_sent(
    own: bytes | None, reported: dict[bytes, bytes], host: bytes | None, server: tuple[str, int]
) -> None:
    fields = [(b"accept", b"*/*"), *([(b"host", own)] if own is not None else [])]
    fields += [(b"x-forwarded-" + name, value) for name, value in reported.items()]
    scope = amended("/", *fields)

    if own is not None:
        fields[1] = (b"host", host or b"")
    elif host is not None:
        fields.insert(0, (b"host", host))
    assert scope["headers"] == fields
    assert scope["server"] == server


def test_nothing_changes_without_forwarded_fields() -> None:
    before = make_template("http", ("192.0.2.7", 4711), ("192.0.2.1", 8000), "")
    scope = amended("/")

    assert scope == {**before, "path": "/", "raw_path": b"/", "headers": []}


# ── on a connection ──


class Witness:
    def __init__(self) -> None:
        self.scopes: list[dict[str, Any]] = []

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        self.scopes.append(scope)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body"})


def request(*fields: str) -> bytes:
    return "\r\n".join(["GET / HTTP/1.1", "Host: a", *fields, "", ""]).encode()


@on_both_loops
async def test_each_request_of_a_connection_has_its_own_client() -> None:
    witness = Witness()
    scene = Scene(witness)
    scene.change(
        forwarding=Forwarding(TrustList(["192.0.2.7"]), ["x-forwarded-for", "x-forwarded-host"], AsgiFields())
    )
    client = scene.connect()
    for fields in (
        ["X-Forwarded-For: 198.51.100.1", "X-Forwarded-Host: b"],
        ["X-Forwarded-For: 198.51.100.2"],
        [],
    ):
        for _ in range(2):  # the second one has a head that repeats the first
            client.feed(request(*fields))
            await turns()

    hosts = ["198.51.100.1", "198.51.100.1", "198.51.100.2", "198.51.100.2", "192.0.2.7", "192.0.2.7"]
    assert [scope["client"][0] for scope in witness.scopes] == hosts
    assert [line.split()[0] for line in scene.access_lines] == hosts
    assert [dict(scope["headers"])[b"host"] for scope in witness.scopes] == [
        b"b",
        b"b",
        b"a",
        b"a",
        b"a",
        b"a",
    ]


@pytest.mark.parametrize("body", [b"", b"x" * 10])
@on_both_loops
async def test_a_contradiction_is_refused_and_logged_as_a_request(body: bytes) -> None:
    witness = Witness()
    scene = Scene(witness)
    scene.change(
        forwarding=Forwarding(
            TrustList(["192.0.2.7"]), ["x-forwarded-for", "x-forwarded-proto"], AsgiFields()
        )
    )
    client = scene.connect()
    reported = ["X-Forwarded-Proto: http", "X-Forwarded-Proto: https", f"Content-Length: {len(body)}"]
    client.feed(request(*reported) + body[:3])
    await turns()
    client.feed(body[3:])
    client.feed_eof()

    assert client.sent.startswith(b"HTTP/1.1 400 ")
    assert client.sent.count(b"HTTP/1.1") == 1
    assert witness.scopes == []
    assert scene.registry.exchanges == {}
    (line,) = scene.access_lines
    answer = client.sent.partition(b"\r\n\r\n")[2]
    assert f'"GET / HTTP/1.1" 400 {len(answer)} ' in line
