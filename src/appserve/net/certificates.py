"""What a certificate says of itself: its names, and from when until when it holds (RFC 5280).

Which certificate is shown to a client depends on the names in it, and `ssl` tells those of a peer's only,
after it was verified. So the few fields are taken out of the DER here: that works for every certificate that
can be served, also for one that has expired, is signed by itself or is meant for something else. The
alternative, a handshake in memory with a client that trusts the certificate, fails for just these, depends on
the ciphers and versions that are set, and has to be told to overlook each of them. Whether a certificate is
sound is still for OpenSSL to say, which loads it; a mistake here shows the wrong certificate, and no more.
"""

import binascii
import calendar
import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass

# What OpenSSL takes for a certificate. The first one of a file is the server's own, the rest its chain.
_PEM_CERTIFICATE = re.compile(
    rb"-----BEGIN (?:X509 |TRUSTED )?CERTIFICATE-----\s*([A-Za-z0-9+/=\s]*?)-----END "
)

# Tags (X.690 §8): the universal ones, [0] and [3] of TBSCertificate, [2] and [7] of GeneralName.
_BOOLEAN, _OCTETS, _OID, _UTC_TIME, _LONG_TIME, _SEQUENCE, _SET = 0x01, 0x04, 0x06, 0x17, 0x18, 0x30, 0x31
_UTF8, _PRINTABLE, _IA5 = 0x0C, 0x13, 0x16
_VERSION, _EXTENSIONS = 0xA0, 0xA3
_DNS_NAME, _IP_ADDRESS = 0x82, 0x87

_SUBJECT_ALT_NAME = bytes.fromhex("551d11")  # 2.5.29.17
_COMMON_NAME = bytes.fromhex("550403")  # 2.5.4.3

DerElement = tuple[int, bytes]
"""A tag and its content."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """`names` are in lower case, host names and addresses; "*.shop.example" stands for one label.
    `begins` and `ends` are seconds of the epoch."""

    names: tuple[str, ...]
    begins: int
    ends: int


def first_certificate(pem: bytes) -> bytes:
    """The DER of the first certificate in a PEM file, which is the server's. Raises ValueError."""
    found = _PEM_CERTIFICATE.search(pem)
    if found is None:
        raise ValueError("no certificate")
    return binascii.a2b_base64(found[1])


def read_certificate(der: bytes) -> Certificate:
    """Raises ValueError if it is not what RFC 5280 §4.1 describes."""
    certificate = _child(_children(der), _SEQUENCE)
    fields = _children(_child(_children(certificate), _SEQUENCE))
    tag, _ = next(fields, (0, b""))
    if tag == _VERSION:
        next(fields, None)  # the serial number
    for _ in ("signature", "issuer"):
        _child(fields, _SEQUENCE)
    validity = _children(_child(fields, _SEQUENCE))
    begins, ends = (_read_time(*next(validity, (0, b""))) for _ in range(2))
    subject = _child(fields, _SEQUENCE)
    names: list[str] = []
    for tag, content in fields:
        if tag == _EXTENSIONS:
            names += _alternative_names(_child(_children(content), _SEQUENCE))
    if not any(_is_host_name(name) for name in names):
        # The common name counts only where no host name is among the alternative ones (RFC 6125 §6.4.4).
        names += _common_names(subject)
    return Certificate(tuple(dict.fromkeys(names)), begins, ends)


def _children(data: bytes) -> Iterator[DerElement]:
    """The elements of which `data` consists, one after the other (X.690 §8.1, definite lengths)."""
    at = 0
    while at < len(data):
        tag = data[at]
        size = data[at + 1] if at + 1 < len(data) else 0x80
        at += 2
        if size >= 0x80:
            digits = size & 0x7F
            if not 0 < digits <= 4 or at + digits > len(data):
                raise ValueError("a length that is none")
            size = int.from_bytes(data[at : at + digits], "big")
            at += digits
        if at + size > len(data):
            raise ValueError("an element that is longer than what holds it")
        yield tag, data[at : at + size]
        at += size


def _child(elements: Iterator[DerElement], expected: int) -> bytes:
    """The content of the next element."""
    tag, content = next(elements, (0, b""))
    if tag != expected:
        raise ValueError(f"tag {tag:#04x} where {expected:#04x} is due")
    return content


def _alternative_names(extensions: bytes) -> Iterator[str]:
    for tag, extension in _children(extensions):
        if tag != _SEQUENCE:
            continue
        parts = _children(extension)
        if _child(parts, _OID) != _SUBJECT_ALT_NAME:
            continue
        tag, value = next(parts, (0, b""))
        if tag == _BOOLEAN:  # whether it is critical
            value = _child(parts, _OCTETS)
        for kind, name in _children(_child(_children(value), _SEQUENCE)):
            if kind == _DNS_NAME:
                yield name.decode("ascii", "replace").lower().rstrip(".")
            elif kind == _IP_ADDRESS and len(name) in (4, 16):
                yield socket.inet_ntop(socket.AF_INET if len(name) == 4 else socket.AF_INET6, name)


def _common_names(subject: bytes) -> Iterator[str]:
    for tag, relative in _children(subject):
        if tag != _SET:
            continue
        for _, attribute in _children(relative):
            parts = _children(attribute)
            if _child(parts, _OID) != _COMMON_NAME:
                continue
            kind, value = next(parts, (0, b""))
            name = value.decode("utf-8", "replace").lower().rstrip(".")
            if kind in (_UTF8, _PRINTABLE, _IA5) and _is_host_name(name):
                yield name


def _is_host_name(name: str) -> bool:
    return re.fullmatch(r"(\*\.)?[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?", name) is not None and not re.fullmatch(
        r"[0-9.]+", name
    )


def _read_time(tag: int, content: bytes) -> int:
    """Seconds of the epoch; two digits of a year are of 1950 to 2049 (RFC 5280 §4.1.2.5)."""
    digits = 12 if tag == _UTC_TIME else 14
    if tag not in (_UTC_TIME, _LONG_TIME) or re.fullmatch(rb"[0-9]{%d}Z" % digits, content) is None:
        raise ValueError("a time that is none")
    text = content.decode("ascii")
    if tag == _UTC_TIME:
        text = ("20" if int(text[:2]) < 50 else "19") + text
    year, rest = int(text[:4]), text[4:14]
    month, day, hour, minute, second = (int(rest[at : at + 2]) for at in range(0, 10, 2))
    return calendar.timegm((year, month, day, hour, minute, second))
