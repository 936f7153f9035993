import io
import sys
from typing import Any
from wsgiref.util import request_uri

import pytest

from appserve.connection.origin import endpoints_of
from appserve.errors import AppMistake
from appserve.http.date import DateFields
from appserve.http.http1 import Http1Connection
from appserve.http.messages import Limits, RequestHead
from appserve.version import __version__
from appserve.wsgi.environ import CgiFields, ServerFacts, add_endpoints, make_environ, make_template
from tests.wsgi.talk import head

LOCAL, PEER = ("127.0.0.1", 8000), ("192.0.2.1", 5555)
FIELDS = CgiFields()
BODY = io.BytesIO()


def template(local: object = LOCAL, peer: object = PEER) -> dict[str, Any]:
    template = make_template(ServerFacts(multithread=False, multiprocess=True))
    return add_endpoints(template, endpoints_of(peer, local))


def environ_of(*lines: str, local: object = LOCAL, peer: object = PEER) -> dict[str, Any]:
    connection = Http1Connection(Limits(), FIELDS, DateFields(0))
    connection.receive_data(head(*lines))
    request = connection.next_event()
    assert isinstance(request, RequestHead)
    return make_environ(template(local, peer), request, BODY)


def get(*fields: str) -> dict[str, Any]:
    return environ_of("GET / HTTP/1.1", "Host: a.example", *fields)


def test_it_is_complete_and_of_the_right_types():
    environ = environ_of(
        "POST /a/b?c=d HTTP/1.1", "Host: a.example:80", "Content-Type: t", "Content-Length: 0"
    )

    assert type(environ) is dict
    assert environ == {
        "REQUEST_METHOD": "POST",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/a/b",
        "QUERY_STRING": "c=d",
        "CONTENT_TYPE": "t",
        "CONTENT_LENGTH": "0",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "8000",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_SOFTWARE": f"appserve/{__version__}",
        "REMOTE_ADDR": "192.0.2.1",
        "REMOTE_PORT": "5555",
        "RAW_URI": "/a/b?c=d",
        "REQUEST_URI": "/a/b?c=d",
        "HTTP_HOST": "a.example:80",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": False,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
        "wsgi.file_wrapper": environ["wsgi.file_wrapper"],
        "wsgi.input": BODY,
        "wsgi.input_terminated": True,
        "wsgi.early_hints": "",  # a place for the response's own
    }
    assert all(type(value) is str for key, value in environ.items() if "." not in key)


@pytest.mark.parametrize(
    ("target", "path_info", "query"),
    [
        ("/", "/", ""),
        ("/a%20b", "/a b", ""),
        ("/%C3%BC", "/Ã¼", ""),
        ("/%FC", "/ü", ""),
        ("/a%2Fb", "/a/b", ""),
        ("/%00%0d%0a", "/\x00\r\n", ""),
        ("/a?b%20c&d=%C3%BC?", "/a", "b%20c&d=%C3%BC?"),
        ("//a//b", "//a//b", ""),
        ("/a/../b/.", "/a/../b/.", ""),
        ("http://b.example/c?d", "/c", "d"),
    ],
)
def test_the_path_is_decoded_once_into_latin_1_and_the_query_is_not(target: str, path_info: str, query: str):
    environ = environ_of(f"GET {target} HTTP/1.1", "Host: a.example")

    assert (environ["PATH_INFO"], environ["QUERY_STRING"]) == (path_info, query)
    assert environ["RAW_URI"] == environ["REQUEST_URI"] == target


def test_the_bytes_of_a_path_can_be_had_back():
    environ = environ_of("GET /%E2%82%AC%FF HTTP/1.1", "Host: a.example")

    assert environ["PATH_INFO"].encode("latin-1") == b"/\xe2\x82\xac\xff"


@pytest.mark.parametrize("target", ["*", "http://b.example"])
def test_options_of_the_server_as_a_whole_are_about_no_path(target: str):
    environ = environ_of(f"OPTIONS {target} HTTP/1.1", "Host: b.example")

    assert (environ["PATH_INFO"], environ["RAW_URI"]) == ("", target)


@pytest.mark.parametrize(
    ("line", "host", "url"),
    [
        ("GET /a%20b/%C3%BC?c=d%20e HTTP/1.1", "a.example:81", "http://a.example:81/a%20b/%C3%BC?c=d%20e"),
        ("GET / HTTP/1.1", "[::1]:8000", "http://[::1]:8000/"),
        ("GET http://b.example/c?d HTTP/1.1", "a.example", "http://b.example/c?d"),
        ("GET /a HTTP/1.0", None, "http://127.0.0.1:8000/a"),
    ],
)
def test_the_url_can_be_put_together_again(line: str, host: str | None, url: str):
    assert request_uri(environ_of(line, *([f"Host: {host}"] if host else []))) == url


def test_the_url_of_an_ipv6_address_is_one():
    environ = environ_of("GET /a HTTP/1.0", local=("::1", 8000, 0, 0), peer=("::2", 5555, 0, 0))

    assert request_uri(environ) == "http://[::1]:8000/a"


# ── mounted somewhere ──


def mounted_at(root_path: str, target: str, method: str = "GET") -> tuple[str, str]:
    """(SCRIPT_NAME, PATH_INFO)"""
    connection = Http1Connection(Limits(), CgiFields(), DateFields(0))
    connection.receive_data(head(f"{method} {target} HTTP/1.1", "Host: a.example"))
    request = connection.next_event()
    assert isinstance(request, RequestHead)
    site = ServerFacts(multithread=False, multiprocess=False, root_path=root_path)
    environ = make_environ(add_endpoints(make_template(site), endpoints_of(PEER, LOCAL)), request, BODY)
    assert (environ["RAW_URI"], environ["REQUEST_URI"]) == (target, target)
    return environ["SCRIPT_NAME"], environ["PATH_INFO"]


@pytest.mark.parametrize(
    ("target", "path_info"),
    [
        ("/shop/items?a=/shop", "/items"),
        ("/shop/", "/"),
        ("/shop", ""),
        ("/shop//items", "//items"),
        ("/shop/shop/items", "/shop/items"),
        ("/%73hop/items", "/items"),
        ("http://a.example/shop/items", "/items"),
        # A proxy has taken it off, or it never was there:
        ("/items", "/items"),
        ("/shopping", "/shopping"),
        ("/shop.html", "/shop.html"),
        ("/Shop/items", "/Shop/items"),
        ("/", "/"),
        ("//shop/items", "//shop/items"),
    ],
)
def test_the_root_path_is_taken_off_at_a_slash(target: str, path_info: str):
    assert mounted_at("/shop", target) == ("/shop", path_info)


def test_a_root_path_of_several_segments_and_beyond_ascii():
    assert mounted_at("/a/ü", "/a/%C3%BC/b") == ("/a/Ã¼", "/b")
    assert mounted_at("/a/ü", "/a/b") == ("/a/Ã¼", "/a/b")


def test_no_path_has_no_root_to_take_off():
    assert mounted_at("/shop", "*", "OPTIONS") == ("/shop", "")


# ── the rest ──


def test_field_values_are_latin_1():
    assert get("X: \xe4\xff")["HTTP_X"] == "äÿ"


def test_names_are_cgi_variables():
    environ = get("X-Forwarded-For: 1", "accept: 2", "ETag: 3", "X.Y~Z: 4")

    assert [
        environ[key] for key in ("HTTP_X_FORWARDED_FOR", "HTTP_ACCEPT", "HTTP_ETAG", "HTTP_X.Y~Z")
    ] == list("1234")
    assert not {"HTTP_CONTENT_TYPE", "HTTP_CONTENT_LENGTH"} & set(get("Content-Type: a", "Content-Length: 0"))


def test_what_was_not_sent_is_not_there():
    assert not {"CONTENT_TYPE", "CONTENT_LENGTH", "HTTP_COOKIE"} & set(get())


def test_repeated_fields_are_one_in_order():
    environ = get(
        "X: 1", "Cookie: a=1", "x: 2", "Y: 1", "Cookie: b=2", "X:", "Content-Type: a", "Content-Type: b"
    )

    assert (environ["HTTP_X"], environ["HTTP_Y"], environ["HTTP_COOKIE"]) == ("1,2,", "1", "a=1; b=2")
    assert environ["CONTENT_TYPE"] == "a,b"


def test_names_with_an_underscore_cannot_replace_others():
    environ = get("X-Real-IP: good", "X_Real_IP: bad", "X-Real_IP: bad", "Content_Length: 7")

    assert environ["HTTP_X_REAL_IP"] == "good"
    assert "CONTENT_LENGTH" not in environ


@pytest.mark.parametrize(
    ("local", "peer", "expected"),
    [
        (("::1", 8000, 0, 0), ("::2", 5555, 0, 0), ("[::1]", "8000", "::2", "5555")),
        ("/run/a.sock", "", ("localhost", "80", "", "")),
        ("/run/a.sock", b"", ("localhost", "80", "", "")),
    ],
)
def test_addresses_that_are_not_inet(local: object, peer: object, expected: tuple[str, ...]):
    environ = environ_of("GET / HTTP/1.0", local=local, peer=peer)

    assert (
        tuple(environ[key] for key in ("SERVER_NAME", "SERVER_PORT", "REMOTE_ADDR", "REMOTE_PORT"))
        == expected
    )


def test_what_an_application_changes_is_its_own():
    first = get()
    first.clear()
    second = get()
    second["HTTP_HOST"] = second["REQUEST_METHOD"] = second["SERVER_NAME"] = "changed"

    assert get()["HTTP_HOST"] == "a.example"
    assert get()["REQUEST_METHOD"] == "GET"
    assert get()["SERVER_NAME"] == "127.0.0.1"


# ── response headers ──


def test_a_header_is_latin_1():
    assert FIELDS.write_field(("X", "ü"))[0] == b"X: \xfc\r\n"


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (("X", "€"), "beyond latin-1"),
        (("€", "x"), "beyond latin-1"),
        (("X", b"x"), "not made of str"),
        ((b"X", "x"), "not made of str"),
        (("X", 5), "not made of str"),
        (("X", None), "not made of str"),
        (["X", "x"], "not a (name, value) tuple"),
        (("X",), "not a (name, value) tuple"),
        (("X", "x", "x"), "not a (name, value) tuple"),
        ("XY", "not a (name, value) tuple"),
    ],
)
def test_what_is_no_header_is_the_applications_mistake(header: Any, message: str):
    with pytest.raises(AppMistake) as caught:
        FIELDS.write_field(header)

    assert message in str(caught.value)
