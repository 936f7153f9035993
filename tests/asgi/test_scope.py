"""The scope of an HTTP request."""

from appserve.asgi.scope import AsgiFields, make_scope, make_template
from appserve.http.date import DateFields
from appserve.http.http1 import Http1Connection
from appserve.http.messages import Limits, RequestHead

CLIENT = ("192.0.2.7", 4711)
SERVER = ("192.0.2.1", 80)


def read_head(*lines: str) -> RequestHead[tuple[bytes, bytes]]:
    connection = Http1Connection(Limits(), AsgiFields(), DateFields(0))
    connection.receive_data("\r\n".join([*lines, "", ""]).encode("latin-1"))
    head = connection.next_event()
    assert isinstance(head, RequestHead)
    return head


def scope_of(*lines: str, state: dict[str, object] | None = None, root_path: str = "") -> dict[str, object]:
    return make_scope(make_template("http", CLIENT, SERVER, root_path), read_head(*lines), state)


def test_a_scope_is_complete() -> None:
    scope = scope_of(
        "GET /a%2Fb/%C3%A4?x=%20y HTTP/1.1", "Host: example.org", "Cookie: a=1", "X-A:  v ", "Cookie: b=2"
    )

    assert scope == {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.5"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": "/a/b/ä",
        "raw_path": b"/a%2Fb/%C3%A4",
        "query_string": b"x=%20y",
        "root_path": "",
        "headers": [(b"host", b"example.org"), (b"cookie", b"a=1"), (b"x-a", b"v"), (b"cookie", b"b=2")],
        "client": ("192.0.2.7", 4711),
        "server": ("192.0.2.1", 80),
    }


def test_scope_and_what_is_in_it_have_the_types_of_the_specification() -> None:
    scope = scope_of("GET / HTTP/1.1", "Host: a")

    assert type(scope) is dict
    assert type(scope["asgi"]) is dict
    assert type(scope["headers"]) is list
    assert all(type(key) is str for key in scope)


def test_the_scope_has_the_version_of_an_http_1_0_request() -> None:
    assert scope_of("GET / HTTP/1.0")["http_version"] == "1.0"


def test_a_path_that_is_no_utf_8_is_readable_and_its_bytes_are_kept() -> None:
    scope = scope_of("GET /%FF%FE HTTP/1.1", "Host: a")

    assert scope["path"] == "/��"
    assert scope["raw_path"] == b"/%FF%FE"


def test_an_absolute_form_target_is_reduced_to_its_path_and_its_host_counts() -> None:
    scope = scope_of("GET http://real.example/p?q HTTP/1.1", "Host: other.example")

    assert (scope["path"], scope["raw_path"], scope["query_string"]) == ("/p", b"/p", b"q")
    assert [
        (name.lower(), value)
        for name, value in scope["headers"]
        if name.lower() == b"host"  # type: ignore[attr-defined]
    ] == [(b"host", b"real.example")]


def test_the_asterisk_of_options_is_a_path() -> None:
    scope = scope_of("OPTIONS * HTTP/1.1", "Host: a")

    assert (scope["path"], scope["raw_path"]) == ("*", b"*")


def test_two_scopes_share_nothing_that_can_be_changed() -> None:
    template = make_template("http", CLIENT, SERVER, "")
    state = {"pool": []}
    head = read_head("GET / HTTP/1.1", "Host: a")
    first = make_scope(template, head, state)
    first["asgi"]["mine"] = first["state"]["mine"] = first["mine"] = 1

    second = make_scope(template, read_head("GET / HTTP/1.1", "Host: a"), state)

    assert second["asgi"] == {"version": "3.0", "spec_version": "2.5"}
    assert {"pool": []} == second["state"] == state
    assert "mine" not in second
    assert first["headers"] is not second["headers"]


def test_repeated_heads_of_one_connection_have_lists_of_their_own() -> None:
    connection = Http1Connection(Limits(), AsgiFields(), DateFields(0))
    lists = []
    for _ in range(3):
        connection.receive_data(b"GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n\r\n")
        head = connection.next_event()
        assert isinstance(head, RequestHead)
        head.fields.append((b"added", b"by a middleware"))
        lists.append(head.fields)
        connection.response.respond(200, (), b"")
        connection.start_next_cycle()

    assert lists == [[(b"host", b"a"), (b"x", b"1"), (b"added", b"by a middleware")]] * 3


def test_state_is_a_shallow_copy_and_absent_without_a_lifespan() -> None:
    pool = object()

    scope = scope_of("GET / HTTP/1.1", "Host: a", state={"pool": pool})

    assert pool is scope["state"]["pool"]  # type: ignore[index]
    assert "state" not in scope_of("GET / HTTP/1.1", "Host: a")


def test_a_root_path_has_no_slash_at_its_end() -> None:
    scope = scope_of("GET /api/x HTTP/1.1", "Host: a", root_path="/api/")

    assert (scope["root_path"], scope["path"], scope["raw_path"]) == ("/api", "/api/x", b"/api/x")


def test_a_connection_on_a_unix_socket_has_a_path_for_a_server_and_no_client() -> None:
    template = make_template("http", None, ("/run/a.sock", None), "")

    scope = make_scope(template, read_head("GET / HTTP/1.1", "Host: a"), None)

    assert (scope["client"], scope["server"]) == (None, ("/run/a.sock", None))
