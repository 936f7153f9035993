import pytest

from appserve.errors import Rejected
from appserve.http.chunked import EXTENSION, EXTENSIONS, ChunkedBody
from appserve.http.messages import Limits
from tests.http.plain import LIMITS

LAST = b"0\r\n\r\n"


def decode(coded: bytes, size: int = 0, limits: Limits = LIMITS) -> tuple[bytes, bool, bytes]:
    """(data, done, what was not used) of a body that comes in pieces of `size`; 0 is all at once."""
    body = ChunkedBody(limits)
    data = buffer = b""
    for start in range(0, len(coded), size or len(coded) or 1):
        buffer += coded[start : start + (size or len(coded))]
        while not body.done:
            piece, used = body.next_data(buffer)
            buffer = buffer[used:]
            data += piece
            if not piece:
                break
    return data, body.done, buffer


def refusal(coded: bytes, limits: Limits = LIMITS) -> int:
    """The status, which is the same for every split into pieces of one size."""
    statuses = set()
    for size in (0, 1, 2, 3, 7):
        with pytest.raises(Rejected) as caught:
            decode(coded, size, limits)
        statuses.add(caught.value.status)
    (status,) = statuses
    return status


@pytest.mark.parametrize("size", range(20))
@pytest.mark.parametrize(
    ("coded", "data"),
    [
        (LAST, b""),
        (b"5\r\nhello\r\n" + LAST, b"hello"),
        (b"05\r\nhello\r\n000\r\n\r\n", b"hello"),
        (b"A\r\n0123456789\r\na\r\n0123456789\r\n" + LAST, b"0123456789" * 2),
        (b"2\r\n\r\n\r\n3\r\n0\r\n\r\n" + LAST, b"\r\n0\r\n"),
        (b'5;a=b\r\nhello\r\n5; c="\xe4"\r\nworld\r\n0;d\r\n\r\n', b"helloworld"),
        (b"5\r\nhello\r\n0\r\nX-A: b\r\nX-B:\r\n\r\n", b"hello"),
    ],
)
def test_the_data_is_the_same_however_it_is_split(coded: bytes, data: bytes, size: int):
    assert decode(coded, size) == (data, True, b"")


def test_what_follows_the_body_is_not_used():
    assert decode(b"1\r\na\r\n" + LAST + b"GET /") == (b"a", True, b"GET /")


def test_the_chunks_at_hand_are_given_as_one_piece():
    body = ChunkedBody(Limits())
    coded = b"1\r\na\r\n" * 1000

    assert body.next_data(coded + b"2\r\nb") == (b"a" * 1000 + b"b", len(coded) + 4)
    assert body.next_data(b"") == (b"", 0)
    assert body.next_data(b"c\r\n" + LAST) == (b"c", 3 + len(LAST))
    assert body.done
    assert body.next_data(b"GET /") == (b"", 0)


def test_data_before_a_fault_is_given_first_and_the_fault_stays():
    body = ChunkedBody(Limits())

    assert body.next_data(b"1\r\na\r\n1\r\nb\r\nx\r\n")[0] == b"ab"
    for _ in range(2):
        with pytest.raises(Rejected):
            body.next_data(b"1\r\nc\r\n")


@pytest.mark.parametrize(
    "coded",
    [
        b"\r\n",
        b"x\r\n",
        b"-1\r\n",
        b"+1\r\n",
        b"0x1\r\na\r\n",
        b" 1\r\na\r\n",
        b"1 \r\na\r\n",
        b"1 ;a\r\na\r\n",
        b"1\na\r\n",
        b"1\r\r\n",
        b";a\r\n",
        b"1;a\x00b\r\n",
        b"1;a\x7fb\r\n",
        b"1;a\rb\r\n",
        b"1;\r\na\r\n",
        b"1;a=\r\na\r\n",
        b'1;a="b\r\na\r\n',
        b'1;a="\\"\r\na\r\n',
        b"1" * 17,
        b"1\r\nab\r\n",
        b"1\r\na\n\n",
        b"1\r\na\r\r",
        b"2\r\na\r\n" + LAST,
        b"0\r\nX\r\n\r\n",
        b"0\r\n: a\r\n\r\n",
        b"0\r\nX : a\r\n\r\n",
        b"0\r\n X: a\r\n\r\n",
        b"0\r\nX: a\x00\r\n\r\n",
        b"0\r\nX: a\n\r\n",
        b"0\r\n\n",
    ],
)
def test_what_is_no_chunk_is_400(coded: bytes):
    assert refusal(coded) == 400


def test_a_body_over_the_limit_is_413_before_its_data_comes():
    limits = Limits(body=10)

    assert decode(b"a\r\n0123456789\r\n" + LAST, 0, limits) == (b"0123456789", True, b"")
    assert refusal(b"b\r\n", limits) == 413
    assert refusal(b"5\r\nhello\r\n6\r\n", limits) == 413
    assert refusal(b"f" * 16 + b"\r\n", limits) == 413


def test_without_a_limit_a_body_may_be_endless():
    assert decode(b"f" * 16 + b"\r\nabc", 0, Limits(body=0)) == (b"abc", False, b"")


def test_extensions_are_bounded_for_a_chunk_and_for_a_body():
    chunk = b"1;" + b"a" * (EXTENSION - 1) + b"\r\nx\r\n"

    assert decode(chunk + LAST) == (b"x", True, b"")
    assert refusal(b"1;" + b"a" * EXTENSION + b"\r\nx\r\n") == 400
    assert refusal(b"1;" + b"a" * 100_000) == 400
    assert decode(chunk * (EXTENSIONS // EXTENSION) + LAST)[1]
    assert refusal(chunk * (EXTENSIONS // EXTENSION) + b"1;a\r\n") == 400


def test_trailers_are_bounded_in_number_and_in_size():
    limits = Limits(fields=3, field_size=20)
    line = b"X: " + b"a" * 17 + b"\r\n"

    assert decode(b"0\r\n" + line * 3 + b"\r\n", 0, limits)[1]
    assert refusal(b"0\r\n" + line * 4, limits) == 431
    assert refusal(b"0\r\nX: " + b"a" * 18 + b"\r\n\r\n", limits) == 431
    assert refusal(b"0\r\nX: " + b"a" * 100, limits) == 431
    many = Limits(fields=100_000, field_size=8190)
    assert refusal(b"0\r\n" + (b"X: " + b"a" * 8000 + b"\r\n") * 9, many) == 431
