"""What trusted proxies say about the client of a request: X-Forwarded-*, or Forwarded (RFC 7239).

Nothing is believed from a peer that is not trusted, and of a trusted one only the fields that were chosen:
a proxy that sets one field passes on what a client wrote into another. For the same reason the two families
exclude each other. What is said is read like this:

* Lines of one name are one list, in order (RFC 9110 §5.3). X-Forwarded-For, or the `for` of Forwarded, is
  walked from the right to the client (http/hops.py). An entry that is no address ends the walk and is no
  error: proxies write "unknown", and what stands to the left of a client's own address is the client's.
* X-Forwarded-Proto and -Host are mostly one value, that of our peer. Where they have one for each entry of
  X-Forwarded-For, the one that counts stands where the walk ended: the proxy that wrote down the client wrote
  it down too, even if it hid the client. Otherwise all of them have to agree. proto and host of Forwarded are
  those of the element where the walk ended.
* ws and wss are http and https: the scheme is that of the handshake.
* X-Forwarded-Port and -Prefix have one value; repeating it is no contradiction.
* A port joins the host, unless it is the default of the scheme. Where no scheme is told, neither 80 nor 443
  is added.
* A prefix is a plain absolute path (RFC 3986 §3.3): no query, no empty and no dot segments, no backslash.
  What an application puts before its redirects must not lead to another host. It is percent-decoded here,
  as UTF-8, because it is cut off paths that are; an escape that makes a slash of its own is refused.
* A field without a value is as good as none.

What does not fit is a 400: the request came through a trusted proxy, so either that is misconfigured, or a
client reaches through it. To guess would be an open door.
"""

import re
from collections.abc import Iterable
from typing import NamedTuple

from appserve.errors import Cause, Rejected
from appserve.http.hops import Client, read_elements, read_node, walk
from appserve.http.host import is_valid_authority, split_authority
from appserve.http.memory import remember
from appserve.http.proxy_fields import check_headers
from appserve.http.trust import TrustList

LONGEST = 512
"""Bytes that the values of a request may have together and still be remembered."""

FOR = b"x-forwarded-for"

SCHEMES = {b"http": "http", b"https": "https", b"ws": "http", b"wss": "https"}

DEFAULT_PORTS = {"http": (80,), "https": (443,), "": (80, 443)}
"""The ports that go without saying for a scheme, "" being one that is not known."""

PREFIX = re.compile(rb"(?:/(?:[A-Za-z0-9\-._~!$&'()*+=:;@]|%[0-9A-Fa-f]{2})+)*/?")
ESCAPE = re.compile(rb"%([0-9A-Fa-f]{2})")
UNFIT = re.compile(rb"\\|/\.\.?(?:/|\Z)")
"""What a decoded prefix must not hold: a backslash, which is a slash to a browser, and dot segments."""

Fields = tuple[tuple[bytes, bytes], ...]


class Origin(NamedTuple):
    """What trusted proxies say; None, "" and 0 where they say nothing.

    client   address and port of the client; the port is 0 when it is not known
    scheme   "http" or "https"
    host     as it replaces Host: "shop.example", "shop.example:8443", "[2001:db8::1]:8443"
    port     the port that the client called, as told by the host or by itself
    prefix   the path that the application is mounted at, "/shop", decoded
    """

    client: Client | None
    scheme: str
    host: str
    port: int
    prefix: str


NOTHING = Origin(None, "", "", 0, "")


class Forwarding:
    """Reads what trusted proxies say. One serves a process; threads may share it.

    Raises ValueError for headers that exclude each other.
    """

    __slots__ = ("_last", "_origins", "_trust", "names")

    def __init__(self, trust: TrustList, headers: Iterable[str]) -> None:
        chosen = tuple(headers)
        check_headers(chosen)
        self.names = frozenset(name.encode("ascii") for name in chosen)
        self._trust = trust
        self._origins: dict[Fields, Origin] = {}
        self._last: tuple[Fields, Origin | None] = ((), None)  # one store: threads share it

    def believes(self, peer: str) -> bool:
        """Whether the peer with this address is a trusted proxy; "" is the peer of a unix socket."""
        return self._trust.trusts(peer)

    def read(self, peer: str, fields: Fields) -> Origin | None:
        """What the peer says in `fields`, those of one request whose lower-case name is in `names`, in order.

        Values are without outer blanks. None if it says nothing, or is not believed. Raises Rejected(400)
        for what contradicts itself.
        """
        if not self._trust.trusts(peer):
            return None
        last, known = self._last
        if fields == last:  # hot: bench browser. A connection of one client repeats itself.
            return known
        # hot: bench real. Behind one proxy each request names another client, and the rest is the same.
        hops = [value for name, value in fields if name == FOR]
        if len(hops) == 1 and b"," not in hops[0]:
            rest = self._read_remembered(tuple([field for field in fields if field[0] != FOR]))
            client = read_node(hops[0].strip(b" \t")) if FOR in self.names else None
            origin = Origin(client, rest.scheme, rest.host, rest.port, rest.prefix)
        else:
            origin = self._read_remembered(fields)
        found = None if origin == NOTHING else origin
        self._last = fields, found
        return found

    def _read_remembered(self, fields: Fields) -> Origin:
        origin = self._origins.get(fields)
        if origin is None:
            origin = self._read(fields)
            if sum(len(value) for _, value in fields) <= LONGEST:
                remember(self._origins, fields, origin)
        return origin

    def _read(self, fields: Fields) -> Origin:
        lines: dict[bytes, list[bytes]] = {}
        for name, value in fields:
            if name in self.names:
                lines.setdefault(name, []).append(value)
        said = {name: b",".join(values) for name, values in lines.items()}
        return self._read_element(said) if b"forwarded" in self.names else self._read_family(said)

    def _read_family(self, said: dict[bytes, bytes]) -> Origin:
        """Source: the habits of proxies; no document defines X-Forwarded-*."""
        nodes = _values(said, FOR)
        client, hop = walk(nodes, self._trust)
        protos = [proto.lower() for proto in _values(said, b"x-forwarded-proto")]
        protos = _values_of_hop(protos, hop, len(nodes))
        hosts = _values_of_hop(_values(said, b"x-forwarded-host"), hop, len(nodes))
        scheme = _read_scheme(_only_value(protos, "X-Forwarded-Proto"))
        told = _read_port(_only_value(_values(said, b"x-forwarded-port"), "X-Forwarded-Port"))
        host, port = _read_host(_only_value(hosts, "X-Forwarded-Host"), told, scheme)
        prefix = _read_prefix(_only_value(_values(said, b"x-forwarded-prefix"), "X-Forwarded-Prefix"))
        return Origin(client, scheme, host, port, prefix)

    def _read_element(self, said: dict[bytes, bytes]) -> Origin:
        """Source: RFC 7239 §5, §7.4."""
        elements = read_elements(said.get(b"forwarded", b""))
        if not elements:
            return NOTHING
        client, hop = walk([element.get(b"for", b"") for element in elements], self._trust)
        scheme = _read_scheme(elements[hop].get(b"proto", b"").lower())
        host, port = _read_host(elements[hop].get(b"host", b""), 0, scheme)
        return Origin(client, scheme, host, port, "")


def with_port(host: str, port: int, scheme: str) -> str:
    """The value of Host for a host name, or an IP literal in brackets, and a port (0: not known)."""
    return f"{host}:{port}" if port and port not in DEFAULT_PORTS[scheme] else host


def _values(said: dict[bytes, bytes], name: bytes) -> list[bytes]:
    """The members of a list, empty ones too, because they have places; [] if there is nothing else."""
    value = said.get(name, b"")
    return [one.strip(b" \t") for one in value.split(b",")] if value.strip(b" \t,") else []


def _values_of_hop(values: list[bytes], hop: int, hops: int) -> list[bytes]:
    """The value that belongs to the hop, if there is one for each; else all of them."""
    return [values[hop]] if len(values) == hops > 1 else values


def _only_value(values: list[bytes], field: str) -> bytes:
    """What all of the values are, b"" if there is none."""
    if len(set(values)) > 1:
        raise Rejected(400, f"contradiction: {field} has several values for one client", Cause.FORWARDED)
    return values[0] if values else b""


def _read_scheme(value: bytes) -> str:
    if not value:
        return ""
    scheme = SCHEMES.get(value)
    if scheme is None:
        raise Rejected(400, "a proxy told a scheme that is neither http nor https", Cause.FORWARDED)
    return scheme


def _read_port(value: bytes) -> int:
    if not value:
        return 0
    if not value.isdigit() or len(value) > 5 or not 1 <= int(value) <= 65535:
        raise Rejected(400, "X-Forwarded-Port is no port", Cause.FORWARDED)
    return int(value)


def _read_host(value: bytes, told: int, scheme: str) -> tuple[str, int]:
    """The host as it replaces Host, and the port; `told` is the port that was told besides it."""
    if not value:
        return "", told
    name, own = split_authority(value.decode("ascii")) if is_valid_authority(value) else ("", None)
    if not name or own == 0:
        raise Rejected(400, "a proxy told a malformed host (RFC 9110 §7.2)", Cause.FORWARDED)
    if own is None:
        return with_port(name, told, scheme), told
    if told and told != own:
        raise Rejected(
            400,
            "contradiction: the port in the host that a proxy told is not X-Forwarded-Port",
            Cause.FORWARDED,
        )
    return f"{name}:{own}", own


def _read_prefix(value: bytes) -> str:
    if not value:
        return ""
    if PREFIX.fullmatch(value) is None:
        raise Rejected(400, "X-Forwarded-Prefix is no plain absolute path (RFC 3986 §3.3)", Cause.FORWARDED)
    path = ESCAPE.sub(lambda escape: bytes.fromhex(escape[1].decode("ascii")), value)
    try:
        decoded = path.decode("utf-8")
    except UnicodeDecodeError:
        raise Rejected(400, "X-Forwarded-Prefix is not in UTF-8", Cause.FORWARDED) from None
    if UNFIT.search(path) is not None or path.count(b"/") != value.count(b"/") or not decoded.isprintable():
        raise Rejected(
            400, "X-Forwarded-Prefix holds what a path prefix must not: path traversal", Cause.FORWARDED
        )
    return decoded.rstrip("/")
