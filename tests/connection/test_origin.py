"""The two ends of a connection, and which host a client called."""

import pytest

from appserve.asgi.scope import AsgiFields
from appserve.connection.origin import Endpoints, called_host, endpoints_of
from appserve.http.forwarded import Forwarding, Origin, TrustList
from appserve.http.proxy_protocol import ProxyHeader

SOCKET = Endpoints(("10.0.0.1", 4711), ("10.0.0.2", 80))


@pytest.mark.parametrize(
    ("peer", "local", "endpoints"),
    [
        (("10.0.0.1", 4711), ("10.0.0.2", 80), SOCKET),
        (("::1", 1, 0, 0), ("::2", 2, 0, 0), Endpoints(("::1", 1), ("::2", 2))),
        ("", "/run/s", Endpoints(None, ("/run/s", None))),
        (b"", "/run/s", Endpoints(None, ("/run/s", None))),
    ],
)
def test_the_endpoints_of_a_socket_are_its_addresses(peer: object, local: object, endpoints: Endpoints):
    assert endpoints_of(peer, local) == endpoints


def test_a_header_without_a_client_leaves_the_addresses_and_takes_the_trust():
    forwarding = Forwarding(TrustList(["10.0.0.1"]), ["x-forwarded-for"], AsgiFields())
    unknown = SOCKET.behind(ProxyHeader(None, None))

    assert (unknown.client, unknown.server) == (SOCKET.client, SOCKET.server)
    assert SOCKET.trusted(forwarding) is forwarding
    assert unknown.trusted(forwarding) is None


@pytest.mark.parametrize(("entry", "is_trusted"), [("192.0.2.7", True), ("10.0.0.1", False), ("*", True)])
def test_behind_a_header_it_is_the_announced_client_that_is_trusted(entry: str, is_trusted: bool):
    forwarding = Forwarding(TrustList([entry]), ["x-forwarded-for"], AsgiFields())
    endpoints = SOCKET.behind(ProxyHeader(("192.0.2.7", 1), ("192.0.2.8", 2)))

    assert (endpoints.trusted(forwarding) is forwarding) == is_trusted


def test_the_client_of_a_proxys_unix_socket_is_trusted_as_unix():
    endpoints = SOCKET.behind(ProxyHeader("", ""))

    assert (endpoints.client, endpoints.server, endpoints.host) == (None, None, "")
    assert endpoints.trusted(Forwarding(TrustList(["unix"]), ["x-forwarded-for"], AsgiFields())) is not None
    assert endpoints.trusted(Forwarding(TrustList(["10.0.0.1"]), ["x-forwarded-for"], AsgiFields())) is None
    assert endpoints.trusted(None) is None


@pytest.mark.parametrize(
    ("host", "port", "own", "scheme", "called"),
    [
        ("shop.example", 0, "upstream:8000", "http", ("shop.example", "shop.example", 80)),
        ("shop.example", 0, "", "https", ("shop.example", "shop.example", 443)),
        ("shop.example:8443", 8443, "a", "https", ("shop.example:8443", "shop.example", 8443)),
        ("[2001:db8::1]:8443", 8443, "a", "https", ("[2001:db8::1]:8443", "[2001:db8::1]", 8443)),
        ("", 8443, "shop.example", "https", ("shop.example:8443", "shop.example", 8443)),
        ("", 443, "shop.example", "https", ("shop.example", "shop.example", 443)),
        ("", 8443, "shop.example:9", "https", ("shop.example:9", "shop.example", 8443)),
        ("", 8443, "", "https", ("", "", 8443)),
    ],
)
def test_the_host_is_what_the_client_called(
    host: str, port: int, own: str, scheme: str, called: tuple[str, str, int]
):
    assert called_host(Origin(scheme, host, port, ""), own, scheme) == called
