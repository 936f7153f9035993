"""What is requested: for each case the prepared requests, the same in every run.

`real` is the case to look at first: few sites have clients that repeat themselves. The others show one thing
each.
"""

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

Fields = Sequence[tuple[str, str]]

REAL = 4096  # requests, of CLIENTS clients
CLIENTS = 900
FEWEST_FIELDS, MOST_FIELDS = 10, 20
SMALL_BODY = (120, 300)  # bytes of a JSON post in `real`
POST_BODY = 200
ECHO_BODY = 10_000
RATE = 5000.0  # requests a second

HOST = ("Host", "127.0.0.1")

BROWSER_FIELDS = (
    HOST,
    (
        "User-Agent",
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0 Safari/537.36",
    ),
    ("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"),
    ("Accept-Encoding", "gzip, deflate, br, zstd"),
    ("Accept-Language", "en-GB,en;q=0.9,de;q=0.8"),
    ("Cache-Control", "max-age=0"),
    ("Connection", "keep-alive"),
    ("Cookie", "sessionid=9f2c7e4b1d8a4f06b3c5a7e1d2f40917; csrftoken=Zk3vQ8sT1xY6pL0w"),
    ("Priority", "u=0, i"),
    ("Referer", "http://127.0.0.1/app/items?page=2"),
    ("Sec-Ch-Ua", '"Chromium";v="142", "Not_A Brand";v="99"'),
    ("Sec-Ch-Ua-Mobile", "?0"),
    ("Sec-Fetch-Dest", "document"),
    ("Sec-Fetch-Mode", "navigate"),
    ("Sec-Fetch-Site", "same-origin"),
    ("Upgrade-Insecure-Requests", "1"),
)

API_FIELDS = (
    HOST,
    ("User-Agent", "shop-client/2.4"),
    ("Accept", "application/json"),
    ("Content-Type", "application/json"),
)

PATHS = (
    "/",
    "/items",
    "/items/42",
    "/search",
    "/app/orders",
    "/api/v1/cart",
    "/api/v1/prices",
    "/account/inbox",
)
LANGUAGES = (
    "en-GB,en;q=0.9",
    "de-DE,de;q=0.9,en;q=0.6",
    "fr-FR,fr;q=0.9",
    "es-ES,es;q=0.8,en;q=0.5",
    "pl,en;q=0.7",
)
PLATFORMS = (
    "X11; Linux x86_64",
    "Windows NT 10.0; Win64; x64",
    "Macintosh; Intel Mac OS X 10_15_7",
    "iPhone; CPU iPhone OS 18_6 like Mac OS X",
    "Linux; Android 15; Pixel 9",
)


@dataclass(frozen=True)
class Case:
    """`make` gives the requests; each connection sends all of them, beginning at an offset of its own.

    `rate` is requests a second over all connections, whatever the server does (0: each connection sends when
    it has its response); `logged` is with an access log.
    """

    about: str
    make: Callable[[], Sequence[bytes]]
    rate: float = 0.0
    logged: bool = False


def request(method: str, target: str, fields: Fields, body: bytes | None = None) -> bytes:
    """The bytes of a request; a body brings its Content-Length."""
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in fields)]
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + (body or b"")


def json_body(size: int, source: random.Random) -> bytes:
    """A JSON object of exactly `size` bytes."""
    fields = {"item": source.randrange(10**6), "amount": source.randrange(1, 9), "note": ""}
    missing = size - len(json.dumps(fields))
    fields["note"] = "".join(source.choices("abcdefghij klmnopqrstuvwxyz", k=missing))
    return json.dumps(fields).encode()


@cache
def real() -> Sequence[bytes]:
    """Requests of many clients as a proxy passes them on: any of them follows any on a connection."""
    source = random.Random(20261129)
    clients = [_client(source) for _ in range(CLIENTS)]
    return [_passed_on(source.choice(clients), source) for _ in range(REAL)]


@dataclass(frozen=True)
class _Client:
    address: str
    agent: str
    language: str
    session: str


def _client(source: random.Random) -> _Client:
    version = f"{source.randrange(120, 145)}.0.{source.randrange(9000)}.{source.randrange(200)}"
    return _Client(
        address=".".join(str(source.randrange(1, 255)) for _ in range(4)),
        agent=(
            f"Mozilla/5.0 ({source.choice(PLATFORMS)}) AppleWebKit/537.36 (KHTML, like Gecko) "
            f"Chrome/{version} Safari/537.36"
        ),
        language=source.choice(LANGUAGES),
        session=_hex(source, 32),
    )


def _hex(source: random.Random, digits: int) -> str:
    return f"{source.getrandbits(4 * digits):0{digits}x}"


def _passed_on(client: _Client, source: random.Random) -> bytes:
    """One request, a fifth of them a JSON post, with ten to twenty fields."""
    path = source.choice(PATHS)
    target = f"{path}?page={source.randrange(500)}&q={_hex(source, 6)}"
    cookie = f"sessionid={client.session}; csrftoken={_hex(source, 16)}; seen={source.randrange(10**7)}"
    always = [
        ("Host", "shop.example.com"),
        ("X-Request-Id", _hex(source, 32)),
        ("X-Forwarded-For", client.address),
        ("X-Forwarded-Proto", "https"),
        ("User-Agent", client.agent),
        ("Referer", f"https://shop.example.com{source.choice(PATHS)}?from={_hex(source, 6)}"),
        ("Cookie", cookie),
    ]
    body = json_body(source.randint(*SMALL_BODY), source) if source.random() < 0.2 else None
    always += _page(client) if body is None else _post()
    own = 1 if body is not None else 0  # Content-Length
    wanted = source.randint(FEWEST_FIELDS, MOST_FIELDS) - own - len(always)
    fields = always + source.sample(_sometimes(client, source), max(0, wanted))
    return request("GET" if body is None else "POST", target, fields, body)


def _page(client: _Client) -> Fields:
    return (
        ("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"),
        ("Accept-Language", client.language),
    )


def _post() -> Fields:
    return (("Accept", "application/json"), ("Content-Type", "application/json"))


def _sometimes(client: _Client, source: random.Random) -> Fields:
    return (
        ("Accept-Encoding", "gzip, deflate, br, zstd"),
        ("X-Real-IP", client.address),
        ("X-Forwarded-Host", "shop.example.com"),
        ("X-Forwarded-Port", "443"),
        ("Sec-Fetch-Dest", source.choice(("document", "empty", "image"))),
        ("Sec-Fetch-Mode", source.choice(("navigate", "cors", "no-cors"))),
        ("Sec-Fetch-Site", source.choice(("same-origin", "same-site", "none"))),
        ("Sec-Ch-Ua-Mobile", source.choice(("?0", "?1"))),
        ("Cache-Control", source.choice(("max-age=0", "no-cache"))),
        ("If-None-Match", f'"{_hex(source, 16)}"'),
        ("Priority", source.choice(("u=0, i", "u=1", "u=4, i"))),
        ("Traceparent", f"00-{_hex(source, 32)}-{_hex(source, 16)}-01"),
        ("Dnt", "1"),
    )


@cache
def _posts(size: int, target: str, number: int) -> Sequence[bytes]:
    source = random.Random(size)
    return [request("POST", target, API_FIELDS, json_body(size, source)) for _ in range(number)]


CASES = {
    "real": Case(
        f"{REAL} requests of {CLIENTS} clients as a proxy passes them on, a fifth of them posts", real
    ),
    "post": Case(f"JSON posts of {POST_BODY} bytes", lambda: _posts(POST_BODY, "/items", 256)),
    "echo": Case(f"{ECHO_BODY} bytes posted and sent back", lambda: _posts(ECHO_BODY, "/echo", 16)),
    "hello": Case("GET with a Host and nothing else", lambda: [request("GET", "/", [HOST])]),
    "browser": Case(
        "the sixteen fields of a browser, always the same", lambda: [request("GET", "/", BROWSER_FIELDS)]
    ),
    "close": Case(
        "Connection: close, so that each request has a connection of its own",
        lambda: [request("GET", "/", [HOST, ("Connection", "close")])],
    ),
    "logged": Case("real, with the access log written to a file", real, logged=True),
    "rate": Case(f"real, at {RATE:,.0f} requests a second whatever the server does", real, rate=RATE),
}
