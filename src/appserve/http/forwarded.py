"""What trusted proxies say about the client of a request: X-Forwarded-*, or Forwarded (RFC 7239).

Nothing is applied of a peer that is not trusted, and of a trusted one only the fields that were chosen:
a proxy that sets one field passes on what a client wrote into another. For the same reason the two families
exclude each other. What is said is read like this:

* Lines of one name are one list, in order (RFC 9110 §5.3). X-Forwarded-For, or the `for` of Forwarded, is
  walked from the right to the client (http/forwarded.py). An entry that is no address ends the walk and is no
  error: proxies write "unknown", and what stands to the left of a client's own address is the client's.
* X-Forwarded-Proto and -Host are mostly one value, that of our peer. Where they have one for each entry of
  X-Forwarded-For, the one that counts stands where the walk ended: the proxy that wrote down the client wrote
  it down too, even if it hid the client. Otherwise all of them have to agree. proto and host of Forwarded are
  those of the element where the walk ended.
* ws and wss are http and https: the scheme is that of the handshake.
* X-Forwarded-Port and -Prefix have one value; repeating it is no contradiction.
* A port joins the host, unless it is the default of the scheme. Where no scheme is given, neither 80 nor 443
  is added.
* A prefix is a plain absolute path (RFC 3986 §3.3): no query, no empty and no dot segments, no backslash.
  What an application puts before its redirects must not lead to another host. It is percent-decoded here,
  as UTF-8, because it is cut off paths that are; an escape that makes a slash of its own is refused.
* A field without a value is as good as none.

What does not fit is a 400: the request came through a trusted proxy, so either that is misconfigured, or a
client reaches through it. To guess would be an open door.
"""

import re
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING, Any, NamedTuple

from appserve.errors import Cause, Rejected
from appserve.http.cache import remember
from appserve.http.request_line import is_valid_authority, split_authority

if TYPE_CHECKING:
    from appserve.http.fields import Fields

USUAL_HEADERS = ("x-forwarded-for", "x-forwarded-proto")
ALL_HEADERS = (
    *USUAL_HEADERS,
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-prefix",
    "forwarded",
)


def check_headers(headers: Iterable[str]) -> None:
    """Raise ValueError if these fields cannot be applied together, or one is unknown."""
    chosen = set(headers)
    if not chosen <= set(ALL_HEADERS):
        raise ValueError(f"expected {', '.join(ALL_HEADERS[:-1])} or {ALL_HEADERS[-1]}")
    if "forwarded" in chosen and len(chosen) > 1:
        raise ValueError(
            "expected either forwarded or x-forwarded-* fields: a proxy that sets one kind passes on the "
            "other as the client sent it"
        )


EXPECTED = "expected an address such as 10.0.0.7 or ::1, a network such as 10.0.0.0/8, unix or *"

LONGEST_HOST = 64
"""Characters of the longest host whose verdict is remembered; an address with a zone has no more."""

ZONE = re.compile(r"%[^%/\s]+")
# ipaddress would also take a netmask (/255.0.0.0) and its complement (/0.255.255.255) here.
NETWORK = re.compile(r"([0-9A-Fa-f:.]+)/[0-9]{1,3}")


class TrustList:
    """The peers that are trusted: addresses, networks, `unix` (all of a unix socket), `*` (every peer).

    Raises ValueError with what was expected for an entry that is none of these.
    """

    __slots__ = ("_hosts", "_networks", "_verdicts", "every_peer")

    def __init__(self, entries: Iterable[str]) -> None:
        self.every_peer = False
        self._hosts: set[str] = set()
        self._networks: list[IPv4Network | IPv6Network] = []
        self._verdicts: dict[str, bool] = {}
        for entry in entries:
            self._add(entry)

    def _add(self, entry: str) -> None:
        if entry == "*":
            self.every_peer = True
        elif entry == "unix":
            self._hosts.add("")
        elif "/" in entry:
            self._networks.append(_read_network(entry))
        else:
            address, zone = _parse_address(entry)
            if address is None:
                raise ValueError(EXPECTED)
            self._hosts.add(str(address) + zone)

    def trusts(self, host: str) -> bool:
        """Whether the peer with this address is trusted; "" is the peer of a unix socket.

        Text that is no address is not trusted, unless every peer is.
        """
        if self.every_peer:
            return True
        verdict = self._verdicts.get(host)
        if verdict is None:
            verdict = self._judge(host)
            if len(host) <= LONGEST_HOST:
                remember(self._verdicts, host, verdict)
        return verdict

    def _judge(self, host: str) -> bool:
        if not host:
            return "" in self._hosts
        address, zone = _parse_address(host)
        if address is None:
            return False
        usual = str(address)
        if usual in self._hosts or usual + zone in self._hosts:
            return True
        return any(address in network for network in self._networks)


def read_address(text: str) -> str:
    """An address in its usual form: IPv6 compressed, IPv4 that was written as IPv6 as IPv4.

    "" if the text is no address. An address with a zone is none: it means something on one machine only.
    """
    address, zone = _parse_address(text)
    return "" if address is None or zone else str(address)


def _parse_address(text: str) -> tuple[IPv4Address | IPv6Address | None, str]:
    """The address in a text, None if there is none, and its zone with the `%`."""
    bare, percent, name = text.partition("%")
    zone = percent + name
    try:
        address = ip_address(bare)
    except ValueError:
        return None, ""
    usual = (address.version == 6 and address.ipv4_mapped) or address
    if zone and (usual.version == 4 or ZONE.fullmatch(zone) is None):
        return None, ""
    return usual, zone


def _read_network(entry: str) -> IPv4Network | IPv6Network:
    """A network in CIDR notation. Raises ValueError."""
    match = NETWORK.fullmatch(entry)
    try:
        network = None if match is None else ip_network(entry, strict=False)
    except ValueError:
        network = None
    if match is None or network is None:
        raise ValueError(EXPECTED)
    mapped = network.version == 6 and network.network_address.ipv4_mapped
    usual = IPv4Network((mapped, network.prefixlen - 96)) if mapped else network
    if network.network_address != ip_address(match[1]):
        # Whether the host or its network was meant is not ours to guess.
        raise ValueError(f"expected an address or a network: a host of {usual} is neither")
    return usual


Node = tuple[str, int]
"""An address in its usual form and a port, 0 when that is not known."""

_PORT = rb"([0-9]{1,5}|_[A-Za-z0-9._\-]+)"
_IPV6 = rb"[0-9A-Fa-f:.]{2,45}"
_OCTET = rb"(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
IPV4 = re.compile(rb"%b(?:\.%b){3}" % (_OCTET, _OCTET))
"""An IPv4 address in its usual form."""

NODE = re.compile(rb"\[(%b)\](?::%b)?|([0-9.]{7,15})(?::%b)?|(%b)" % (_IPV6, _PORT, _PORT, _IPV6))

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
PAIR = re.compile(rb'(%b)=(?:(%b)|"((?:[^"\\]|\\.)*)")' % (_TOKEN, _TOKEN), re.DOTALL)
DELIMITER = re.compile(rb"[ \t]*([;,]|\Z)[ \t]*")
ESCAPED = re.compile(rb"\\(.)", re.DOTALL)

ForwardedElement = dict[bytes, bytes]
"""The parameters of one forwarded-element, names in lower case, values without quotes."""


def walk(nodes: Sequence[bytes], trust: TrustList) -> tuple[Node | None, int]:
    """The client that the entries lead to, and the index of the entry at which the walk ended.

    The first entry from the right that is not a trusted proxy is the client; if all are, the leftmost is.
    At an entry that is no address ("unknown", a pseudonym, nothing, garbage) nothing further is known: the
    client is then the hop before it, and None if there was none.
    """
    client: Node | None = None
    for index in range(len(nodes) - 1, -1, -1):
        hop = read_node(nodes[index])
        if hop is None:
            return client, index
        client = hop
        if not trust.trusts(hop[0]):
            return client, index
    return client, 0


def read_node(node: bytes) -> Node | None:
    """The address and the port of one entry, None if it has no address.

    IPv4, IPv6 and [IPv6], the first and the last with or without a port; a port may be a pseudonym
    (RFC 7239 §6.3), which is as good as none.
    """
    if IPV4.fullmatch(node) is not None:  # hot: bench real
        return node.decode("ascii"), 0
    match = NODE.fullmatch(node)
    if match is None:
        return None
    bracketed, port_6, plain, port_4, bare = match.groups()
    address = read_address((bracketed or plain or bare).decode("ascii"))
    if not address or (bracketed and b":" not in bracketed):
        return None
    port = port_6 or port_4 or b"0"
    number = 0 if port[:1] == b"_" else int(port)
    return (address, number) if number <= 65535 else None


def read_elements(value: bytes) -> list[ForwardedElement]:
    """The elements of a Forwarded field, without the empty ones.

    Blanks around `;` are let pass: they are not in the grammar, and common. Raises Rejected(400).
    Source: RFC 7239 §4, RFC 9110 §5.6.1.
    """
    elements: list[ForwardedElement] = []
    element: ForwardedElement = {}
    position = 0
    while True:
        pair = PAIR.match(value, position)
        if pair is not None:
            name, token, quoted = pair.groups()
            name = name.lower()
            if name in element:
                raise Rejected(
                    400, "a parameter occurs twice in an element of Forwarded (RFC 7239 §4)", Cause.FORWARDED
                )
            element[name] = ESCAPED.sub(rb"\1", quoted) if token is None else token
            position = pair.end()
        delimiter = DELIMITER.match(value, position)
        if delimiter is None:
            raise Rejected(400, "malformed Forwarded (RFC 7239 §4)", Cause.FORWARDED)
        position = delimiter.end()
        if delimiter[1] == b";":
            continue
        if element:
            elements.append(element)
            element = {}
        if not delimiter[1]:
            return elements


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


class Origin(NamedTuple):
    """What trusted proxies say of a request besides its client; "" and 0 where they say nothing.

    scheme   "http" or "https"
    host     as it replaces Host: "shop.example", "shop.example:8443", "[2001:db8::1]:8443"
    port     the port that the client called, as given by the host or by itself
    prefix   the path that the application is mounted at, "/shop", decoded
    """

    scheme: str
    host: str
    port: int
    prefix: str


NOTHING = Origin("", "", 0, "")

Forwarded = tuple[Node | None, Origin]
"""The client of a request, None if it is not known, and the rest."""


class Forwarding:
    """Reads what trusted proxies say. One serves a process; threads may share it.

    `fields` reads the requests: its names and its type of values are those of the values to read. Raises
    ValueError for headers that exclude each other.
    """

    __slots__ = ("_comma", "_fields", "_for", "_forms", "_known", "_names", "_trust", "names")

    def __init__(self, trust: TrustList, headers: Iterable[str], fields: "Fields[Any, Any]") -> None:
        chosen = tuple(headers)
        check_headers(chosen)
        self.names = frozenset(name.encode("ascii") for name in chosen)
        self._trust = trust
        self._fields = fields
        self._comma = fields.text(b",")
        self._for = fields.name_form(FOR) if FOR in self.names else None
        self._names = sorted(self.names - {FOR})
        self._forms = [fields.name_form(name) for name in self._names]
        # By the values, that of FOR first, which is None where it names one client alone.
        self._known: dict[tuple[Any, ...], Forwarded] = {}

    def trusts(self, peer: str) -> bool:
        """Whether the peer with this address is a trusted proxy; "" is the peer of a unix socket."""
        return self._trust.trusts(peer)

    def read(self, values: dict[Any, Any]) -> Forwarded:
        """What a trusted proxy says in a request with these fields by name, those of one name joined; NOTHING
        where it says nothing. Raises Rejected(400) for what contradicts itself.
        """
        # hot: bench real. Behind one proxy each request names another client, and the rest is the same.
        hops = values.get(self._for)
        rest = tuple(map(values.get, self._forms))
        if hops is None or self._comma in hops:
            return self._read_remembered(hops, rest)
        return read_node(self._fields.octets(hops)), self._read_remembered(None, rest)[1]

    def _read_remembered(self, hops: Any, rest: tuple[Any, ...]) -> Forwarded:
        key = (hops, *rest)
        known = self._known.get(key)
        if known is None:
            octets = self._fields.octets
            said = {
                name: octets(value)
                for name, value in zip((FOR, *self._names), key, strict=True)
                if value is not None
            }
            known = self._read_element(said) if b"forwarded" in self.names else self._read_family(said)
            if sum(map(len, said.values())) <= LONGEST:
                remember(self._known, key, known)
        return known

    def _read_family(self, said: dict[bytes, bytes]) -> Forwarded:
        """Source: the habits of proxies; no document defines X-Forwarded-*."""
        nodes = _values(said, FOR)
        client, hop = walk(nodes, self._trust)
        protos = [proto.lower() for proto in _values(said, b"x-forwarded-proto")]
        protos = _values_of_hop(protos, hop, len(nodes))
        hosts = _values_of_hop(_values(said, b"x-forwarded-host"), hop, len(nodes))
        scheme = _read_scheme(_only_value(protos, "X-Forwarded-Proto"))
        announced = _read_port(_only_value(_values(said, b"x-forwarded-port"), "X-Forwarded-Port"))
        host, port = _read_host(_only_value(hosts, "X-Forwarded-Host"), announced, scheme)
        prefix = _read_prefix(_only_value(_values(said, b"x-forwarded-prefix"), "X-Forwarded-Prefix"))
        return client, Origin(scheme, host, port, prefix)

    def _read_element(self, said: dict[bytes, bytes]) -> Forwarded:
        """Source: RFC 7239 §5, §7.4."""
        elements = read_elements(said.get(b"forwarded", b""))
        if not elements:
            return None, NOTHING
        client, hop = walk([element.get(b"for", b"") for element in elements], self._trust)
        scheme = _read_scheme(elements[hop].get(b"proto", b"").lower())
        host, port = _read_host(elements[hop].get(b"host", b""), 0, scheme)
        return client, Origin(scheme, host, port, "")


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
        raise Rejected(400, "unsupported forwarded scheme: only http and https", Cause.FORWARDED)
    return scheme


def _read_port(value: bytes) -> int:
    if not value:
        return 0
    if not value.isdigit() or len(value) > 5 or not 1 <= int(value) <= 65535:
        raise Rejected(400, "X-Forwarded-Port is not a port", Cause.FORWARDED)
    return int(value)


def _read_host(value: bytes, announced: int, scheme: str) -> tuple[str, int]:
    """The host as it replaces Host, and the port; `announced` is the port of X-Forwarded-Port."""
    if not value:
        return "", announced
    name, own = split_authority(value.decode("ascii")) if is_valid_authority(value) else ("", None)
    if not name or own == 0:
        raise Rejected(400, "malformed forwarded host (RFC 9110 §7.2)", Cause.FORWARDED)
    if own is None:
        return with_port(name, announced, scheme), announced
    if announced and announced != own:
        raise Rejected(
            400,
            "contradiction: the forwarded host and X-Forwarded-Port have different ports",
            Cause.FORWARDED,
        )
    return f"{name}:{own}", own


def _read_prefix(value: bytes) -> str:
    if not value:
        return ""
    if PREFIX.fullmatch(value) is None:
        raise Rejected(400, "X-Forwarded-Prefix is not an absolute path (RFC 3986 §3.3)", Cause.FORWARDED)
    path = ESCAPE.sub(lambda escape: bytes.fromhex(escape[1].decode("ascii")), value)
    try:
        decoded = path.decode("utf-8")
    except UnicodeDecodeError:
        raise Rejected(400, "X-Forwarded-Prefix is not UTF-8", Cause.FORWARDED) from None
    if UNFIT.search(path) is not None or path.count(b"/") != value.count(b"/") or not decoded.isprintable():
        raise Rejected(
            400, "X-Forwarded-Prefix has a dot segment or a backslash: path traversal", Cause.FORWARDED
        )
    return decoded.rstrip("/")
