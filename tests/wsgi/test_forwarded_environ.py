"""What proxies say, as an application and the access log see it.

192.0.2.* are clients, 10.* are our proxies, 6.6.6.6 is a forged address.
"""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from appserve.connection.origin import Endpoints
from appserve.http.forwarded import ALL_HEADERS, Forwarding, TrustList
from appserve.http.messages import Reading
from appserve.wsgi.environ import CgiFields
from tests.conformance.wire import Response
from tests.http.forwarded_cases import FORWARDED, MOUNTED, Forwarded, Mounted
from tests.wsgi.talk import Environ, Talk, head

PROXY = ("10.0.0.1", 4711)
CLIENT = ("192.0.2.1", 5555)
UNIX = ""
FAMILY = ALL_HEADERS[:-1]

Visit = Callable[..., "ForwardedTalk"]


class ForwardedTalk(Talk):
    """A talk with an application that keeps the environ of each call."""

    def __init__(
        self,
        peer: object = PROXY,
        *,
        headers: tuple[str, ...] = FAMILY,
        trust: tuple[str, ...] = ("10.0.0.0/8", "unix"),
        **more: Any,
    ) -> None:
        self.environs: list[Environ] = []
        super().__init__(
            self._keep, peer=peer, forwarding=Forwarding(TrustList(trust), headers, CgiFields()), **more
        )

    def _keep(self, environ: Environ, start_response: Any) -> list[bytes]:
        self.environs.append(environ)
        start_response("200 OK", [("Content-Length", "0")])
        return []

    def reported(self, *fields: str, target: str = "/", host: str = "a.example") -> Environ:
        """The environ of a request with these fields."""
        self.ask(head(f"GET {target} HTTP/1.1", f"Host: {host}", *fields))
        return self.environs[-1]

    @property
    def lines(self) -> list[str]:
        return self.access.text.splitlines()


@pytest.fixture
def visit() -> Iterator[Visit]:
    opened: list[ForwardedTalk] = []

    def make(*arguments: Any, **more: Any) -> ForwardedTalk:
        opened.append(ForwardedTalk(*arguments, **more))
        return opened[-1]

    yield make
    for one in opened:
        one.close()


def differences(environ: Environ, plain: Environ) -> dict[str, Any]:
    """What is not as in a request that no proxy said anything of, besides the fields themselves."""
    names = (environ.keys() | plain.keys()) - {"wsgi.input", "wsgi.early_hints"}
    return {
        name: environ.get(name)
        for name in names
        if environ.get(name) != plain.get(name) and not name.startswith(("HTTP_X_", "HTTP_FORWARDED"))
    }


def assert_refused(answer: Response) -> None:
    assert answer.status == 400
    assert dict(answer.fields)[b"connection"] == b"close"


# ── what changes ──


@pytest.mark.parametrize("case", [case for case in FORWARDED if case.host], ids=repr)
def test_an_environ_has_the_origin_of_a_trusted_proxy(visit: Visit, case: Forwarded):
    talk = visit()
    host = case.host or ""

    plain = talk.reported(host=host)
    expected: dict[str, str | None] = {"HTTP_HOST": case.seen, "wsgi.url_scheme": case.scheme}
    if case.scheme == "https":
        expected["HTTPS"] = "on"
    if case.client:
        expected |= {"REMOTE_ADDR": case.client[0], "REMOTE_PORT": str(case.client[1])}
    if case.server:
        name, port = case.server
        expected |= {"SERVER_NAME": f"[{name}]" if ":" in name else name, "SERVER_PORT": str(port)}
    changed = {name: value for name, value in expected.items() if plain.get(name) != value}
    assert differences(talk.reported(*case.fields, host=host), plain) == changed
    assert differences(talk.reported(host=host), plain) == {}, "it is not that of the next request"


def test_forwarded_is_applied_where_it_was_chosen(visit: Visit):
    talk = visit(headers=("forwarded",))

    lines = (
        "Forwarded: for=6.6.6.6;host=evil.example",
        'Forwarded: for="[2001:db8::7]:99";proto=https;host=b',
    )
    environ = talk.reported(*lines, "X-Forwarded-For: 6.6.6.6", "X-Forwarded-Host: evil.example")
    assert (environ["REMOTE_ADDR"], environ["REMOTE_PORT"]) == ("2001:db8::7", "99")
    assert (environ["wsgi.url_scheme"], environ["HTTP_HOST"]) == ("https", "b")


def test_the_fields_of_a_trusted_proxy_stay_as_they_were_sent(visit: Visit):
    environ = visit().reported(
        "X-Forwarded-For: 6.6.6.6", "X-Forwarded-For: 192.0.2.7", "X-Forwarded-Proto: HTTPS"
    )

    assert environ["HTTP_X_FORWARDED_FOR"] == "6.6.6.6,192.0.2.7"
    assert environ["HTTP_X_FORWARDED_PROTO"] == "HTTPS"


@pytest.mark.parametrize("case", MOUNTED, ids=repr)
def test_a_prefix_goes_before_the_root_path_and_both_off_the_path(visit: Visit, case: Mounted):
    talk = visit(root_path=case.root_path)

    for _ in range(2):
        environ = talk.reported(f"X-Forwarded-Prefix: {case.prefix or '/'}", target=case.received)
        assert (environ["SCRIPT_NAME"], environ["PATH_INFO"]) == (case.root, case.below)
        assert environ["REQUEST_URI"] == case.received


def test_a_prefix_is_decoded_as_the_path_is(visit: Visit):
    environ = visit().reported("X-Forwarded-Prefix: /caf%C3%A9/", target="/caf%c3%a9/x")

    assert (environ["SCRIPT_NAME"], environ["PATH_INFO"]) == ("/caf\xc3\xa9", "/x")


def test_options_of_the_server_as_a_whole_have_no_path_below_a_prefix(visit: Visit):
    talk = visit()

    talk.ask(head("OPTIONS * HTTP/1.1", "Host: a.example", "X-Forwarded-Prefix: /p"), "OPTIONS")
    assert (talk.environs[-1]["SCRIPT_NAME"], talk.environs[-1]["PATH_INFO"]) == ("/p", "")


# ── what does not ──

SPOOFED = (
    "X-Forwarded-For: 6.6.6.6",
    "X-Forwarded-Proto: https",
    "X-Forwarded-Host: evil.example",
    "X-Forwarded-Port: 81",
    "X-Forwarded-Prefix: /evil",
    "Forwarded: for=6.6.6.6;proto=https;host=evil.example",
)


@pytest.mark.parametrize("headers", [FAMILY, ("forwarded",)])
@pytest.mark.parametrize("peer", [CLIENT, UNIX])
def test_nothing_is_applied_from_a_peer_that_is_not_trusted(
    visit: Visit, peer: object, headers: tuple[str, ...]
):
    talk = visit(peer, trust=("10.0.0.0/8",), headers=headers)

    plain = talk.reported()
    environ = talk.reported(*SPOOFED)
    assert differences(environ, plain) == {}
    assert environ["HTTP_X_FORWARDED_FOR"] == "6.6.6.6", "an application may look at it"
    assert talk.reported("X-Forwarded-Proto: gopher", "Forwarded: garbage")


def test_a_name_with_underscores_speaks_for_no_proxy(visit: Visit):
    talk = visit()

    environ = talk.reported("X_Forwarded_For: 6.6.6.6", "X-Forwarded_Proto: https")
    assert differences(environ, talk.reported()) == {}
    assert "HTTP_X_FORWARDED_FOR" not in environ


@pytest.mark.pure
def test_trust_of_an_untrusted_peer_is_checked_once_and_its_fields_are_not_read(
    visit: Visit, monkeypatch: pytest.MonkeyPatch
):
    asked: list[str] = []
    trusts = Forwarding.trusts
    monkeypatch.setattr(Forwarding, "trusts", lambda self, peer: asked.append(peer) or trusts(self, peer))
    monkeypatch.setattr(Forwarding, "read", None)

    talk = visit(CLIENT)
    talk.reported(*SPOOFED)
    talk.reported(*SPOOFED)
    assert asked == [CLIENT[0]]


@pytest.mark.pure
def test_trust_of_a_trusted_peer_is_checked_once(visit: Visit, monkeypatch: pytest.MonkeyPatch):
    asked: list[str] = []
    trusted = Endpoints.trusted
    monkeypatch.setattr(
        Endpoints, "trusted", lambda self, reader: asked.append(self.host) or trusted(self, reader)
    )

    talk = visit()
    talk.reported("X-Forwarded-For: 192.0.2.7")
    talk.reported("X-Forwarded-For: 192.0.2.7")
    assert asked == [PROXY[0]]


def test_a_request_without_a_chosen_field_is_its_peer_s(visit: Visit):
    assert visit().reported("X-Real-Ip: 6.6.6.6")["REMOTE_ADDR"] == PROXY[0]


# ── a contradiction ──

BAD = "X-Forwarded-Proto: gopher"


def test_what_contradicts_itself_is_400_and_never_reaches_the_application(visit: Visit):
    talk = visit()
    talk.reported("X-Forwarded-For: 192.0.2.7")

    answer = talk.ask(head("GET /a HTTP/1.1", "Host: a.example", "X-Forwarded-For: 192.0.2.7", BAD))

    assert_refused(answer)
    assert len(talk.environs) == 1
    assert talk.counters.requests == 2
    assert talk.row.stall_reference_ns == 0, "the scoreboard shows an application that was never called"
    assert talk.lines[-1].startswith(PROXY[0] + " "), "the client that it claims is not known"
    assert '"GET /a HTTP/1.1" 400 ' in talk.lines[-1]


@pytest.mark.parametrize("framing", ["Content-Length: 5", "Transfer-Encoding: chunked"])
def test_a_body_is_not_waited_for_nor_read_as_a_request(visit: Visit, framing: str):
    talk = visit()

    talk.send(head("POST / HTTP/1.1", "Host: a.example", framing, BAD, "Expect: 100-continue"))
    talk.send(head("GET /smuggled HTTP/1.1", "Host: a.example"))

    (answer,) = talk.responses("POST")
    assert_refused(answer)
    assert talk.environs == []
    assert len(talk.lines) == 1
    assert talk.connection._http.reading is Reading.FAULT


def test_a_refused_head_request_has_no_body(visit: Visit):
    answer = visit().ask(head("HEAD / HTTP/1.1", "Host: a.example", BAD), "HEAD")

    assert_refused(answer)


def test_a_good_request_before_a_contradiction_is_answered(visit: Visit):
    talk = visit()

    talk.send(head("GET / HTTP/1.1", "Host: a") + head("GET / HTTP/1.1", "Host: a", BAD))
    good, bad = talk.responses("GET", "GET")
    assert good.status == 200
    assert_refused(bad)


# ── the access log ──


def test_the_access_log_shows_the_client_of_a_request_whose_body_does_not_come(visit: Visit):
    talk = visit()

    talk.send(head("POST / HTTP/1.1", "Host: a", "X-Forwarded-For: 192.0.2.7", "Content-Length: 5") + b"he")
    talk.end()
    assert talk.lines[-1].startswith("192.0.2.7 ")
    assert talk.environs == []


def test_the_access_log_shows_the_peer_of_what_is_no_request(visit: Visit):
    talk = visit()

    talk.reported("X-Forwarded-For: 192.0.2.7")
    talk.send(b"GET / HTTP/9.9\r\n\r\n")
    assert talk.lines[-1].startswith(PROXY[0] + " ")
