import pytest

from appserve.errors import Rejected
from appserve.http.head import HeadScan
from appserve.http.messages import Limits
from tests.http.plain import GET, LIMITS, head_bytes

SMALL = Limits(request_line=20, fields=3, field_size=20)


def scan(data: bytes, limits: Limits = LIMITS, smallest: int = 1) -> int:
    """What is found at once, which is also what is found when more and more is there."""

    def verdict(step: int) -> int | str:
        one = HeadScan(limits)
        end = -1
        try:
            for size in [*range(1, len(data), step), len(data)]:
                end = one.find_end(data[:size])
                if end >= 0:
                    break
        except Rejected as rejected:
            return str(rejected)
        return end

    first = verdict(smallest)
    assert first == verdict(3 * smallest) == verdict(len(data) + 1)
    if isinstance(first, str):
        return int(first[:3])
    return first


def test_the_end_is_where_the_blank_line_begins():
    assert scan(GET) == len(GET) - 4
    assert scan(GET + GET) == len(GET) - 4
    assert scan(b"GET / HTTP/1.0\r\n\r\n") == 14


def test_a_head_that_is_not_complete_has_no_end_yet():
    assert {scan(GET[:size]) for size in range(1, len(GET))} == {-1}


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"\x16\x03\x01", 400),
        (b"PROXY TCP4 1.2.3.4 ", 400),
        (b"GET /\r\n", 400),
        (b"GET / HTTP/2.0\r\n", 505),
        (b"CONNECT / HTTP/1.1\r\n", 501),
        (b"GET / HTTP/1.1\n", 400),
        (b"GET / HTTP/1.1\r\r\n", 400),
        (b"GET / HTTP/1.1\r\nX: a\nY", 400),
        (b"GET / HTTP/1.1\r\nX: a\rY", 400),
        (b"GET / HTTP/1.1\r\nX\r\n", 400),
        (b"GET / HTTP/1.1\r\nX : a\r\n", 400),
        (b"GET / HTTP/1.1\r\n X: a\r\n", 400),
        (b"GET / HTTP/1.1\r\nX: \x00\r\n", 400),
    ],
)
def test_the_first_fault_is_found_as_soon_as_it_is_there(data: bytes, status: int):
    assert scan(data) == status
    assert scan(data + b" and what follows\r\n\r\n") == status


def test_an_overlong_line_is_refused_before_it_is_complete():
    assert scan(b"GET /1234567890123456", SMALL) == 414
    assert scan(b"GET /12345 HTTP/1.1\r", SMALL) == -1
    assert scan(b"GET / HTTP/1.1\r\nX: 12345678901234567", SMALL) == -1
    assert scan(b"GET / HTTP/1.1\r\nX: 123456789012345678", SMALL) == 431


def test_one_field_too_many_is_refused_when_it_is_complete():
    data = head_bytes("GET / HTTP/1.1", *["X: a"] * 4)

    assert scan(data[:-6], SMALL) == -1
    assert scan(data, SMALL) == 431


def test_the_whole_head_is_bounded():
    limits = Limits(fields=100_000)
    line = b"X: " + b"a" * 995 + b"\r\n"

    assert scan(b"GET / HTTP/1.1\r\n" + line * 65, limits, 333) == -1
    assert scan(b"GET / HTTP/1.1\r\n" + line * 66, limits, 333) == 431
