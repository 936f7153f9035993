"""What the settings say of proxies and of TLS, as values."""

from typing import Any

import pytest

from appserve.config.settings import Settings
from appserve.http.forwarded import USUAL_HEADERS
from appserve.workers.context import make_forwarding, make_preamble, make_tls
from tests.certificates import certificates


def test_settings_say_which_proxies_are_trusted_and_in_what():
    usual = make_forwarding(Settings())
    assert usual is not None
    assert usual.names == {name.encode() for name in USUAL_HEADERS}
    trusted = [usual.trusts(peer) for peer in ("127.0.0.1", "::1", "", "127.0.0.2")]
    assert trusted == [True, True, True, False]

    chosen = make_forwarding(Settings(forwarded_allow_ips=("10.0.0.0/8",), forwarded_headers=("forwarded",)))
    assert chosen is not None
    assert chosen.names == {b"forwarded"}
    assert [chosen.trusts(peer) for peer in ("10.1.2.3", "127.0.0.1", "")] == [True, False, False]


@pytest.mark.parametrize("nothing", [{"forwarded_allow_ips": ()}, {"forwarded_headers": ()}])
def test_where_no_proxy_is_trusted_nothing_is_read(nothing: dict[str, Any]):
    assert make_forwarding(Settings(**nothing)) is None


def test_settings_say_whether_a_proxy_header_is_expected():
    assert make_preamble(Settings(), None) is None

    rules = make_preamble(Settings(proxy_protocol="v2", proxy_allow_from=("10.0.0.0/8",)), None)
    assert rules is not None and rules.proxies is not None
    assert (rules.proxy_protocol, rules.make_session) == ("v2", None)
    assert rules.proxies.trusts("10.1.2.3")
    assert not rules.proxies.trusts("127.0.0.1")


def test_with_a_certificate_each_connection_begins_with_tls():
    settings = Settings(certfile=(certificates().shop.both,))
    rules = make_preamble(settings, make_tls(settings, print))

    assert rules is not None and rules.make_session is not None
    assert (rules.proxy_protocol, rules.proxies) == ("", None)
    assert not rules.make_session().is_open
