import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appserve.errors import Rejected
from appserve.http.proxy_protocol import LONGEST, LONGEST_LINE, ProxyHeader, read_proxy_header
from tests.http.proxy_headers import (
    CALLED,
    CLIENT,
    LOCAL,
    NOOP,
    SIGNATURE,
    SSL,
    UNKNOWN,
    Address,
    block,
    line,
    raw_block,
    tls,
    unix_block,
    vector,
)


def show(value: object) -> str:
    """A name for a parameter, short enough for a line."""
    return repr(value)[:60]


Verdict = tuple[ProxyHeader, int] | str | None
"""What is said of some bytes: a header and its size, the reason of a refusal, None while more has to come."""

NOTHING_TOLD = ProxyHeader(None, None)
HEADER = ProxyHeader(CLIENT, CALLED)
TOLD_OVER_TLS = ProxyHeader(CLIENT, CALLED, over_tls=True)

V6: tuple[Address, Address] = (("2001:db8::7", 1), ("fe80::1", 65535))
ADDRESSES = bytes.fromhex("C0000207 C6336401 DC04 01BB")
LONGEST_TCP6 = b"PROXY TCP6 " + b" ".join([b"ffff:" * 7 + b"ffff"] * 2 + [b"65535"] * 2) + b"\r\n"

# What HAProxy 2.6 sends with send-proxy-v2-ssl and all proxy-v2-options.
HAPROXY = bytes.fromhex(
    "0D0A0D0A000D0A515549540A 2111 0064 7F000001 7F000001 B6BE 1C23"
    "03 0004 84DCBCD8 02 0009 612E6578616D706C65 05 0000 20 003F 01 00000000"
    "21 0007 544C5376312E33 25 0007 52534132303438 24 000A 5253412D534841323536"
    "23 0016 544C535F4145535F3235365F47434D5F534841333834"
)

ACCEPTED: list[tuple[bytes, ProxyHeader]] = [
    (
        b"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n",
        ProxyHeader(("192.168.0.1", 56324), ("192.168.0.11", 443)),
    ),
    (
        b"PROXY TCP4 0.0.0.0 255.255.255.255 0 65535\r\n",
        ProxyHeader(("0.0.0.0", 0), ("255.255.255.255", 65535)),
    ),
    (b"PROXY TCP6 2001:DB8:0:0:0:0:0:7 fe80::1 1 65535\r\n", ProxyHeader(*V6)),
    (b"PROXY TCP6 :: ::1 0 1\r\n", ProxyHeader(("::", 0), ("::1", 1))),
    (b"PROXY TCP6 ::ffff:192.0.2.7 ::ffff:c633:6401 56324 443\r\n", HEADER),
    (b"PROXY TCP6 ::ffff:192.0.2.7 ::1 1 2\r\n", ProxyHeader(("192.0.2.7", 1), ("::1", 2))),
    (LONGEST_TCP6, ProxyHeader((":".join(["ffff"] * 8), 65535), (":".join(["ffff"] * 8), 65535))),
    (UNKNOWN, NOTHING_TOLD),
    (b"PROXY UNKNOWN \r\n", NOTHING_TOLD),
    (b"PROXY UNKNOWN \x00 anything \xff\r\n", NOTHING_TOLD),
    (b"PROXY UNKNOWN " + b"x" * (LONGEST_LINE - 16) + b"\r\n", NOTHING_TOLD),
    (line(), HEADER),
    (block(), HEADER),
    (block(*V6), ProxyHeader(*V6)),
    (block(("::ffff:192.0.2.7", 56324), ("::ffff:198.51.100.1", 443)), HEADER),
    (unix_block(), ProxyHeader("", "")),
    (unix_block(tls()), ProxyHeader("", "", over_tls=True)),
    (block(vectors=vector(NOOP, b"") + vector(NOOP, b"12")), HEADER),
    (block(vectors=vector(0x02, b"shop.example") + vector(0xEA, b"\x01vpce") + vector(0x77, b"?")), HEADER),
    (block(vectors=vector(NOOP, b"a") * 2), HEADER),
    (block(vectors=tls()), TOLD_OVER_TLS),
    (block(*V6, vectors=tls(0xFF)), ProxyHeader(*V6, over_tls=True)),
    (block(vectors=tls(1, vector(0x21, b"TLSv1.3") + vector(0x22, b"shop"))), TOLD_OVER_TLS),
    (block(vectors=tls(0x06)), HEADER),
    (block(vectors=vector(0x02, tls())), HEADER),
    (block(vectors=vector(0x03, bytes(4)) + tls()), TOLD_OVER_TLS),  # a checksum is skipped
    (HAPROXY, ProxyHeader(("127.0.0.1", 46782), ("127.0.0.1", 7203), over_tls=True)),
    (block(vectors=vector(NOOP, bytes(LONGEST - len(block()) - 3))), HEADER),
    (raw_block(b"", 0x00), NOTHING_TOLD),
    (raw_block(b"no vectors, no addresses", 0x00), NOTHING_TOLD),
    (LOCAL, NOTHING_TOLD),
    (raw_block(b"", 0x11, 0x20), NOTHING_TOLD),
    (raw_block(b"anything", 0xFF, 0x20), NOTHING_TOLD),
    (raw_block(bytes(LONGEST - 16), 0x12, 0x20), NOTHING_TOLD),
]

REFUSED_LINES = [
    b"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\n",
    b"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\r\n",
    b"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\rG",
    b"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443 \r\n",
    b"PROXY TCP4 192.168.0.1 192.168.0.11 56324  443\r\n",
    b"PROXY TCP4  192.168.0.1 192.168.0.11 56324 443\r\n",
    b"PROXY TCP4\t192.168.0.1 192.168.0.11 56324 443\r\n",
    b"PROXY TCP4 192.168.0.1 192.168.0.11 56324\r\n",
    b"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443 1\r\n",
    b"PROXY TCP4 192.168.0.1 192.168.0.11 56324 0443\r\n",
    b"PROXY TCP4 192.168.0.1 192.168.0.11 00 443\r\n",
    b"PROXY TCP4 192.168.0.1 192.168.0.11 65536 443\r\n",
    b"PROXY TCP4 192.168.0.1 192.168.0.11 99999 443\r\n",
    b"PROXY TCP4 192.168.0.1 192.168.0.11 1 65536\r\n",
    b"PROXY TCP4 192.168.0.1 192.168.0.11 -1 443\r\n",
    b"PROXY TCP4 192.168.0.1 192.168.0.11 +1 443\r\n",
    b"PROXY TCP4 192.168.0.1 192.168.0.11 1_0 443\r\n",
    b"PROXY TCP4 192.168.0.1 192.168.0.11 \xd9\xa1 443\r\n",
    b"PROXY TCP4 192.168.0.1 192.168.0.11  443\r\n",
    b"PROXY TCP4 192.168.00.1 192.168.0.11 1 443\r\n",
    b"PROXY TCP4 192.168.0.256 192.168.0.11 1 443\r\n",
    b"PROXY TCP4 192.168.1 192.168.0.11 1 443\r\n",
    b"PROXY TCP4 192.168.0.1.1 192.168.0.11 1 443\r\n",
    b"PROXY TCP4 192.168.0. 192.168.0.11 1 443\r\n",
    b"PROXY TCP4 ::1 ::1 1 443\r\n",
    b"PROXY TCP6 192.168.0.1 192.168.0.11 1 443\r\n",
    b"PROXY TCP6 ::1 192.168.0.11 1 443\r\n",
    b"PROXY TCP6 1::2::3 ::1 1 443\r\n",
    b"PROXY TCP6 ::12345 ::1 1 443\r\n",
    b"PROXY TCP6 1:2:3:4:5:6:7 ::1 1 443\r\n",
    b"PROXY TCP6 1:2:3:4:5:6:7:8:9 ::1 1 443\r\n",
    b"PROXY TCP6 1:2:3:4::5:6:7:8 ::1 1 443\r\n",
    b"PROXY TCP6 ::ffff:192.0.02.1 ::1 1 443\r\n",
    b"PROXY TCP6 fe80::1%eth0 ::1 1 443\r\n",
    b"PROXY TCP6 [::1] ::1 1 443\r\n",
    b"PROXY TCP6 " + b"0" * 46 + b" ::1 1 443\r\n",
    b"PROXY TCP5 1.2.3.4 1.2.3.4 1 1\r\n",
    b"PROXY tcp4 1.2.3.4 1.2.3.4 1 1\r\n",
    b"PROXY UDP4 1.2.3.4 1.2.3.4 1 1\r\n",
    b"PROXY TCP4\r\n",
    b"PROXY TCP4 \r\n",
    b"PROXY \r\n",
    b"PROXY  UNKNOWN\r\n",
    b"PROXY UNKNOWNS\r\n",
    b"PROXY UNKNOWN\n",
    b"PROXY UNKNOWN\rX",
    b"PROXY UNKNOWN a\nb\r\n",
    b"PROXY UNKNOWN a\rb\r\n",
    b"PROXY UNKNOWN " + b"x" * (LONGEST_LINE - 15) + b"\r\n",
    b"PROXY UNKNOWN " + b"x" * 1000,
    b"PROXY UNKNOWN " + b"x" * (LONGEST_LINE - 16) + b"\rX",
]

REFUSED_BLOCKS = [
    raw_block(ADDRESSES, command=0x22),
    raw_block(ADDRESSES, command=0x2F),
    raw_block(ADDRESSES, command=0x11),
    raw_block(ADDRESSES, command=0x01),
    raw_block(ADDRESSES, command=0x31),
    raw_block(ADDRESSES, 0x12),
    raw_block(bytes(36), 0x22),
    raw_block(bytes(216), 0x32),
    raw_block(ADDRESSES, 0x10),
    raw_block(ADDRESSES, 0x13),
    raw_block(ADDRESSES, 0x01),
    raw_block(ADDRESSES, 0x41),
    raw_block(ADDRESSES[:-1]),
    raw_block(b""),
    raw_block(bytes(35), 0x21),
    raw_block(bytes(215), 0x31),
    raw_block(ADDRESSES + b"\x04"),
    raw_block(ADDRESSES + b"\x04\x00"),
    raw_block(ADDRESSES + b"\x04\x00\x01"),
    raw_block(ADDRESSES + vector(NOOP, b"abc") + b"\x04\xff\xff"),
    block(vectors=vector(SSL, b"")),
    block(vectors=vector(SSL, bytes(4))),
    block(vectors=tls() * 2),
    block(vectors=tls(1) + tls(0)),
    raw_block(bytes(LONGEST - 15), 0x00, 0x20),
    raw_block(ADDRESSES + vector(NOOP, bytes(LONGEST))),
    SIGNATURE + b"\x21\x11\xff\xff",
]

STRANGERS = [
    b"GET / HTTP/1.1\r\n\r\n",
    b"POST / HTTP/1.1\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"PROXYTCP4 1.2.3.4 1.2.3.4 1 1\r\n",
    b"proxy TCP4 1.2.3.4 1.2.3.4 1 1\r\n",
    b" PROXY UNKNOWN\r\n",
    b"\r\nGET / HTTP/1.1\r\n\r\n",
    b"\nPROXY UNKNOWN\r\n",
    b"\x16\x03\x01\x02\x00\x01",
    SIGNATURE[:-1] + b"\r",
    b"\x00",
]


def judge(data: bytes, version: str = "auto") -> Verdict:
    try:
        return read_proxy_header(data, version)
    except Rejected as rejected:
        assert rejected.status == 400
        return rejected.reason


def judge_arriving(data: bytes, version: str = "auto") -> Verdict:
    """The verdict on bytes that come one by one: the first there is, which later ones do not change."""
    first: Verdict = None
    for end in range(len(data) + 1):
        verdict = judge(data[:end], version)
        assert first is None or verdict == first, f"changed its mind at {end}"
        first = verdict
    return first


@pytest.mark.parametrize(("data", "meaning"), ACCEPTED, ids=show)
def test_a_header_is_understood_when_it_is_complete_and_whatever_follows(data: bytes, meaning: ProxyHeader):
    accepted = meaning, len(data)

    assert judge_arriving(data) == accepted
    assert judge(data[:-1]) is None
    for behind in (b"\r\n", b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00", data, b"\x00" * 70000):
        assert judge(data + behind) == accepted


@pytest.mark.parametrize(("data", "meaning"), ACCEPTED, ids=show)
def test_each_version_is_taken_where_it_is_expected_and_only_there(data: bytes, meaning: ProxyHeader):
    own, other = ("v1", "v2") if data.startswith(b"PROXY") else ("v2", "v1")
    number = other[1]

    assert judge(data, own) == (meaning, len(data))
    assert judge(data[:1], other) == judge(data, other)
    assert judge(data, other) == f"no PROXY header of version {number} (PROXY protocol §2.{number})"


@pytest.mark.parametrize("data", REFUSED_LINES, ids=show)
def test_a_line_that_is_not_exactly_one_is_refused(data: bytes):
    reason = judge_arriving(data)

    assert isinstance(reason, str)
    assert "(PROXY protocol §2.1)" in reason
    assert judge(data + b"\r\n") == judge(data + b"x" * 200) == reason == judge(data, "v1")


@pytest.mark.parametrize("data", REFUSED_BLOCKS, ids=show)
def test_a_block_that_is_not_exactly_one_is_refused(data: bytes):
    reason = judge_arriving(data)

    assert isinstance(reason, str)
    assert "(PROXY protocol §2.2" in reason
    assert judge(data + b"GET /") == reason == judge(data, "v2")


@pytest.mark.parametrize("version", ["v1", "v2", "auto"])
@pytest.mark.parametrize("data", STRANGERS, ids=show)
def test_what_is_no_header_is_refused_at_its_first_wrong_byte(data: bytes, version: str):
    beginnings = {"v1": [b"PROXY "], "v2": [SIGNATURE], "auto": [b"PROXY ", SIGNATURE]}[version]

    reason = judge_arriving(data, version)

    assert isinstance(reason, str)
    assert "PROXY protocol §2" in reason
    for end in range(len(data) + 1):
        viable = any(beginning.startswith(data[:end]) for beginning in beginnings)
        assert (judge(data[:end], version) is None) == viable


@pytest.mark.parametrize(
    ("data", "wrong"),
    [
        (b"PROXY TCP4 1.2.3.4 1.2.3.4 1 1\n", b"\n"),
        (b"PROXY UNKNOWN and so on\n", b"\n"),
        (b"PROXY TCPX", b"X"),
        (b"PROXY TCP4 g", b"g"),
        (b"PROXY TCP6 g", b"g"),
        (b"PROXY TCP4 1.2.3.4 1.2.3.4 1 1\rX", b"X"),
        (SIGNATURE + b"\x22", b"\x22"),
        (SIGNATURE + b"\x21\x12", b"\x12"),
        (SIGNATURE + b"\x21\x11\x00\x0b", b"\x0b"),
        (SIGNATURE + b"\x20\x00\xff\xff", b"\xff"),
    ],
)
def test_nothing_more_is_awaited_than_could_make_a_header(data: bytes, wrong: bytes):
    assert data.endswith(wrong)
    assert judge(data[:-1]) is None
    assert isinstance(judge(data), str)


@pytest.mark.parametrize("family", [0x12, 0x22, 0x32])
def test_a_header_for_datagrams_is_refused_by_name(family: int):
    assert "datagrams" in str(judge(raw_block(bytes(216), family)))


def test_the_bounds_are_those_of_the_specification_and_of_the_documents():
    assert (LONGEST_LINE, LONGEST) == (107, 4096)


def test_a_line_is_not_awaited_beyond_its_longest():
    longest = b"PROXY UNKNOWN " + b"x" * (LONGEST_LINE - 16)

    assert judge(longest) is None
    assert judge(longest + b"\r") is None
    assert judge(longest + b"\r\n") == (NOTHING_TOLD, LONGEST_LINE)
    assert isinstance(judge(longest + b"x"), str)


# ── any bytes ──

endpoints = st.one_of(
    st.tuples(
        st.tuples(st.ip_addresses(v=version).map(str), st.integers(0, 65535)),
        st.tuples(st.ip_addresses(v=version).map(str), st.integers(0, 65535)),
    )
    for version in (4, 6)
)
vectors = st.lists(
    st.tuples(st.integers(0, 255).filter(lambda kind: kind != SSL), st.binary(max_size=40))
).map(lambda pairs: b"".join(vector(kind, value) for kind, value in pairs))
headers = st.one_of(
    endpoints.map(lambda pair: line(*pair)),
    st.tuples(endpoints, vectors).map(lambda made: block(*made[0], vectors=made[1])),
    st.sampled_from([data for data, _ in ACCEPTED]),
)


@st.composite
def broken_headers(draw: st.DrawFn) -> bytes:
    """A header in which some bytes were replaced, left out or put in."""
    data = draw(st.one_of(headers, st.sampled_from(REFUSED_LINES + REFUSED_BLOCKS)))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(data)))
        data = data[:at] + draw(st.binary(max_size=3)) + data[at + draw(st.integers(0, 3)) :]
    return data


anything = st.one_of(
    st.binary(max_size=300),
    broken_headers(),
    st.binary(max_size=120).map(lambda rest: b"PROXY " + rest),
    st.text("PROXYTC46UNKW0159.:abf \r\n", max_size=120).map(lambda rest: b"PROXY TCP" + rest.encode()),
    st.binary(max_size=120).map(lambda rest: SIGNATURE + b"\x21" + rest),
)


def meaning_of(endpoint: Address) -> Address:
    host = ipaddress.ip_address(endpoint[0])
    return str(getattr(host, "ipv4_mapped", None) or host), endpoint[1]


@given(endpoints, vectors, st.booleans())
def test_what_is_written_is_what_is_read(pair: tuple[Address, Address], more: bytes, over_tls: bool):
    source, destination = map(meaning_of, pair)

    assert judge(line(*pair)) == (ProxyHeader(source, destination), len(line(*pair)))
    data = block(*pair, vectors=more + tls() if over_tls else more)
    assert judge(data) == (ProxyHeader(source, destination, over_tls), len(data))


@given(anything, st.sampled_from(["v1", "v2", "auto"]))
def test_any_bytes_get_the_same_verdict_however_they_are_split(data: bytes, version: str):
    judge_arriving(data, version)


@given(anything)
def test_a_header_that_was_accepted_can_be_passed_on_with_the_same_meaning(data: bytes):
    verdict = judge(data)
    if not isinstance(verdict, tuple):
        return
    header, size = verdict

    assert judge(data[:size]) == verdict
    assert size <= LONGEST
    over_tls = tls() if header.over_tls else b""
    if header.source is None:
        again = LOCAL
    elif isinstance(header.source, str) or not isinstance(header.destination, tuple):
        again = unix_block(over_tls)
    else:
        again = block(header.source, header.destination, over_tls)
    assert judge(again) == (header, len(again))


@given(headers, headers)
def test_no_header_is_the_beginning_of_another(one: bytes, other: bytes):
    assert one == other or not other.startswith(one)
    for end in range(len(one)):
        assert judge(one[:end]) is None
