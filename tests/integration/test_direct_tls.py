"""HTTPS without a proxy in front, as docs/tls.md and conf/appserve-tls.toml say it, for real clients."""

import hashlib
import http.client
import json
import re
import shlex
import shutil
import signal
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from appserve.cli.command import run
from appserve.errors import ExitCode
from tests.apps.mirror import hash_of_pattern
from tests.integration.load import small_load
from tests.integration.peers import (
    CLASSES,
    FORGED,
    NAME,
    ROOT,
    UPLOAD,
    UPLOADED,
    Front,
    curl,
    fill,
    make_certificates,
    mirror,
)
from tests.integration.server import TIMEOUT, Server


class Visitors(Front):
    """Clients of the server itself, which check its certificate."""

    def connect(self, timeout: float = TIMEOUT, secure: bool = True) -> http.client.HTTPConnection:
        return super().connect(timeout, secure)


@contextmanager
def serving(folder: Path, worker_class: str, *flags: str) -> Iterator[Server]:
    """The mirror with the very file of conf/; the certificates are copies, which a test may renew."""
    shop = make_certificates().shop
    shutil.copy(shop.certfile, folder / "shop.pem")
    shutil.copy(shop.keyfile, folder / "shop.key")
    text = fill(
        "appserve-tls.toml", {'"0.0.0.0:443", "[::]:443"': '"127.0.0.1:0"', "workers = 4": "workers = 2"}
    )
    (folder / "appserve-tls.toml").write_text(text.replace("/etc/ssl/", f"{folder}/"))
    settings = ("--config", "appserve-tls.toml", *flags)
    with mirror(folder, worker_class, *settings, workers=2) as server:
        yield server


@pytest.fixture(scope="module", params=CLASSES)
def direct(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("direct"), request.param) as server:
        yield server


def ask(server: Server, path: str, *arguments: str, host: str = NAME) -> str:
    """By curl, which checks the certificate for `host`."""
    trust = ("--cacert", make_certificates().authority)
    return curl(
        *trust, "--connect-to", f"{host}:443:127.0.0.1:{server.port}", *arguments, f"https://{host}{path}"
    )


def shown(server: Server, name: str | None = NAME, context: ssl.SSLContext | None = None) -> ssl.SSLSocket:
    """A connection after its handshake, to be closed by the caller; `name` is what is asked for."""
    if context is None:
        context = make_certificates().client_context()
        context.check_hostname = False
    client = socket.create_connection(("127.0.0.1", server.port), TIMEOUT)
    return context.wrap_socket(client, server_hostname=name)


def names_in(secured: ssl.SSLSocket) -> set[str]:
    certificate = secured.getpeercert()
    assert certificate is not None
    return {str(value) for _, value in certificate["subjectAltName"]}


def test_the_log_says_https(direct: Server) -> None:
    assert f"listening on https://127.0.0.1:{direct.port}\n" in direct.log


def test_a_browser_is_served(direct: Server) -> None:
    forged = [part for name, value in FORGED.items() for part in ("--header", f"{name}: {value}")]
    seen = json.loads(ask(direct, "/whoami", *forged))
    assert (seen["client"], seen["scheme"], seen["root"]) == ("127.0.0.1", "https", "")
    assert seen["fields"]["host"] == NAME


def test_the_scheme_is_right_for_each_request_of_a_client(direct: Server) -> None:
    assert ask(direct, "/whoami", f"https://{NAME}/whoami").count('"scheme": "https"') == 2


def test_bodies_arrive_whole_in_both_directions(direct: Server, tmp_path: Path) -> None:
    file = tmp_path / "upload.bin"
    file.write_bytes(UPLOAD)
    for arguments in ((), ("--header", "Transfer-Encoding: chunked")):
        seen = json.loads(ask(direct, "/raw", "--upload-file", str(file), *arguments))
        assert UPLOADED.items() <= seen.items()
    for length in ("yes", "no"):
        size = 8_000_003
        ask(direct, f"/download?size={size}&length={length}", "--output", str(file))
        assert hashlib.sha256(file.read_bytes()).hexdigest() == hash_of_pattern(size)


def test_http_1_1_is_agreed_on_with_clients_that_offer_more(direct: Server) -> None:
    assert ask(direct, "/", "--http2", "--write-out", " %{http_version}").endswith(" 1.1")


@pytest.mark.parametrize("worker_class", CLASSES)
def test_a_reload_changes_the_certificate_and_drops_no_request(tmp_path: Path, worker_class: str) -> None:
    with serving(tmp_path, worker_class) as server:
        with shown(server) as secured:
            before = secured.getpeercert()
        with small_load(Visitors(server, 0, server.port), clients=4, method="POST") as load:
            renewed = make_certificates().renewed
            shutil.copy(renewed.certfile, tmp_path / "shop.pem")
            shutil.copy(renewed.keyfile, tmp_path / "shop.key")
            server.signal(signal.SIGHUP)
            server.await_line("generation 2 serves with 2 workers")
        assert load.complaints == []
        with shown(server) as secured:
            after = secured.getpeercert()
    assert before is not None and after is not None
    assert before["serialNumber"] != after["serialNumber"]


COMMAND = re.compile(r"^(?:    |#     )(appserve .*)$|`(appserve [^`]*)`", re.MULTILINE)
PAGES = (
    *("docs/tls.md", "docs/behind-a-proxy.md", "conf/appserve-tls.toml"),
    *("conf/nginx.conf", "conf/nginx-unix.conf", "conf/haproxy.cfg", "conf/haproxy-http.cfg"),
)


@pytest.mark.parametrize("page", PAGES)
def test_the_commands_of_the_documents_are_taken(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make_certificates()
    shutil.copy(made.shop.certfile, tmp_path / "shop.pem")
    shutil.copy(made.shop.keyfile, tmp_path / "shop.key")
    shutil.copy(made.authority, tmp_path / "clients.pem")
    (tmp_path / "appserve-tls.toml").write_text(fill("appserve-tls.toml", {}).replace("/etc/ssl/", ""))
    monkeypatch.chdir(tmp_path)
    found = [typed or quoted for typed, quoted in COMMAND.findall((ROOT / page).read_text())]
    assert found
    for typed in found:
        _, *arguments = shlex.split(typed.replace("/etc/ssl/", ""))
        assert run([*arguments, "--check-config"]) == ExitCode.CLEAN, typed
