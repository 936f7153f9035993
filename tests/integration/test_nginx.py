"""Nginx in front, with the very files of conf/: what an application sees, and what its clients get."""

import hashlib
import json
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import MappingProxyType

import pytest

from tests.apps.gate import make_gate, open_gate
from tests.apps.mirror import hash_of_pattern
from tests.integration.load import small_load
from tests.integration.peers import (
    CLASSES,
    CLIENT,
    FORGED,
    NAME,
    UPLOAD,
    UPLOADED,
    Figures,
    Front,
    Port,
    Site,
    await_port,
    curl,
    fill,
    find_program,
    make_certificates,
    mirror,
    nginx,
)
from tests.integration.server import await_fact


@contextmanager
def site(
    folder: Path,
    worker_class: str,
    configuration: str = "nginx.conf",
    *flags: str,
    edits: Mapping[str, str] = MappingProxyType({}),
    workers: int = 2,
    calm: bool = True,
) -> Iterator[Site]:
    """The mirror on workers of `worker_class`, and Nginx with a file of conf/ in front of them.

    At the end the log has to be calm, if it is meant to.
    """
    find_program("nginx")
    shop = make_certificates().shop
    (folder / "static").mkdir()
    (folder / "static" / "style.css").write_text("body { color: black }")
    with ExitStack() as stack:
        port, tls_port = stack.enter_context(Port()), stack.enter_context(Port())
        over_unix = configuration == "nginx-unix.conf"
        address = f"unix:{folder}/appserve.sock" if over_unix else "127.0.0.1:0"
        unwanted = "ERROR|CRITICAL" if calm else ""
        settings = ("--bind", address, "--workers", str(workers), *flags)
        server = stack.enter_context(
            mirror(folder, worker_class, *settings, workers=workers, unwanted=unwanted)
        )
        text = fill(
            configuration,
            {
                "listen 80;": f"listen 127.0.0.1:{port};",
                "listen 443 ssl;": f"listen 127.0.0.1:{tls_port} ssl;",
                "/etc/ssl/shop.pem;": f"{shop.certfile};",
                "/etc/ssl/shop.key;": f"{shop.keyfile};",
                "/srv/shop/static/;": f"{folder}/static/;",
                **edits,
                **(
                    {"unix:/run/shop/appserve.sock;": f"{address};"}
                    if over_unix
                    else {"server 127.0.0.1:8000;": f"server 127.0.0.1:{server.port};"}
                ),
            },
        )
        process = stack.enter_context(nginx(folder, text))
        await_port(process, port)
        yield Site(server, Front(process, port, tls_port))


BOTH = [(one, file) for one in CLASSES for file in ("nginx.conf", "nginx-unix.conf")]


@pytest.fixture(scope="module", params=BOTH, ids=lambda pair: f"{pair[0]} {pair[1].removesuffix('.conf')}")
def behind(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with site(tmp_path_factory.mktemp("nginx"), *request.param) as running:
        yield running


def test_the_two_files_differ_in_nothing_but_the_address() -> None:
    def essence(name: str, address: str) -> list[str]:
        lines = fill(name, {f"server {address};": "server ADDRESS;"}).splitlines()
        return [line for line in lines if line and not line.startswith("#")]

    assert essence("nginx.conf", "127.0.0.1:8000") == essence(
        "nginx-unix.conf", "unix:/run/shop/appserve.sock"
    )


# ── what the application sees ─────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("secure", [False, True], ids=["http", "https"])
def test_the_application_sees_the_client_and_not_nginx(behind: Site, secure: bool) -> None:
    seen = behind.front.json("GET", "/whoami?a=b", secure=secure)
    assert (seen["client"], seen["scheme"]) == (CLIENT, "https" if secure else "http")
    assert seen["fields"]["host"] == NAME
    assert (seen["path"], seen["root"]) == ("/whoami", "")


def test_a_client_cannot_say_what_is_for_nginx_to_say(behind: Site) -> None:
    seen = behind.front.json("GET", "/whoami", **FORGED)
    assert (seen["client"], seen["scheme"], seen["root"]) == (CLIENT, "http", "")
    assert seen["fields"]["host"] == NAME
    unwanted = ("forwarded", "x-forwarded-host", "x-forwarded-port", "x-forwarded-prefix")
    assert [name for name in unwanted if name in seen["fields"]] == []


def test_the_access_log_has_the_client_too(behind: Site) -> None:
    behind.front.ask("GET", "/logged")
    await_fact(lambda: '"GET /logged ' in behind.server.access_log, "the line is written")
    lines = [line for line in behind.server.access_log.splitlines() if '"GET /logged ' in line]
    assert {line.split()[0] for line in lines} == {CLIENT}


def test_static_files_are_served_by_nginx(behind: Site) -> None:
    assert behind.front.ask("GET", "/static/style.css") == (200, b"body { color: black }")
    assert "/static/" not in behind.server.access_log


KEEPS = {"location / {": "location /shop/ {"}
STRIPS = {**KEEPS, "proxy_pass http://shop;": "proxy_pass http://shop/;"}
FORWARDS = {**STRIPS, 'X-Forwarded-Prefix "";': "X-Forwarded-Prefix /shop;"}
WAYS = {
    "the path is kept": (KEEPS, ("--root-path", "/shop")),
    "the path is stripped": (STRIPS, ("--root-path", "/shop")),
    "the path is stripped and forwarded": (
        FORWARDS,
        ("--forwarded-headers", "x-forwarded-for,x-forwarded-proto,x-forwarded-prefix"),
    ),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("worker_class", ["sync", "asgi"])
def test_an_application_below_a_path_knows_where_it_is(tmp_path: Path, worker_class: str, way: str) -> None:
    edits, flags = WAYS[way]
    with site(tmp_path, worker_class, "nginx.conf", *flags, edits=edits) as running:
        seen = running.front.json("GET", "/shop/whoami", **FORGED)
        assert (seen["root"], seen["path"], seen["client"]) == ("/shop", "/whoami", CLIENT)


# ── bodies ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("secure", [False, True], ids=["http", "https"])
@pytest.mark.parametrize("chunked", [False, True], ids=["with a length", "in chunks"])
def test_an_upload_arrives_whole(behind: Site, chunked: bool, secure: bool) -> None:
    if chunked:
        pieces = [UPLOAD[at : at + 70_001] for at in range(0, len(UPLOAD), 70_001)]
        seen = behind.front.json(
            "POST", "/raw", iter(pieces), secure=secure, **{"Transfer-Encoding": "chunked"}
        )
    else:
        seen = behind.front.json("POST", "/raw", UPLOAD, secure=secure)
    # Nginx has the whole body before it asks, so it knows the length. (Only ASGI shows chunks.)
    assert not seen.pop("chunked", False)
    assert seen == UPLOADED


@pytest.mark.parametrize("worker_class", CLASSES)
def test_an_upload_that_nginx_passes_on_as_it_comes_arrives_whole(tmp_path: Path, worker_class: str) -> None:
    edits = {"proxy_request_buffering on;": "proxy_request_buffering off;"}
    with site(tmp_path, worker_class, edits=edits) as running:
        for chunked in (True, False):
            pieces = iter([UPLOAD[at : at + 70_001] for at in range(0, len(UPLOAD), 70_001)])
            field = {"Transfer-Encoding": "chunked"} if chunked else {"Content-Length": str(len(UPLOAD))}
            seen = running.front.json("POST", "/raw", pieces, **field)
            assert seen.pop("chunked", chunked) == chunked
            assert seen == UPLOADED


def test_an_upload_by_curl_arrives_whole(behind: Site, tmp_path: Path) -> None:
    file = tmp_path / "upload.bin"
    file.write_bytes(UPLOAD)
    front = behind.front
    secure = (
        "--cacert",
        make_certificates().authority,
        "--connect-to",
        f"{NAME}:443:127.0.0.1:{front.tls_port}",
    )
    for arguments in ((f"http://127.0.0.1:{front.port}/raw",), (*secure, f"https://{NAME}/raw")):
        seen = json.loads(curl("--upload-file", str(file), *arguments))
        assert UPLOADED.items() <= seen.items()


def test_a_body_over_the_limit_of_nginx_is_not_passed_on(behind: Site) -> None:
    connection = behind.front.connect()
    connection.putrequest("POST", "/too-large")
    connection.putheader("Content-Length", str(101 << 20))
    connection.endheaders()
    assert connection.getresponse().status == 413
    connection.close()
    assert "/too-large" not in behind.server.access_log


@pytest.mark.parametrize("announced", ["yes", "no"], ids=["with a length", "without a length"])
def test_a_large_download_arrives_whole(behind: Site, announced: str) -> None:
    size = 8_000_003
    status, body = behind.front.ask("GET", f"/download?size={size}&length={announced}")
    assert (status, len(body), hashlib.sha256(body).hexdigest()) == (200, size, hash_of_pattern(size))


def test_a_stream_is_passed_on_as_it_comes(behind: Site, tmp_path: Path) -> None:
    gate = str(tmp_path / "gate")
    make_gate(gate)
    connection = behind.front.connect()
    connection.request("GET", f"/stream?gate={gate}")
    answer = connection.getresponse()
    assert answer.readline() == b"first\n"
    open_gate(gate)
    assert answer.read() == b"last\n"
    connection.close()


def test_a_hundred_at_once_are_all_served(behind: Site) -> None:
    together = threading.Barrier(100)
    answers: list[tuple[int, bytes]] = []

    def client(number: int) -> None:
        together.wait()
        if number % 4:
            answers.append(behind.front.ask("GET", f"/download?size={number * 1000}"))
        else:
            status, text = behind.front.ask("POST", "/raw", UPLOAD[: number * 1000])
            assert json.loads(text)["length"] == number * 1000
            answers.append((status, b"x" * number * 1000))

    threads = [threading.Thread(target=client, args=(number,)) for number in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [status for status, _ in answers] == [200] * 100
    assert sorted(len(body) for _, body in answers) == [number * 1000 for number in range(100)]


# ── connections ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("worker_class", "file"), BOTH)
def test_connections_to_appserve_are_kept_and_used_again(
    tmp_path: Path, worker_class: str, file: str
) -> None:
    """One client after the other, each with connections of its own to Nginx.

    One worker, because a sync worker with siblings closes connections when it finds itself slow.
    """
    with site(tmp_path, worker_class, file, workers=1) as running:
        figures = Figures(running.server)
        for number in range(50):
            assert running.front.ask("GET" if number % 2 else "POST", "/", secure=number % 5 == 0)[0] == 200
    assert figures.accepted == 1


@pytest.mark.parametrize(("worker_class", "file"), BOTH)
def test_a_reload_is_not_seen_through_nginx(tmp_path: Path, worker_class: str, file: str) -> None:
    """POST, because Nginx would repeat a GET over a connection that failed, and answers 502 to a POST."""
    with site(tmp_path, worker_class, file) as running:
        with small_load(running.front, clients=8, method="POST") as load:
            for generation in (2, 3):
                running.server.signal(signal.SIGHUP)
                running.server.await_line(f"generation {generation} serves with 2 workers")
        assert load.complaints == []
        assert running.front.process.log == ""


def test_a_request_that_is_killed_for_its_time_is_not_repeated(tmp_path: Path) -> None:
    """Else it would end one worker after the other, as long as Nginx has kept connections to them."""
    with site(tmp_path, "sync", "nginx.conf", "--timeout", "3", calm=False) as running:
        with small_load(running.front, clients=8):
            pass
        notes = tmp_path / "notes"
        assert running.front.ask("GET", f"/slow?seconds=60&notes={notes}")[0] == 502
        running.server.await_line("killed: no progress")
        assert len(notes.read_text().splitlines()) == 1
        running.server.await_line(r"worker \d \(pid \d+\) ready", count=3)
