"""What an application is told about TLS."""

import ssl

import pytest

from appserve.net.tls_facts import distinguished_name, tls_facts
from tests.certificates import certificates
from tests.net.tls_visit import Visit, serving


def test_a_connection_without_a_client_certificate():
    with Visit().shake() as visit:
        facts = visit.server.facts()

    assert facts.pop("SSL_CIPHER").startswith("TLS_")
    assert facts == {
        "HTTPS": "on",
        "SSL_PROTOCOL": "TLSv1.3",
        "SSL_CLIENT_VERIFY": "NONE",
    }


@pytest.mark.parametrize("demand", ["optional", "required"])
def test_the_certificate_of_a_client(demand):
    made = certificates()
    context = serving(cert_reqs=demand, ca_certs=made.authority)
    with Visit(context, client=made.client_context(made.ann)).shake() as visit:
        facts = visit.server.facts()

    assert facts["SSL_CLIENT_VERIFY"] == "SUCCESS"
    assert facts["SSL_CLIENT_S_DN"] == "CN=Ann,O=Shop,C=DE"
    assert facts["SSL_CLIENT_I_DN"] == "CN=The authority of tests"
    assert int(facts["SSL_CLIENT_M_SERIAL"], 16) > 0
    with open(made.ann.certfile) as file:
        assert facts["SSL_CLIENT_CERT"] == file.read()


def test_a_client_that_need_not_show_one_and_does_not():
    with Visit(serving(cert_reqs="optional", ca_certs=certificates().authority)).shake() as visit:
        facts = visit.server.facts()

    assert facts["SSL_CLIENT_VERIFY"] == "NONE"
    assert not any(key.startswith("SSL_CLIENT_S") for key in facts)


def test_an_event_loops_session_tells_the_same():
    """Not a socket, but an object between two buffers."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = serving().wrap_bio(to_server, to_client, server_side=True)
    name = "www.shop.example"
    client = certificates().client_context().wrap_bio(to_client, to_server, server_hostname=name)
    for _ in range(3):
        for side in (client, server):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                pass

    assert tls_facts(server)["SSL_PROTOCOL"] == "TLSv1.3"


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ((), ""),
        (None, ""),
        (((("commonName", "a"),),), "CN=a"),
        (((("countryName", "DE"),), (("commonName", "a"), ("userId", "7"))), "CN=a+UID=7,C=DE"),
        (((("commonName", 'a, "b" + <c>; \\d'),),), r"CN=a\, \"b\" \+ \<c\>\; \\d"),
        (((("commonName", "#a"),),), r"CN=\#a"),
        (((("commonName", "  a  "),),), r"CN=\  a \ "),
        (((("commonName", " "),),), "CN=\\ "),
        (((("commonName", "é\n"),),), r"CN=\C3\A9\0A"),
        (((("emailAddress", "a@b.example"),),), "emailAddress=a@b.example"),
        (((("1.2.3.4", "a=b"),),), "1.2.3.4=a=b"),
    ],
)
def test_names_are_written_as_rfc_4514_says(name, written):
    assert distinguished_name(name) == written
