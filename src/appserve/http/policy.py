"""What a request head must be beyond its grammar, and how its body is framed.

llhttp reads heads and is strict about characters; what it leaves to its user is here: Host, connection
options, framing that two servers could read in two ways, expectations, upgrades. Every refusal cites the
rule or the attack.
"""

from collections.abc import Sequence
from enum import IntEnum

from appserve.errors import Rejected
from appserve.http.grammar import TOKEN
from appserve.http.host import is_valid_authority
from appserve.http.limits import Limits
from appserve.http.messages import CHUNKED, RequestLine, Rules


class Kind(IntEnum):
    """What a request field means to the connection itself."""

    HOST = 1
    CONNECTION = 2
    CONTENT_LENGTH = 3
    TRANSFER_ENCODING = 4
    EXPECT = 5
    UPGRADE = 6
    DROPPED = 7
    SECRET = 8  # it means nothing to the connection, but must not be kept


Special = tuple[int, bytes]
"""A field that concerns the connection: its Kind as a plain int (an enum's hash is slow), and its value."""


KINDS = {
    b"host": Kind.HOST,
    b"connection": Kind.CONNECTION,
    b"content-length": Kind.CONTENT_LENGTH,
    b"transfer-encoding": Kind.TRANSFER_ENCODING,
    b"expect": Kind.EXPECT,
    b"upgrade": Kind.UPGRADE,
    b"cookie": Kind.SECRET,
    b"authorization": Kind.SECRET,
    b"proxy-authorization": Kind.SECRET,
}

FRAMING_KINDS = frozenset({Kind.CONTENT_LENGTH.value, Kind.TRANSFER_ENCODING.value, Kind.EXPECT.value})


PLAIN_ON_TLS = "plain HTTP on a port that speaks HTTPS: begin the address with https://"
"""Why a request without TLS is refused where TLS is spoken."""


def read_rules(line: RequestLine, specials: Sequence[Special], limits: Limits) -> Rules:
    """Judge the fields that have a meaning for the connection; `specials` are they, in order.

    Raises Rejected: 400 for what is ambiguous, 413 for a body over the limit, 417 and 501 for what is
    clear and not offered.
    """
    hosts = 0
    options: set[bytes] = set()
    lengths: list[bytes] = []
    codings: list[bytes] = []
    expectations: list[bytes] = []
    offers: list[bytes] = []
    has_secret = False
    for kind, value in specials:
        if kind == Kind.HOST:
            hosts += 1
            _check_host(value)
        elif kind == Kind.CONNECTION:
            options.update(option.strip(b" \t").lower() for option in value.split(b","))
        elif kind == Kind.CONTENT_LENGTH:
            lengths.append(value)
        elif kind == Kind.TRANSFER_ENCODING:
            codings.append(value)
        elif kind == Kind.EXPECT:
            expectations.append(value.lower())
        elif kind == Kind.UPGRADE and value.strip(b", \t"):
            offers.append(value)
        elif kind == Kind.SECRET:
            has_secret = True
    is_1_1 = line.version == "1.1"
    if hosts != 1 and (is_1_1 or hosts > 1):
        raise Rejected(400, "an HTTP/1.1 request has exactly one Host (RFC 9112 §3.2)")
    body_length = _body_length(is_1_1, lengths, codings, limits)
    if is_1_1:
        expects_continue = _expects_continue(expectations) and body_length != 0
        keep_alive = b"close" not in options
    else:
        # RFC 9110 §10.1.1: an expectation in HTTP/1.0 is ignored.
        expects_continue = False
        keep_alive = b"keep-alive" in options and b"close" not in options
    upgrade = b", ".join(offers) if is_1_1 and b"upgrade" in options else b""
    may_be_held = not body_length and not has_secret
    return Rules(line.version, keep_alive, body_length, expects_continue, upgrade, may_be_held)


def _check_host(value: bytes) -> None:
    # An http URI with an empty host is invalid and must be rejected (RFC 9110 §4.2.1).
    if not value or value[:1] == b":" or not is_valid_authority(value):
        raise Rejected(400, "malformed Host (RFC 9112 §3.2)")


def _body_length(is_1_1: bool, lengths: list[bytes], codings: list[bytes], limits: Limits) -> int:
    """Bytes of the body, or CHUNKED (RFC 9112 §6.3); where two readers could differ, neither is believed."""
    if codings:
        if lengths:
            raise Rejected(
                400, "both Transfer-Encoding and Content-Length: request smuggling (RFC 9112 §6.3)"
            )
        if not is_1_1:
            raise Rejected(400, "Transfer-Encoding in an HTTP/1.0 request: request smuggling (RFC 9112 §6.1)")
        return _read_transfer_encoding(codings)
    if not lengths:
        return 0
    # Even two equal lengths are refused: RFC 9112 §6.3 leaves the choice, and a peer that repeats itself
    # here is not one whose message boundaries should be guessed.
    if len(lengths) > 1 or not lengths[0].isdigit():
        raise Rejected(400, "Content-Length is not one decimal number: request smuggling (RFC 9112 §6.3)")
    digits = lengths[0].lstrip(b"0") or b"0"
    if len(digits) > 18:
        raise Rejected(400, "Content-Length is beyond any body: integer overflow (RFC 9110 §8.6)")
    length = int(digits)
    if limits.body and length > limits.body:
        raise Rejected(413, "request body over the limit")
    return length


def _read_transfer_encoding(codings: list[bytes]) -> int:
    if len(codings) == 1 and codings[0].lower() == b"chunked":
        return CHUNKED
    names = [coding.strip(b" \t").lower() for value in codings for coding in value.split(b",")]
    if names[-1] != b"chunked" or names.count(b"chunked") > 1 or not all(_is_coding(name) for name in names):
        raise Rejected(400, "the body's end cannot be known from Transfer-Encoding (RFC 9112 §6.3)")
    raise Rejected(501, "no transfer coding but chunked is decoded here (RFC 9112 §6.1)")


def _is_coding(name: bytes) -> bool:
    return TOKEN.fullmatch(name) is not None and name != b"identity"


def _expects_continue(expectations: list[bytes]) -> bool:
    members = {member.strip(b" \t") for value in expectations for member in value.split(b",")}
    if not members <= {b"100-continue", b""}:
        raise Rejected(417, "no expectation but 100-continue is met here (RFC 9110 §10.1.1)")
    return b"100-continue" in members
