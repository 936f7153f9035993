"""PROXY headers as a proxy would write them; tests of other parts begin connections with them too."""

import ipaddress

Address = tuple[str, int]

SIGNATURE = bytes.fromhex("0D0A0D0A000D0A515549540A")
MAPPED = bytes(10) + b"\xff\xff"
CRC32C, NOOP, SSL = 0x03, 0x04, 0x20

CLIENT: Address = ("192.0.2.7", 56324)
CALLED: Address = ("198.51.100.1", 443)


def line(source: Address = CLIENT, destination: Address = CALLED) -> bytes:
    """A header of version 1."""
    family = "TCP6" if ":" in source[0] else "TCP4"
    return f"PROXY {family} {source[0]} {destination[0]} {source[1]} {destination[1]}\r\n".encode()


def vector(kind: int, value: bytes) -> bytes:
    return bytes([kind]) + len(value).to_bytes(2, "big") + value


def tls(client: int = 1, vectors: bytes = b"") -> bytes:
    """PP2_TYPE_SSL: the client spoke TLS."""
    return vector(SSL, bytes([client]) + bytes(4) + vectors)


def raw_block(rest: bytes, family: int = 0x11, command: int = 0x21) -> bytes:
    """A header of version 2 around whatever bytes."""
    return SIGNATURE + bytes([command, family]) + len(rest).to_bytes(2, "big") + rest


def unix_block(vectors: bytes = b"") -> bytes:
    """A header of version 2 for the client of a unix socket."""
    return raw_block(b"/run/client".ljust(108, b"\0") + b"/run/proxy".ljust(108, b"\0") + vectors, 0x31)


def block(source: Address = CLIENT, destination: Address = CALLED, vectors: bytes = b"") -> bytes:
    """A header of version 2. Where the families differ, IPv4 is written as IPv6, as proxies do it."""
    hosts = [ipaddress.ip_address(host).packed for host, _ in (source, destination)]
    if len(hosts[0]) != len(hosts[1]):
        hosts = [packed if len(packed) == 16 else MAPPED + packed for packed in hosts]
    ports = [port.to_bytes(2, "big") for _, port in (source, destination)]
    return raw_block(b"".join([*hosts, *ports, vectors]), 0x21 if len(hosts[0]) == 16 else 0x11)


def checked_block(vectors: bytes = b"", behind: bytes = b"") -> bytes:
    """A header of version 2 with its checksum, between other vectors."""
    zeroed = block(vectors=vectors + vector(CRC32C, bytes(4)) + behind)
    at = len(zeroed) - len(behind) - 4
    return zeroed[:at] + crc32c(zeroed).to_bytes(4, "big") + zeroed[at + 4 :]


def crc32c(data: bytes) -> int:
    """By long division, bit after bit, of RFC 4960 appendix B."""
    remainder = 0xFFFFFFFF
    for byte in data:
        for bit in range(8):
            feedback = (remainder ^ byte >> bit) & 1
            remainder = remainder >> 1 ^ (0x82F63B78 if feedback else 0)
    return remainder ^ 0xFFFFFFFF


LOCAL = raw_block(b"", 0x00, 0x20)
UNKNOWN = b"PROXY UNKNOWN\r\n"
