import pytest

from appserve.errors import Rejected
from appserve.http.request_line import METHODS, is_viable, read_request_line
from tests.http.plain import connect, head_bytes, only_head


def read(text: str):
    return read_request_line(text.encode("latin-1"))


def refusal(text: str) -> int:
    with pytest.raises(Rejected) as caught:
        read(text)
    return caught.value.status


@pytest.mark.parametrize("method", sorted(METHODS - {"CONNECT"}))
def test_llhttp_reads_every_method_that_is_let_through(method: str):
    connection = connect()
    target = "*" if method == "OPTIONS" else "/a"
    connection.receive_data(head_bytes(f"{method} {target} HTTP/1.1", "Host: a"))

    assert (method, target.encode()) == (
        (line := only_head(connection).line).method,
        line.target,
    )


def test_origin_form_is_taken_apart():
    line = read("GET /a%20b/%C3%BC?x=1?y HTTP/1.1")

    assert (line.method, line.version, line.protocol) == ("GET", "1.1", "HTTP/1.1")
    assert line.target == b"/a%20b/%C3%BC?x=1?y"
    assert line.raw_path == b"/a%20b/%C3%BC"
    assert line.path_bytes == b"/a b/\xc3\xbc"
    assert line.path == "/a b/ü"
    assert line.query == b"x=1?y"
    assert line.authority == b""
    assert line.label == b"GET /a%20b/%C3%BC"
    assert repr(line) == "<RequestLine GET b'/a%20b/%C3%BC?x=1?y' HTTP/1.1>"


def test_a_path_that_is_not_utf_8_is_kept_as_bytes():
    line = read("GET /%ff HTTP/1.0")

    assert (line.version, line.path_bytes, line.path) == ("1.0", b"/\xff", "/�")


def test_a_percent_that_escapes_nothing_is_a_percent():
    assert read("GET /%zz%4 HTTP/1.1").path_bytes == b"/%zz%4"


def test_a_path_is_decoded_once():
    assert read("GET /%2541 HTTP/1.1").path_bytes == b"/%41"


@pytest.mark.parametrize(
    ("method", "target", "path", "query", "authority"),
    [
        ("GET", "http://a.example/b?c", b"/b", b"c", b"a.example"),
        ("GET", "HTTPS://a.example:8080/b", b"/b", b"", b"a.example:8080"),
        ("GET", "http://a.example", b"/", b"", b"a.example"),
        ("GET", "http://a.example?c", b"/", b"c", b"a.example"),
        ("GET", "http://[::1]/", b"/", b"", b"[::1]"),
        ("OPTIONS", "http://a.example", b"*", b"", b"a.example"),
        ("OPTIONS", "http://a.example?c", b"/", b"c", b"a.example"),
        ("OPTIONS", "http://a.example/", b"/", b"", b"a.example"),
        ("OPTIONS", "*", b"*", b"", b""),
    ],
)
def test_absolute_and_asterisk_form(method: str, target: str, path: bytes, query: bytes, authority: bytes):
    line = read(f"{method} {target} HTTP/1.1")

    assert (path, query, authority) == (line.raw_path, line.query, line.authority)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "GET",
        "GET /",
        "GET  / HTTP/1.1",
        "GET / HTTP/1.1 ",
        " GET / HTTP/1.1",
        "GET\t/ HTTP/1.1",
        "GET / http/1.1",
        "GET / HTTP/1,1",
        "GET / HTTP/11.1",
        "GET / RTSP/1.0",
        "GET /\xe4 HTTP/1.1",
        "G{T / HTTP/1.1",
        "GET a HTTP/1.1",
        "GET * HTTP/1.1",
        "GET /#a HTTP/1.1",
        "GET http:///a HTTP/1.1",
        "GET http://:80/a HTTP/1.1",
        "GET http://a:b@c/ HTTP/1.1",
        "GET ftp://a/ HTTP/1.1",
        "GET a.example:443 HTTP/1.1",
        "OPTIONS ** HTTP/1.1",
    ],
)
def test_what_is_malformed_is_400(text: str):
    assert refusal(text) == 400


@pytest.mark.parametrize("version", ["1.2", "1.9"])
def test_a_later_minor_version_is_processed_as_1_1(version: str):
    assert read(f"GET / HTTP/{version}").version == "1.1"


@pytest.mark.parametrize("version", ["0.9", "2.0", "2.1", "3.0"])
def test_other_major_versions_are_505(version: str):
    assert refusal(f"GET / HTTP/{version}") == 505


@pytest.mark.parametrize("method", ["BREW", "get", "VERSION-CONTROL", "!#$%&'*+-.^_`|~0aZ", "M" * 32])
def test_a_method_is_any_token(method: str):
    assert read(f"{method} / HTTP/1.1").method == method


@pytest.mark.parametrize("text", ["M" * 33 + " / HTTP/1.1", "CONNECT a.example:443 HTTP/1.1"])
def test_connect_and_a_method_longer_than_32_bytes_are_501(text: str):
    assert refusal(text) == 501


def test_every_beginning_of_a_request_line_is_viable():
    for line in (b"GET /a?b=%20 HTTP/1.1", b"M-SEARCH * HTTP/1.0", b"OPTIONS http://a:80/ HTTP/1.1"):
        assert all(is_viable(line[:end]) for end in range(len(line) + 1))


@pytest.mark.parametrize(
    "start", [b"\x16\x03\x01", b" ", b"GET  ", b"GET /\x7f", b"GET / FTP", b"\xff", b":"]
)
def test_what_cannot_become_a_request_line_is_not_viable(start: bytes):
    assert not is_viable(start)
