"""PROXY headers as a proxy would write them; tests of other parts begin connections with them too."""

import ipaddress

Address = tuple[str, int]

SIGNATURE = bytes.fromhex("0D0A0D0A000D0A515549540A")
MAPPED = bytes(10) + b"\xff\xff"
NOOP, SSL = 0x04, 0x20

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


LOCAL = raw_block(b"", 0x00, 0x20)
UNKNOWN = b"PROXY UNKNOWN\r\n"
