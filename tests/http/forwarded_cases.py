"""What the fields of trusted proxies mean: one table for the environ of WSGI and the scope of ASGI.

How the fields are read is tested in test_forwarded.py and test_hops.py.
"""

from dataclasses import dataclass

OWN = "a.example"


@dataclass(frozen=True, slots=True)
class Forwarded:
    """A request of a proxy, and its origin as an application has to see it.

    fields   the field lines of the proxy
    host     the Host that was sent; None for none
    client   address and port; None for the peer's
    seen     the Host that the application sees
    server   name and port; None for those of the socket and the Host that was sent
    """

    fields: tuple[str, ...]
    host: str | None = OWN
    client: tuple[str, int] | None = None
    scheme: str = "http"
    seen: str | None = OWN
    server: tuple[str, int] | None = None


HTTPS = "X-Forwarded-Proto: https"
SHOP = "X-Forwarded-Host: shop.example"

FORWARDED = (
    Forwarded(()),
    Forwarded(("X-Forwarded-For: 192.0.2.77",), client=("192.0.2.77", 0)),
    Forwarded(("X-Forwarded-For: [2001:DB8::7]:99",), client=("2001:db8::7", 99)),
    Forwarded(
        ("X-Forwarded-For: 6.6.6.6, 192.0.2.77:99", "X-Forwarded-For: 10.0.0.2"), client=("192.0.2.77", 99)
    ),
    Forwarded(("X-Forwarded-For: unknown",)),
    Forwarded((HTTPS,), scheme="https"),
    Forwarded(("X-Forwarded-Proto: http",)),
    Forwarded(("X-Forwarded-For: 192.0.2.77", HTTPS), client=("192.0.2.77", 0), scheme="https"),
    Forwarded((SHOP,), seen="shop.example", server=("shop.example", 80)),
    Forwarded((SHOP,), "upstream:8000", seen="shop.example", server=("shop.example", 80)),
    Forwarded((SHOP,), None, seen="shop.example", server=("shop.example", 80)),
    Forwarded((SHOP + ":8443",), seen="shop.example:8443", server=("shop.example", 8443)),
    Forwarded(("X-Forwarded-Host: [2001:db8::1]:81",), seen="[2001:db8::1]:81", server=("2001:db8::1", 81)),
    Forwarded((SHOP, HTTPS), scheme="https", seen="shop.example", server=("shop.example", 443)),
    Forwarded((SHOP, "X-Forwarded-Port: 8080"), seen="shop.example:8080", server=("shop.example", 8080)),
    Forwarded(("X-Forwarded-Port: 8080",), seen="a.example:8080", server=("a.example", 8080)),
    Forwarded(("X-Forwarded-Port: 443", HTTPS), scheme="https", server=("a.example", 443)),
    Forwarded(("X-Forwarded-Port: 8443",), "a.example:9", seen="a.example:9", server=("a.example", 8443)),
)


@dataclass(frozen=True, slots=True)
class Mounted:
    """Where an application is mounted, and the path of a request: `root` and what is below it, as seen."""

    root_path: str
    prefix: str
    received: str
    root: str
    below: str


MOUNTED = (
    Mounted("/shop", "", "/items/1", "/shop", "/items/1"),  # the proxy strips
    Mounted("/shop", "", "/shop/items/1", "/shop", "/items/1"),  # it does not
    Mounted("/shop", "", "/shop", "/shop", ""),
    Mounted("/shop", "", "/", "/shop", "/"),
    Mounted("/shop", "", "/shopping", "/shop", "/shopping"),
    Mounted("", "/p", "/x", "/p", "/x"),
    Mounted("", "/p", "/p/x", "/p", "/x"),
    Mounted("", "/p", "/p", "/p", ""),
    Mounted("", "/p", "/p/", "/p", "/"),
    Mounted("", "/p", "/px", "/p", "/px"),
    Mounted("", "/p", "/p/p/x", "/p", "/p/x"),
    Mounted("/own", "/p", "/p/own/x", "/p/own", "/x"),
    Mounted("/own", "/p", "/own/x", "/p/own", "/x"),  # the proxy strips its own part
    Mounted("/own", "/p", "/x", "/p/own", "/x"),  # or another one more than that
    Mounted("/own", "/", "/own/x", "/own", "/x"),
    Mounted("", "", "/items/1", "", "/items/1"),
)
