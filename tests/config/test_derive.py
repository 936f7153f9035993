"""What the settings say of proxies, as values."""

from typing import Any

import pytest

from appserve.asgi.scope import AsgiFields
from appserve.config.derive import make_forwarding, unix_mode
from appserve.config.settings import Settings
from appserve.http.forwarded import USUAL_HEADERS


def test_settings_say_which_proxies_are_trusted_and_in_what():
    usual = make_forwarding(Settings(), AsgiFields())
    assert usual is not None
    assert usual.names == {name.encode() for name in USUAL_HEADERS}
    trusted = [usual.trusts(peer) for peer in ("127.0.0.1", "::1", "", "127.0.0.2")]
    assert trusted == [True, True, True, False]

    chosen = make_forwarding(
        Settings(forwarded_allow_ips=("10.0.0.0/8",), forwarded_headers=("forwarded",)), AsgiFields()
    )
    assert chosen is not None
    assert chosen.names == {b"forwarded"}
    assert [chosen.trusts(peer) for peer in ("10.1.2.3", "127.0.0.1", "")] == [True, False, False]


@pytest.mark.parametrize("nothing", [{"forwarded_allow_ips": ()}, {"forwarded_headers": ()}])
def test_where_no_proxy_is_trusted_nothing_is_read(nothing: dict[str, Any]):
    assert make_forwarding(Settings(**nothing), AsgiFields()) is None


@pytest.mark.parametrize(
    ("given", "mode"),
    [
        ({}, 0o660),
        ({"umask": 0o007}, 0o660),
        ({"umask": 0}, 0o666),
        ({"umask": 0, "socket_mode": 0o600}, 0o600),
    ],
)
def test_the_mode_of_unix_sockets_is_given_or_follows_from_the_umask(given: dict[str, Any], mode: int):
    assert unix_mode(Settings(**given)) == mode
