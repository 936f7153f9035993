"""Whose word about a client is believed: a list of proxies.

Addresses are compared in one form: an IPv4 address that came in as IPv6 (::ffff:10.0.0.7, which is what a
socket for both families reports) is the IPv4 address, for peers and for entries alike. Therefore ::/0 is
every IPv6 peer and no IPv4 peer. A zone ("fe80::1%eth0") is the name of a link of this machine: an entry with
a zone is a peer on that link, an entry without one is the peer on any.
"""

import re
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from appserve.http.memory import remember

EXPECTED = "expected an address such as 10.0.0.7 or ::1, a network such as 10.0.0.0/8, unix or *"

LONGEST = 64
"""Characters of the longest host whose verdict is remembered; an address with a zone has no more."""

ZONE = re.compile(r"%[^%/\s]+")
# ipaddress would also take a netmask (/255.0.0.0) and its complement (/0.255.255.255) here.
NETWORK = re.compile(r"([0-9A-Fa-f:.]+)/[0-9]{1,3}")


class TrustList:
    """The peers that are believed: addresses, networks, `unix` (all of a unix socket), `*` (everybody).

    Raises ValueError with what was expected for an entry that is none of these.
    """

    __slots__ = ("_hosts", "_networks", "_verdicts", "everybody")

    def __init__(self, entries: Iterable[str]) -> None:
        self.everybody = False
        self._hosts: set[str] = set()
        self._networks: list[IPv4Network | IPv6Network] = []
        self._verdicts: dict[str, bool] = {}
        for entry in entries:
            self._add(entry)

    def _add(self, entry: str) -> None:
        if entry == "*":
            self.everybody = True
        elif entry == "unix":
            self._hosts.add("")
        elif "/" in entry:
            self._networks.append(_read_network(entry))
        else:
            address, zone = _read_host(entry)
            if address is None:
                raise ValueError(EXPECTED)
            self._hosts.add(str(address) + zone)

    def trusts(self, host: str) -> bool:
        """Whether the peer with this address is believed; "" is the peer of a unix socket.

        Text that is no address is not believed, unless everybody is.
        """
        if self.everybody:
            return True
        verdict = self._verdicts.get(host)
        if verdict is None:
            verdict = self._judge(host)
            if len(host) <= LONGEST:
                remember(self._verdicts, host, verdict)
        return verdict

    def _judge(self, host: str) -> bool:
        if not host:
            return "" in self._hosts
        address, zone = _read_host(host)
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
    address, zone = _read_host(text)
    return "" if address is None or zone else str(address)


def _read_host(text: str) -> tuple[IPv4Address | IPv6Address | None, str]:
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
