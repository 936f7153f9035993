"""Bytes that are nearly requests: cases of the corpus, changed in a few places."""

from collections.abc import Callable

from hypothesis import strategies as st

from tests.conformance.corpus import REQUESTS

SEEDS = [case.sent for case in REQUESTS if len(case.sent) < 400]

TOKENS = (
    *(bytes([byte]) for byte in b'\r\n\0 \t\x0b\x0c\x7f\x80\xa0\xff:,;=#?%/*_+-05aG"@[]'),
    b"\r\n",
    b"\r\n\r\n",
    b"0\r\n\r\n",
    b"5\r\nhello\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /smuggled HTTP/1.1\r\n",
    b"HTTP/1.0",
    b"HTTP/1.1",
    b"OPTIONS * ",
    b"CONNECT ",
    b"http://b.example",
    b"chunked",
    b"Host: b.example\r\n",
    b"Content-Length: 5\r\n",
    b"Content-Length: 0\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Connection: close\r\n",
    b"Connection: keep-alive\r\n",
    b"Connection: upgrade\r\n",
    b"Upgrade: h2c\r\n",
    b"Expect: 100-continue\r\n",
    b"Proxy-Connection: close\r\n",
    b"X" * 70,
)

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
def nearly_requests(draw: st.DrawFn) -> bytes:
    """One to three cases, with up to four edits."""
    data = b"".join(draw(st.lists(st.sampled_from(SEEDS), min_size=1, max_size=3)))
    for _ in range(draw(st.integers(0, 4))):
        edit = draw(st.sampled_from(EDITS))
        data = edit(
            data, draw(st.integers(0, len(data))), draw(st.integers(1, 20)), draw(st.sampled_from(TOKENS))
        )
    return data


@st.composite
def cut(draw: st.DrawFn, data: bytes) -> list[bytes]:
    """`data` in up to six pieces."""
    points = sorted(draw(st.lists(st.integers(0, len(data)), max_size=5)))
    return [data[start:end] for start, end in zip([0, *points], [*points, len(data)], strict=True)]
