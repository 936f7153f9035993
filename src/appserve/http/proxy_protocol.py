"""The PROXY header, with which a proxy that passes bytes on says at first whose they are.

"The PROXY protocol, versions 1 & 2", HAProxy's specification. Version 1 is a line of text, version 2 a block
with a length. A peer that may send one chooses the address that the application sees, so it is read only
where the operator expects it, from the peers that were named, and then it has to be there: a header that is
merely tried would let any client claim any address.

Verdicts do not depend on how the bytes were split: what may still become a header is waited for, and what can
no longer become one is refused at once.
"""

import re
from dataclasses import dataclass
from ipaddress import IPv6Address
from struct import Struct
from typing import TypeAlias

from appserve.errors import Rejected

LONGEST = 4096
"""Bytes that a header may have; the length of version 2 could ask us to wait for 65551."""

LONGEST_LINE = 107
"""Bytes that a line of version 1 may have with its CRLF (§2.1)."""

BEGINNING = b"PROXY "
SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"

_ALL_BEGINNINGS = {"v1": (BEGINNING,), "v2": (SIGNATURE,), "auto": (BEGINNING, SIGNATURE)}
_SECTIONS = {"v1": "of version 1 (PROXY protocol §2.1)", "v2": "of version 2 (PROXY protocol §2.2)"}

# Version 1. A line is judged when it is complete; until then only its characters are.
_PORT = rb"(0|[1-9][0-9]{0,4})"
_OCTET = rb"(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_IPV4 = rb"(" + _OCTET + rb"(?:\." + _OCTET + rb"){3})"
_TCP4_LINE = re.compile(rb"PROXY TCP4 %b %b %b %b" % (_IPV4, _IPV4, _PORT, _PORT))
# HAProxy writes an IPv4 client of an IPv6 listener as ::ffff:192.0.2.1, so dots are taken too.
_TCP6_LINE = re.compile(rb"PROXY TCP6 ([0-9A-Fa-f:.]{2,45}) ([0-9A-Fa-f:.]{2,45}) %b %b" % (_PORT, _PORT))
# Nothing of this line is applied (§2.1). A lone CR or LF would end it for a less strict reader.
_UNKNOWN_LINE = re.compile(rb"PROXY UNKNOWN(?: [^\r\n]*)?")

_FAMILIES = (b"TCP4", b"TCP6", b"UNKNOWN\r")
_VIABLE_TCP4 = re.compile(rb"[0-9.]{0,15}(?: [0-9.]{0,15}(?: [0-9]{0,5}(?: [0-9]{0,5}\r?)?)?)?")
_VIABLE_TCP6 = re.compile(rb"[0-9A-Fa-f:.]{0,45}(?: [0-9A-Fa-f:.]{0,45}(?: [0-9]{0,5}(?: [0-9]{0,5}\r?)?)?)?")
_VIABLE_UNKNOWN = re.compile(rb"[^\r\n]*\r?")

# Version 2: the byte of version and command, that of family and transport, and how long addresses are.
_LOCAL, _PROXY = 0x20, 0x21
_UNSPECIFIED, _TCP_OVER_IPV4, _TCP_OVER_IPV6, _UNIX_STREAM = 0x00, 0x11, 0x21, 0x31
_DATAGRAMS = frozenset({0x12, 0x22, 0x32})
_FIXED = 16
_IPV4_ADDRESSES, _IPV6_ADDRESSES = Struct("!4s4sHH"), Struct("!16s16sHH")
_ADDRESS_SIZES = {
    _UNSPECIFIED: 0,
    _TCP_OVER_IPV4: _IPV4_ADDRESSES.size,
    _TCP_OVER_IPV6: _IPV6_ADDRESSES.size,
    _UNIX_STREAM: 216,
}

_TYPE_SSL = 0x20
_CLIENT_SSL = 0x01  # a bit of PP2_TYPE_SSL's first byte: the client spoke TLS with the proxy
_SSL_FIXED = 5  # that byte, and 4 that tell how its certificate was verified

Endpoint: TypeAlias = tuple[str, int] | str
"""An address and a port, or "" for a unix socket. An IPv4 address within IPv6 is written as IPv4."""


@dataclass(frozen=True, slots=True)
class ProxyHeader:
    """What a proxy says of the connection that it passes on.

    source       the client. None if nothing is said: the proxy calls in its own name, as for a health check,
                 or has a client that it cannot describe. HAProxy sends LOCAL in both cases, so the socket's
                 own addresses are all that is known then, and the client may be any: what a request says
                 of where it came from must not be trusted.
    destination  what the client had called; None if `source` is
    over_tls     the client spoke TLS with the proxy
    """

    source: Endpoint | None
    destination: Endpoint | None
    over_tls: bool = False


_UNANNOUNCED = ProxyHeader(None, None)


def read_proxy_header(data: bytes, version: str) -> tuple[ProxyHeader, int] | None:
    """The header at the beginning of `data`, and how many bytes it has; None if more has to come.

    `version` is what is expected: v1, v2 or auto, which is either. Raises Rejected (400) for anything else.
    """
    for beginning in _ALL_BEGINNINGS[version]:
        if data[: len(beginning)] == beginning[: len(data)]:
            return _read_line(data) if beginning is BEGINNING else _read_block(data)
    raise Rejected(400, f"no PROXY header {_SECTIONS.get(version, '(PROXY protocol §2)')}")


# ── version 1 ──


def _read_line(data: bytes) -> tuple[ProxyHeader, int] | None:
    end = data.find(b"\r\n", 0, LONGEST_LINE)
    if end >= 0:
        return _parse_line(data[:end]), end + 2
    last = LONGEST_LINE - 2  # where CR has to stand at the latest
    if not _is_viable_line(data[: last + 1]):
        raise _malformed_line()
    if len(data) > last and data[last] != ord("\r"):
        raise Rejected(400, f"a PROXY line longer than {LONGEST_LINE} bytes (PROXY protocol §2.1)")
    if len(data) >= LONGEST_LINE:
        raise _malformed_line()
    return None


def _malformed_line() -> Rejected:
    return Rejected(400, "malformed PROXY line (PROXY protocol §2.1)")


def _is_viable_line(data: bytes) -> bool:
    """Whether this beginning of a line, which holds no CRLF, may become a line."""
    family, blank, rest = data[len(BEGINNING) :].partition(b" ")
    if not blank:
        return any(known.startswith(family) for known in _FAMILIES)
    if family == b"TCP4":
        return _VIABLE_TCP4.fullmatch(rest) is not None
    if family == b"TCP6":
        return _VIABLE_TCP6.fullmatch(rest) is not None
    return family == b"UNKNOWN" and _VIABLE_UNKNOWN.fullmatch(rest) is not None


def _parse_line(line: bytes) -> ProxyHeader:
    if _UNKNOWN_LINE.fullmatch(line) is not None:
        return _UNANNOUNCED
    match = _TCP4_LINE.fullmatch(line)
    if match is not None:
        source, destination = match[1].decode("ascii"), match[2].decode("ascii")
    else:
        match = _TCP6_LINE.fullmatch(line)
        if match is None:
            raise _malformed_line()
        source, destination = _ipv6_of_text(match[1]), _ipv6_of_text(match[2])
    return ProxyHeader((source, _port(match[3])), (destination, _port(match[4])))


def _ipv6_of_text(text: bytes) -> str:
    try:
        return _show_ipv6(IPv6Address(text.decode("ascii")))
    except ValueError:
        raise _malformed_line() from None


def _port(digits: bytes) -> int:
    port = int(digits)
    if port > 65535:
        raise _malformed_line()
    return port


def _show_ipv6(address: IPv6Address) -> str:
    """The one form of an address, however a proxy writes it: the same client has to be the same."""
    return str(address.ipv4_mapped or address)


# ── version 2 ──


def _read_block(data: bytes) -> tuple[ProxyHeader, int] | None:
    """Each byte is judged as soon as it is there, because it decides how long we wait for the others."""
    if len(data) <= 12:
        return None
    command = data[12]
    if command not in {_LOCAL, _PROXY}:
        raise Rejected(400, "a PROXY header of unknown version or command (PROXY protocol §2.2)")
    if len(data) <= 13:
        return None
    # With LOCAL all that follows is ignored, the family too (§2.2).
    family = data[13] if command == _PROXY else _UNSPECIFIED
    if family in _DATAGRAMS:
        raise Rejected(400, "unsupported PROXY transport: datagrams (PROXY protocol §2.2)")
    if family not in _ADDRESS_SIZES:
        raise Rejected(400, "a PROXY header of unknown family or transport (PROXY protocol §2.2)")
    if len(data) < _FIXED:
        return None
    size = _FIXED + int.from_bytes(data[14:16], "big")
    if size > LONGEST:
        raise Rejected(400, f"a PROXY header longer than {LONGEST} bytes (PROXY protocol §2.2)")
    if size < _FIXED + _ADDRESS_SIZES[family]:
        raise Rejected(400, "a PROXY header too short for its addresses (PROXY protocol §2.2)")
    if len(data) < size:
        return None
    return _UNANNOUNCED if family == _UNSPECIFIED else _parse_block(data[:size], family), size


def _parse_block(block: bytes, family: int) -> ProxyHeader:
    source, destination = _read_endpoints(block, family)
    return ProxyHeader(source, destination, _is_over_tls(block, _FIXED + _ADDRESS_SIZES[family]))


def _read_endpoints(block: bytes, family: int) -> tuple[Endpoint, Endpoint]:
    if family == _UNIX_STREAM:
        return "", ""  # as for the clients of our own unix sockets: their paths mean nothing
    layout = _IPV4_ADDRESSES if family == _TCP_OVER_IPV4 else _IPV6_ADDRESSES
    source, destination, source_port, destination_port = layout.unpack_from(block, _FIXED)
    return (_show_ip(source), source_port), (_show_ip(destination), destination_port)


def _show_ip(packed: bytes) -> str:
    return ".".join(map(str, packed)) if len(packed) == 4 else _show_ipv6(IPv6Address(packed))


def _is_over_tls(block: bytes, at: int) -> bool:
    """Whether the type-length-value vectors from `at` on report TLS between client and proxy (§2.2.6).
    The others are skipped (§2.2), the checksum too, which receivers need not support (§2.2.3)."""
    is_seen = over_tls = False
    while at < len(block):
        begin = at + 3
        end = begin + int.from_bytes(block[at + 1 : begin], "big")
        if end > len(block):
            raise Rejected(400, "a PROXY header with a malformed TLV length (PROXY protocol §2.2)")
        if block[at] == _TYPE_SSL:
            if is_seen or end - begin < _SSL_FIXED:
                raise Rejected(
                    400, "a PROXY header with a malformed or second PP2_TYPE_SSL (PROXY protocol §2.2.6)"
                )
            is_seen, over_tls = True, bool(block[begin] & _CLIENT_SSL)
        at = end
    return over_tls
