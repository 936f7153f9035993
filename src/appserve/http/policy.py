"""What a request head must be beyond its grammar, and how its body is framed.

llhttp reads heads and is strict about characters; what it leaves to its user is here: Host, connection
options, framing that two servers could read in two ways, expectations, upgrades. Every refusal cites the
rule or the attack.
"""

from collections.abc import Sequence
from enum import IntEnum

from appserve.errors import Cause, Rejected
from appserve.http.messages import CHUNKED, Limits, RequestLine, Rules
from appserve.http.request_line import TOKEN, is_valid_authority


class FieldKind(IntEnum):
    """What a request field means to the connection itself."""

    HOST = 1
    CONNECTION = 2
    CONTENT_LENGTH = 3
    TRANSFER_ENCODING = 4
    EXPECT = 5
    UPGRADE = 6
    DROPPED = 7


Special = tuple[int, bytes]
"""A field that concerns the connection: its Kind as a plain int (an enum's hash is slow), and its value."""


KINDS = {
    b"host": FieldKind.HOST,
    b"connection": FieldKind.CONNECTION,
    b"content-length": FieldKind.CONTENT_LENGTH,
    b"transfer-encoding": FieldKind.TRANSFER_ENCODING,
    b"expect": FieldKind.EXPECT,
    b"upgrade": FieldKind.UPGRADE,
}


NOT_AN_OPTION = frozenset({b"host", b"content-length", b"transfer-encoding", b"forwarded"})
"""Fields that Connection must not name. A recipient drops what it names before it passes the request on: by
that a client would take from a request what frames it, or what a proxy said of the client."""

NO_BODY = frozenset({"GET", "HEAD", "DELETE"})
"""Methods whose body many HTTP/1.0 recipients do not look for (RFC 9112 §9.3, RFC 1945 §8)."""

PLAIN_ON_TLS = "plain HTTP request on an HTTPS port: use https://"
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
    may_be_held = True
    for kind, value in specials:
        if kind == FieldKind.HOST:
            hosts += 1
            _check_host(value)
        elif kind == FieldKind.CONNECTION:
            options.update(option.strip(b" \t").lower() for option in value.split(b","))
            _check_options(options)
        elif kind == FieldKind.CONTENT_LENGTH:
            lengths.append(value)
        elif kind == FieldKind.TRANSFER_ENCODING:
            codings.append(value)
        elif kind == FieldKind.EXPECT:
            expectations.append(value.lower())
        elif kind == FieldKind.UPGRADE and value.strip(b", \t"):
            offers.append(value)
        elif kind == FieldKind.DROPPED:  # to be noticed each time
            may_be_held = False
    is_1_1 = line.version == "1.1"
    if hosts != 1 and (is_1_1 or hosts > 1):
        raise Rejected(400, "an HTTP/1.1 request has exactly one Host (RFC 9112 §3.2)", Cause.HOST)
    body_length = _body_length(is_1_1, lengths, codings, limits)
    if body_length and line.method == "TRACE":
        raise _bad_framing("TRACE with a body (RFC 9110 §9.3.8)")
    if is_1_1:
        expects_continue = _expects_continue(expectations) and body_length != 0
        is_last = b"close" in options
    else:
        # RFC 9110 §10.1.1: an expectation in HTTP/1.0 is ignored.
        expects_continue = False
        is_last = b"keep-alive" not in options or b"close" in options
    upgrade = b", ".join(offers) if is_1_1 and b"upgrade" in options else b""
    # Proxies that take the tunnel for granted pass on what follows an offer without looking at it. And where
    # HTTP/1.0 has a body that a recipient did not expect, what follows is not sure to be a request.
    closes = is_last or bool(upgrade) or (not is_1_1 and body_length > 0 and line.method in NO_BODY)
    return Rules(
        line.version, is_last, closes, body_length, expects_continue, upgrade, may_be_held and not body_length
    )


def _check_options(options: set[bytes]) -> None:
    for option in options:
        if option in NOT_AN_OPTION or option.startswith(b"x-forwarded-"):
            reason = "Connection names a field that must not be removed: hop-by-hop abuse (RFC 9110 §7.6.1)"
            raise Rejected(400, reason, Cause.CONNECTION)


def _check_host(value: bytes) -> None:
    # An http URI with an empty host is invalid and must be rejected (RFC 9110 §4.2.1).
    if not value or value[:1] == b":" or not is_valid_authority(value):
        raise Rejected(400, "malformed Host (RFC 9112 §3.2)", Cause.HOST)


def _body_length(is_1_1: bool, lengths: list[bytes], codings: list[bytes], limits: Limits) -> int:
    """Bytes of the body, or CHUNKED (RFC 9112 §6.3); where two readers could differ, it is refused."""
    if codings:
        if lengths:
            raise _bad_framing("both Transfer-Encoding and Content-Length: request smuggling (RFC 9112 §6.3)")
        if not is_1_1:
            raise _bad_framing("Transfer-Encoding in an HTTP/1.0 request: request smuggling (RFC 9112 §6.1)")
        return _read_transfer_encoding(codings)
    if not lengths:
        return 0
    # Even two equal lengths are refused: RFC 9112 §6.3 leaves the choice, and a peer that repeats itself
    # here is not one whose message boundaries should be guessed.
    if len(lengths) > 1 or not lengths[0].isdigit():
        raise _bad_framing("Content-Length is not one decimal number: request smuggling (RFC 9112 §6.3)")
    digits = lengths[0].lstrip(b"0") or b"0"
    if len(digits) > 18:
        raise _bad_framing("Content-Length is too large: integer overflow (RFC 9110 §8.6)")
    length = int(digits)
    if limits.body and length > limits.body:
        raise limits.body_too_long()
    return length


def _read_transfer_encoding(codings: list[bytes]) -> int:
    if len(codings) == 1 and codings[0].lower() == b"chunked":
        return CHUNKED
    names = [coding.strip(b" \t").lower() for value in codings for coding in value.split(b",")]
    if names[-1] != b"chunked" or names.count(b"chunked") > 1 or not all(_is_coding(name) for name in names):
        raise _bad_framing("chunked is not the last transfer coding, once (RFC 9112 §6.3)")
    raise Rejected(501, "unsupported transfer coding: only chunked (RFC 9112 §6.1)", Cause.CODING)


def _is_coding(name: bytes) -> bool:
    return TOKEN.fullmatch(name) is not None and name != b"identity"


def _expects_continue(expectations: list[bytes]) -> bool:
    members = {member.strip(b" \t") for value in expectations for member in value.split(b",")}
    if not members <= {b"100-continue", b""}:
        raise Rejected(417, "unsupported expectation: only 100-continue (RFC 9110 §10.1.1)")
    return b"100-continue" in members


def _bad_framing(reason: str) -> Rejected:
    return Rejected(400, reason, Cause.FRAMING)
