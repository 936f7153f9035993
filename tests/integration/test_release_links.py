"""A server that was started in a linked folder: a reload goes where the link leads then."""

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from tests.certificates import certificates
from tests.integration.server import Server, await_fact, command

RELEASE = """
import os

def app(environ, start_response):
    start_response("200 OK", [("X-Workers", os.environ.get("W", ""))])
    return [os.getcwd().encode()]
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder with the releases `one` and `two`, and the link `current` to the first."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "app.py").write_text(RELEASE)
        (tmp_path / name / "appserve.toml").write_text(f"workers = {1 if name == 'one' else 2}")
        pair = certificates().shop if name == "one" else certificates().renewed
        shutil.copy(pair.both, tmp_path / name / "both.pem")
    point_to(tmp_path, "one")
    return tmp_path


def point_to(site: Path, release: str) -> None:
    """Move the link, as deployments do it: never is there none."""
    (site / "next").symlink_to(release)
    (site / "next").rename(site / "current")


Start = Callable[..., Server]


@pytest.fixture
def start(site: Path) -> Iterator[Start]:
    """start("--flag", …, folder=…, environ={…}) → a server that listens."""
    servers: list[Server] = []

    def begin(*flags: str, folder: str = "current", environ: Mapping[str, str] | None = None) -> Server:
        place = {"PYTHONDONTWRITEBYTECODE": "1", "PWD": str(site / folder), **(environ or {})}
        prefix = ["sh", "-c", 'cd "$0" && exec "$@"', str(site / folder)]
        servers.append(Server([*prefix, *command("app:app", "--bind", "127.0.0.1:0", *flags)], site, place))
        servers[-1].await_line("listening on ")
        return servers[-1]

    yield begin
    for server in servers:
        server.close()


def reload(server: Server, line: str) -> None:
    mark = server.mark()
    server.signal(signal.SIGHUP)
    server.await_line(line, since=mark)


def test_a_reload_follows_the_link_that_the_server_was_started_in(start: Start, site: Path) -> None:
    server = start()
    assert server.get().text == str(site / "one")

    point_to(site, "two")
    reload(server, "generation 2 serves with 2 workers")  # as the settings file there says
    assert server.get().text == str(site / "two")
    shutil.rmtree(site / "one")
    point_to(site, "two")
    reload(server, "generation 3 serves")
    assert server.get().text == str(site / "two")


def test_a_reload_follows_a_link_in_chdir(start: Start, site: Path) -> None:
    server = start("--chdir", "current", folder=".")
    assert server.get().text == str(site / "one")

    point_to(site, "two")
    reload(server, "generation 2 serves with 1 worker")
    assert server.get().text == str(site / "two")


def test_a_reload_reads_the_files_that_the_link_leads_to(start: Start, site: Path) -> None:
    server = start("--certfile", "both.pem")

    def shown() -> bytes:
        address = f"127.0.0.1:{server.port}"
        ask = ["openssl", "s_client", "-connect", address, "-servername", "shop.example"]
        reported = subprocess.run(ask, stdin=subprocess.DEVNULL, capture_output=True, check=False).stdout
        return reported.partition(b"-----BEGIN CERTIFICATE-----")[2].partition(b"-----END")[0]

    before = shown()
    assert before
    point_to(site, "two")
    reload(server, "generation 2 serves")
    assert shown() not in (before, b"")


def test_a_reload_opens_the_log_files_that_the_link_leads_to(start: Start, site: Path) -> None:
    server = start("--access-logfile", "access")
    server.get("/before")
    await_fact(lambda: "/before" in (site / "one" / "access").read_text(), "it is logged")

    point_to(site, "two")
    reload(server, "generation 2 serves")
    server.get("/after")
    await_fact(lambda: "/after" in (site / "two" / "access").read_text(), "it is logged there")
    assert "/after" not in (site / "one" / "access").read_text()


@pytest.mark.parametrize("pwd", ["/", "/gone", "current", ""])
def test_a_pwd_of_another_folder_is_ignored(start: Start, site: Path, pwd: str) -> None:
    environ = {"PWD": pwd}
    full = ["env", f"PWD={pwd}", *command("app:app", "--bind", "127.0.0.1:0")]
    server = Server(full, site / "one", environ)
    try:
        server.await_line("listening on ")
        point_to(site, "two")
        reload(server, "generation 2 serves")
        assert server.get().text == str(site / "one")
    finally:
        server.close()


def test_a_missing_folder_is_logged_and_the_old_generation_serves(start: Start, site: Path) -> None:
    server = start()
    os.remove(site / "current")

    reload(server, rf"reload: {site}/current \(where the server was started\): no such folder$")
    server.await_line("reload refused")
    assert server.get().text == str(site / "one")
