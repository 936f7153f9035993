"""What trusted proxies say, and where the application is mounted: how a scope shows it."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from appserve.asgi.scope import AsgiFields, apply_forwarded, make_template, mount
from appserve.http.forwarded import ALL_HEADERS, Forwarding, TrustList
from tests.asgi.fakes import Scene, on_both_loops, turns
from tests.http.forwarded_cases import FORWARDED, MOUNTED, Forwarded, Mounted

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

CLIENT, SERVER = ("192.0.2.7", 4711), ("192.0.2.1", 8000)
FAMILY = [name for name in ALL_HEADERS if name != "forwarded"]


def forwarded(
    path: str, *fields: tuple[bytes, bytes], root_path: str = "", scheme: str = "http"
) -> dict[str, Any]:
    """The scope of a request of a trusted proxy."""
    scope = make_template(scheme, CLIENT, SERVER, root_path)
    scope["path"] = path
    scope["raw_path"] = path.encode()
    scope["headers"] = list(fields)
    reader = AsgiFields()
    client, origin = Forwarding(TrustList(["192.0.2.7", "10.0.0.0/8"]), FAMILY, reader).read(
        reader._join(fields)
    )
    apply_forwarded(scope, client, origin)
    if origin.prefix or root_path:
        mount(scope, origin.prefix, root_path)
    return scope


# ── root_path ──


@pytest.mark.parametrize("case", MOUNTED, ids=repr)
def test_path_is_the_whole_path_whether_a_proxy_strips_it_or_not(case: Mounted) -> None:
    fields = [(b"x-forwarded-prefix", case.prefix.encode())] if case.prefix else []
    scope = forwarded(case.received, *fields, root_path=case.root_path)

    assert (scope["root_path"], scope["path"]) == (case.root, case.root + case.below)
    assert scope["raw_path"] == case.received.encode(), "as received"


def test_options_of_the_server_as_a_whole_have_no_path_below_a_root() -> None:
    scope = forwarded("*", root_path="/shop")

    assert (scope["root_path"], scope["path"]) == ("/shop", "*")


# ── what the fields say ──


@pytest.mark.parametrize("case", FORWARDED, ids=repr)
def test_a_scope_has_the_origin_of_a_trusted_proxy(case: Forwarded) -> None:
    names = [line.split(": ", 1) for line in case.fields]
    sent = [(name.lower().encode(), value.encode()) for name, value in names]
    own = [(b"host", case.host.encode())] if case.host is not None else []
    scope = forwarded("/", *own, (b"accept", b"*/*"), *sent)

    assert scope["client"] == (case.client or CLIENT)
    assert scope["scheme"] == case.scheme
    assert scope["server"] == (case.server or SERVER), "the address that the proxy called"
    seen = [(b"host", case.seen.encode())] if case.seen is not None else []
    assert scope["headers"] == [*seen, (b"accept", b"*/*"), *sent], "applications may look for themselves"


def test_a_forwarded_port_without_a_host_is_that_of_the_socket() -> None:
    scope = forwarded("/", (b"x-forwarded-port", b"8443"))

    assert scope["headers"] == [(b"x-forwarded-port", b"8443")]
    assert scope["server"] == (SERVER[0], 8443)


def test_nothing_changes_without_forwarded_fields() -> None:
    before = make_template("http", CLIENT, SERVER, "")
    scope = forwarded("/")

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
