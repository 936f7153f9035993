"""What an application sees of TLS."""

import pytest

from appserve.net.tls_facts import distinguished_name
from tests.certificates import certificates
from tests.net.tls_visit import Visit, serving


def test_a_connection_without_a_client_certificate():
    facts = Visit().shake().server.facts()

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
    facts = Visit(context, client=made.client_context(made.ann)).shake().server.facts()

    assert facts["SSL_CLIENT_VERIFY"] == "SUCCESS"
    assert facts["SSL_CLIENT_S_DN"] == "CN=Ann,O=Shop,C=DE"
    assert facts["SSL_CLIENT_I_DN"] == "CN=The authority of tests"
    assert int(facts["SSL_CLIENT_M_SERIAL"], 16) > 0
    with open(made.ann.certfile) as file:
        assert facts["SSL_CLIENT_CERT"] == file.read()


def test_a_client_that_need_not_show_one_and_does_not():
    facts = Visit(serving(cert_reqs="optional", ca_certs=certificates().authority)).shake().server.facts()

    assert facts["SSL_CLIENT_VERIFY"] == "NONE"
    assert not any(key.startswith("SSL_CLIENT_S") for key in facts)


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
