"""Bytes that are nearly requests: cases of the corpus, changed in a few places."""

import re
from collections.abc import Callable

from hypothesis import strategies as st

from tests.conformance.case import OPEN, SMUGGLED
from tests.conformance.corpus import REQUESTS
from tests.conformance.corpus.content_length import NOT_DIGITS
from tests.conformance.corpus.transfer_encoding import HIDDEN_CODINGS

SEEDS = [case.sent for case in REQUESTS if 0 < len(case.sent) < 400]
GOOD_SEEDS = [case.sent for case in REQUESTS if 0 < len(case.sent) < 400 and case.then is OPEN]
"""After these the connection looks at what follows."""

BYTES = tuple(bytes([byte]) for byte in b'\r\n\0 \t\x0b\x0c\x7f\x80\xa0\xff:,;=#?%/*_+-05aG"@[]')

WORDS = (
    b"\r\n",
    b"\r\n\r\n",
    b"0\r\n\r\n",
    b"5\r\nhello\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /smuggled HTTP/1.1\r\n",
    b'5;a="b"\r\nhello\r\n',
    b"HTTP/1.0",
    b"HTTP/1.1",
    b"HTTP/1.2",
    b"HEAD / ",
    b"OPTIONS * ",
    b"CONNECT ",
    b"http://b.example",
    b"chunked",
    b"X" * 70,
)

FIELD_LINES = (
    b"Host: b.example\r\n",
    b"Content-Length: 5\r\n",
    b"Content-Length: 0\r\n",
    b"Content-Length: 44\r\n",
    b"Content-Length : 5\r\n",
    b"Content_Length: 5\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: gzip, chunked\r\n",
    b"X: 1\r\n",
    b"Connection: close\r\n",
    b"Connection: keep-alive\r\n",
    b"Connection: upgrade\r\n",
    b"Upgrade: h2c\r\n",
    b"Expect: 100-continue\r\n",
    b"Proxy-Connection: close\r\n",
)

TOKENS = (*BYTES, *WORDS, *FIELD_LINES)

SEAM = re.compile(rb"(?<=\r\n)|(?<=: )|(?<= )|(?=\r\n)")
"""Where something begins or ends: the places that matter most."""

Edit = Callable[[bytes, int, int, bytes], bytes]

EDITS: tuple[Edit, ...] = (
    lambda data, at, length, token: data[:at] + token + data[at:],
    lambda data, at, length, token: data[:at] + token + data[at + length :],
    lambda data, at, length, token: data[:at] + data[at + length :],
    lambda data, at, length, token: data[: at + length] + data[at:],
    lambda data, at, length, token: data[:at] + data[at : at + length].swapcase() + data[at + length :],
    lambda data, at, length, token: data.replace(b"\r\n", token, 1),
    lambda data, at, length, token: data[:at],
)


@st.composite
def edited(draw: st.DrawFn, data: bytes, most: int) -> bytes:
    """`data` after up to `most` edits."""
    for _ in range(draw(st.integers(0, most))):
        seams = [match.start() for match in SEAM.finditer(data)]
        lines = [match.end() for match in re.finditer(rb"\r\n", data)]
        if lines and draw(st.booleans()):
            at = draw(st.sampled_from(lines))
            data = data[:at] + draw(st.sampled_from(FIELD_LINES)) + data[at:]
            continue
        at = draw(st.sampled_from(seams) if seams and draw(st.booleans()) else st.integers(0, len(data)))
        token = draw(st.sampled_from(draw(st.sampled_from([BYTES, WORDS]))))
        data = draw(st.sampled_from(EDITS))(data, at, draw(st.integers(1, 20)), token)
    return data


@st.composite
def nearly_requests(draw: st.DrawFn) -> bytes:
    """Up to two good cases and any other, with up to three edits."""
    good = draw(st.lists(st.sampled_from(GOOD_SEEDS), max_size=2))
    return draw(edited(b"".join(good) + draw(st.sampled_from(SEEDS)), 3))


@st.composite
def nearly_repeated(draw: st.DrawFn) -> bytes:
    """One case several times, each but the first with an edit at most: what a connection remembers of the
    last request is nearly right for the next."""
    seed = draw(st.sampled_from(GOOD_SEEDS))
    again = b"".join(draw(edited(seed, 1)) for _ in range(draw(st.integers(0, 2))))
    first, blank_line, _ = seed.partition(b"\r\n\r\n")
    return seed + again + draw(st.sampled_from([seed, first + blank_line]))


# ── made from parts, each of which is mostly right ──


def mostly(right: bytes, *wrong: bytes) -> st.SearchStrategy[bytes]:
    """`right` half of the time."""
    return st.one_of(st.just(right), st.sampled_from(wrong))


LINE_END = mostly(b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r", b"\r\r\n", b"\n\r", b"", b"XX", b"X\n")
EXTENSION = mostly(b"", b";a", b"; a = b", b';a="b;c"', b';a="', b";", b";a\n", b";a\rb", b";\n", b" ")
DATA = st.sampled_from([b"hello", b"a", b"0\r\n\r\n", SMUGGLED, b"\r\n"])
SIZES = (b"5", b"+5", b"-5", b"0x5", b"05", b"5 ", b" 5", b"", b"5_0", b"f" * 16, b"1" + b"0" * 15 + b"5")
TRAILER = mostly(b"", b"X-A: 1", b"Content-Length: 5", b"X-A : 1", b" X-A: 1", b"X-A", b"GET / HTTP/1.1")
VERSION = mostly(b"1.1", b"1.0", b"1.0", b"1.2", b"2.0")
METHOD = st.sampled_from([b"GET", b"POST", b"HEAD", b"OPTIONS", b"TRACE"])
CODING = mostly(
    b"chunked", *(value.encode("latin-1") for value in HIDDEN_CODINGS), b"gzip, chunked", b"identity"
)
LENGTH = mostly(b"5", *(value.encode("latin-1") for value in NOT_DIGITS), b"0", b"44", b"05")
COLON = mostly(b": ", b":", b" : ", b"\t:", b":\r\n ", b"")

OPTIONS = st.sampled_from(
    [b"close", b"upgrade", b"keep-alive, close", b"keep-alive", b"content-length", b"a, x-forwarded-for"]
)


@st.composite
def chunks(draw: st.DrawFn) -> bytes:
    """A chunked body."""
    body = b""
    for data in draw(st.lists(DATA, max_size=3)):
        size = draw(mostly(b"%x" % len(data), *SIZES))
        body += size + draw(EXTENSION) + draw(LINE_END) + data + draw(LINE_END)
    body += draw(mostly(b"0", b"000", b"", b"0 ", b"-0")) + draw(EXTENSION) + draw(LINE_END)
    trailer = draw(TRAILER)
    return body + (trailer + draw(LINE_END) if trailer else b"") + draw(LINE_END)


@st.composite
def field_lines(draw: st.DrawFn) -> bytes:
    """A line that frames, or one that may make a difference to it."""
    name, value = draw(
        st.one_of(
            st.tuples(st.sampled_from([b"Content-Length", b"content-length", b"Content_Length"]), LENGTH),
            st.tuples(st.sampled_from([b"Transfer-Encoding", b"transfer-encoding"]), CODING),
            st.tuples(st.just(b"Connection"), OPTIONS),
            st.sampled_from([(b"Upgrade", b"h2c"), (b"X-A", b"1"), (b"Expect", b"100-continue")]),
        )
    )
    return name + draw(COLON) + value + b"\r\n"


@st.composite
def framed_requests(draw: st.DrawFn) -> bytes:
    """A request with some fields that frame it, and another behind it."""
    first = draw(METHOD) + b" / HTTP/" + draw(VERSION) + b"\r\nHost: a\r\n"
    fields = b"".join(draw(st.lists(field_lines(), min_size=1, max_size=3)))
    body = draw(st.one_of(DATA, chunks(), st.just(b"")))
    return first + fields + b"\r\n" + body + draw(st.sampled_from([b"", SMUGGLED]))


COMBINATIONS = st.builds(
    lambda method, version, options, framed: (
        method + b" / HTTP/" + version + b"\r\nHost: a\r\n" + options + framed + SMUGGLED
    ),
    METHOD,
    st.sampled_from([b"1.1", b"1.0"]),
    st.sampled_from(
        [
            b"",
            b"Connection: close\r\n",
            b"Connection: keep-alive\r\n",
            b"Connection: keep-alive, close\r\n",
            b"Connection: upgrade, keep-alive\r\nUpgrade: h2c\r\n",
        ]
    ),
    st.sampled_from(
        [
            b"\r\n",
            b"Content-Length: 5\r\n\r\nhello",
            b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ]
    ),
)
"""What decides together where a request ends and whether another follows, each part right by itself."""

CHUNKED_HEAD = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"

SOURCES: dict[str, st.SearchStrategy[bytes]] = {
    "cases of the corpus, edited": nearly_requests(),
    "one case again and again": nearly_repeated(),
    "fields that frame": framed_requests(),
    "combinations": COMBINATIONS,
    "chunked bodies": st.builds(
        lambda body, rest: CHUNKED_HEAD + body + rest, chunks(), st.sampled_from([b"", SMUGGLED])
    ),
    "pieces in any order": st.lists(st.sampled_from(TOKENS), max_size=30).map(b"".join),
    "any bytes": st.binary(max_size=200),
}
"""Where bytes to try come from."""


@st.composite
def cut(draw: st.DrawFn, data: bytes) -> list[bytes]:
    """`data` in up to six pieces."""
    points = sorted(draw(st.lists(st.integers(0, len(data)), max_size=5)))
    return [data[start:end] for start, end in zip([0, *points], [*points, len(data)], strict=True)]
