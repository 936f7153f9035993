"""What comes before HTTP: a PROXY header, then TLS, in whatever pieces."""

from functools import partial

import pytest

from appserve.connection.origin import Endpoints
from appserve.connection.preamble import Preamble, PreambleRules
from appserve.errors import Rejected
from appserve.http.forwarded import TrustList
from appserve.net.tls_session import TlsSession
from tests.http.proxy_headers import CALLED, CLIENT, LOCAL, UNKNOWN, block, line, tls
from tests.net.tls_visit import Visit, serving

SOCKETS = Endpoints(("10.0.0.1", 4711), ("10.0.0.2", 80))
HEADER = Endpoints(CLIENT, CALLED)
NO_CLIENT = Endpoints(SOCKETS.client, SOCKETS.server, is_announced=False)
HEADERS = [
    (line(), HEADER),
    (block(), HEADER),
    (block(vectors=tls()), Endpoints(CLIENT, CALLED, over_tls=True)),
    (LOCAL, NO_CLIENT),
    (UNKNOWN, NO_CLIENT),
]
GET = b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n"
CLIENT_HELLO = bytes.fromhex("16 03 01 00 c4 01 00 00 c0 03 03") + bytes(189)


def expecting(version: str, *, with_tls: bool = False) -> Preamble:
    make_session = partial(TlsSession, serving()) if with_tls else None
    return Preamble(PreambleRules(version, TrustList(["*"]), make_session), SOCKETS)


@pytest.mark.parametrize("behind", [b"", GET, CLIENT_HELLO, line(), block(), b"\r\n"])
@pytest.mark.parametrize(("header", "endpoints"), HEADERS)
def test_what_is_behind_the_header_is_passed_on_whole(header: bytes, endpoints: Endpoints, behind: bytes):
    preamble = expecting("auto")

    assert preamble.receive(header + behind) == behind
    assert preamble.endpoints == endpoints
    assert not preamble.expects_header
    assert preamble.receive(line()) == line(), "there is one header, and all else is HTTP"


@pytest.mark.parametrize(("header", "endpoints"), HEADERS)
def test_a_header_may_come_in_any_two_pieces_and_byte_by_byte(header: bytes, endpoints: Endpoints):
    for cut in range(1, len(header)):
        preamble = expecting("auto")
        assert preamble.receive(header[:cut]) == b""
        assert (preamble.endpoints, preamble.expects_header) == (SOCKETS, True)
        assert preamble.receive(header[cut:] + GET) == GET
        assert preamble.endpoints == endpoints
    slow = expecting("auto")
    assert [slow.receive(header[at : at + 1]) for at in range(len(header))] == [b""] * len(header)
    assert slow.receive(GET) == GET


@pytest.mark.parametrize(
    ("first", "version"),
    [(GET, "auto"), (CLIENT_HELLO, "auto"), (line(), "v2"), (block(), "v1"), (b"PROXY TCP9", "auto")],
)
def test_anything_else_than_a_header_is_refused(first: bytes, version: str):
    with pytest.raises(Rejected) as caught:
        expecting(version).receive(first)
    assert caught.value.status == 400


@pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8::1", ""])
def test_only_the_proxies_that_are_named_may_send_a_header(host: str):
    PreambleRules("v1", TrustList([host or "unix"])).check_peer(host)
    with pytest.raises(Rejected) as caught:
        PreambleRules("v1", TrustList(["192.0.2.2"])).check_peer(host)
    assert caught.value.status == 403
    assert "--proxy-allow-from" in caught.value.reason


def test_without_the_proxy_protocol_any_peer_may_connect():
    PreambleRules(make_session=partial(TlsSession, serving())).check_peer("6.6.6.6")


# ── TLS ──


def test_tls_may_come_in_one_piece_with_the_header():
    preamble = expecting("v2", with_tls=True)
    visit = Visit()
    assert preamble.session is None, "a silent client costs no memory"
    assert preamble.receive(block() + visit.hello()) == b""
    assert preamble.session is not None
    visit.server = preamble.session
    visit._incoming.write(preamble.output())
    visit.shake()

    assert visit.send(GET) == GET
    assert preamble.endpoints == HEADER
    assert preamble.session.facts()["HTTPS"] == "on"


def test_a_header_alone_begins_no_session():
    preamble = expecting("v1", with_tls=True)

    assert preamble.receive(line()) == b""
    assert preamble.session is None
    assert preamble.output() == b""
    assert preamble.expects_tls


def test_a_client_of_the_proxy_speaks_tls_if_the_connection_does():
    preamble = Preamble(PreambleRules("v1", TrustList(["*"])), Endpoints(None, None, over_tls=True))
    preamble.receive(line())

    assert preamble.endpoints.over_tls
