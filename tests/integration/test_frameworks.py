"""Real applications, as their authors wrote them, under the real command with no flag but the application.

What is checked is what their users would see: logins that last, uploads that arrive whole, streams that
stream, files, errors of the application that stay its own. And what the operator would see: nothing but
those errors in the log, and a clean end.
"""

import hashlib
import os
import random
import re
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.apps.gate import make_gate
from tests.integration.browser import Answer, Browser
from tests.integration.server import Server, command

APPS = Path(__file__).parent.parent / "apps"
UPLOAD = random.Random(7).randbytes(3_000_000)
DIGEST = hashlib.sha256(UPLOAD).hexdigest()
PIECES = [UPLOAD[at : at + 70_001] for at in range(0, len(UPLOAD), 70_001)]

WORRYING = re.compile(r"^\S+ \S+ \[\d+\] (?:WARNING|ERROR|CRITICAL) .*$", re.MULTILINE)


class Site:
    """An application that is served, for as many visitors as a test likes."""

    host = "127.0.0.1"

    def __init__(self, server: Server) -> None:
        self.server = server
        self.port = server.port

    def browser(self) -> Browser:
        return Browser(self.host, self.port)


@contextmanager
def served(
    folder: Path, application: str, workers: int = 1, environ: Mapping[str, str] | None = None
) -> Iterator[Site]:
    flags = ["--workers", str(workers), "--bind", "127.0.0.1:0", "--chdir", str(APPS)]
    server = Server(command(application, *flags), folder, environ or {})
    try:
        server.await_ready(workers)
        yield Site(server)
        assert server.stop() == 0, server.log
        worries = [line for line in WORRYING.findall(server.log) if "/crash: " not in line]
        assert not worries, server.log
    finally:
        server.close()


# Streaming occupies a sync worker, so these have two: one streams while the other serves.


@pytest.fixture(scope="module")
def flask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with served(tmp_path_factory.mktemp("flask"), "flask_app:app", workers=2) as site:
        yield site


@pytest.fixture(scope="module")
def django_wsgi(tmp_path_factory: pytest.TempPathFactory, database: Mapping[str, str]) -> Iterator[Site]:
    with served(tmp_path_factory.mktemp("django"), "django_site.wsgi", workers=2, environ=database) as site:
        yield site


@pytest.fixture(scope="module")
def django_asgi(tmp_path_factory: pytest.TempPathFactory, database: Mapping[str, str]) -> Iterator[Site]:
    with served(tmp_path_factory.mktemp("django"), "django_site.asgi", environ=database) as site:
        yield site


@pytest.fixture(scope="module")
def fastapi(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with served(tmp_path_factory.mktemp("fastapi"), "fastapi_app:app") as site:
        yield site


@pytest.fixture(scope="module")
def starlette(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with served(tmp_path_factory.mktemp("starlette"), "starlette_app:app") as site:
        yield site


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """The environment of a Django site whose database has the administrator "ada"."""
    environ = {
        "DJANGO_SETTINGS_MODULE": "django_site.settings",
        "DJANGO_SITE_DATABASE": str(tmp_path_factory.mktemp("database") / "site.sqlite3"),
        "DJANGO_SUPERUSER_PASSWORD": "opensesame",
    }
    administrator = ["--no-input", "--username", "ada", "--email", "ada@example.com"]
    for arguments in (["migrate"], ["createsuperuser", *administrator]):
        subprocess.run(
            [sys.executable, "-m", "django", *arguments, "--verbosity", "0"],
            cwd=APPS,
            env={**os.environ, **environ},
            check=True,
            timeout=60,
        )
    return environ


@pytest.fixture
def big_file(tmp_path: Path) -> Path:
    path = tmp_path / "big.bin"
    path.write_bytes(UPLOAD)
    return path


@pytest.fixture
def gate(tmp_path: Path) -> str:
    path = str(tmp_path / "gate")
    make_gate(path)
    return path


def digest(answer: Answer) -> str:
    return hashlib.sha256(answer.body).hexdigest()


def check_streaming(site: Site, stream: str, release: str) -> None:
    """The first piece arrives before the last is made: that happens only after a second request."""
    with site.browser() as reader, site.browser() as other:
        answer = reader.open("GET", stream)
        assert answer.status == 200
        assert answer.readline() == b"first\n"
        assert other.post(release).status in {200, 204}
        assert answer.read() == b"last\n"
        assert reader.get("/").status == 200


# ── Flask ─────────────────────────────────────────────────────────────────────────────────────────────


def test_flask_keeps_a_login_until_it_is_ended(flask: Site) -> None:
    with flask.browser() as browser:
        assert browser.get("/").text == "hello from Flask, stranger"
        assert browser.post_form("/login", user="Ada", password="wrong").status == 403
        assert browser.post_form("/login", user="Ada", password="opensesame").status == 302
        assert browser.get("/").text == "hello from Flask, Ada"
        assert browser.post("/logout").status == 302
        assert browser.get("/").text == "hello from Flask, stranger"


def test_flask_takes_an_upload_whole(flask: Site) -> None:
    with flask.browser() as browser:
        answer = browser.upload("/upload", {"file": ("große datei.bin", UPLOAD)}, note="grüße")
    assert answer.status == 200
    assert answer.json()["files"]["file"] == {"filename": "große datei.bin", "sha256": DIGEST}
    assert answer.json()["form"] == {"note": "grüße"}


@pytest.mark.parametrize("chunked", [False, True], ids=["with a length", "in chunks"])
def test_flask_reads_a_raw_body_to_its_end(flask: Site, chunked: bool) -> None:
    with flask.browser() as browser:
        answer = browser.post_chunks("/raw", PIECES) if chunked else browser.post("/raw", UPLOAD)
        assert answer.json() == {"length": len(UPLOAD), "sha256": DIGEST}
        assert browser.get("/").status == 200


def test_flask_streams_while_it_serves_others(flask: Site, gate: str) -> None:
    check_streaming(flask, f"/stream?gate={gate}", f"/open?gate={gate}")


def test_flask_sends_a_file_and_a_part_of_it(flask: Site, big_file: Path) -> None:
    with flask.browser() as browser:
        assert digest(browser.get(f"/file?path={big_file}")) == DIGEST
        part = browser.request("GET", f"/file?path={big_file}", None, {"Range": "bytes=1000000-1000999"})
        assert (part.status, part.body) == (206, UPLOAD[1_000_000:1_001_000])
        head = browser.request("HEAD", f"/file?path={big_file}")
        assert (head.status, head.fields["content-length"], head.body) == (200, str(len(UPLOAD)), b"")


def test_flask_sees_the_client_and_the_request(flask: Site) -> None:
    with flask.browser() as browser:
        answer = browser.get("/whoami?q=a%20b%C3%BC")
    assert answer.json() == {
        "url": f"http://{flask.host}:{flask.port}/whoami?q=a%20bü",
        "remote": "127.0.0.1",
        "path": "/whoami",
        "args": {"q": "a bü"},
    }


def test_a_crash_in_flask_is_its_own_500_and_nothing_else(flask: Site) -> None:
    with flask.browser() as browser:
        answer = browser.get("/crash")
        assert (answer.status, "Internal Server Error" in answer.text) == (500, True)
        assert browser.get("/").status == 200


# ── Django, both interfaces of one site ───────────────────────────────────────────────────────────────


@pytest.fixture(params=["wsgi", "asgi"])
def django(request: pytest.FixtureRequest) -> Site:
    site: Site = request.getfixturevalue(f"django_{request.param}")
    return site


def test_django_lets_an_administrator_in(django: Site) -> None:
    with django.browser() as browser:
        assert browser.get("/admin/").fields["location"] == "/admin/login/?next=/admin/"
        form = browser.get("/admin/login/?next=/admin/")
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', form.text)
        assert token is not None
        login = {"username": "ada", "next": "/admin/", "csrfmiddlewaretoken": token[1]}
        refused = browser.post_form("/admin/login/", password="wrong", **login)
        assert (refused.status, "Please enter the correct" in refused.text) == (200, True)
        assert browser.post_form("/admin/login/", password="opensesame", **login).status == 302
        page = browser.get("/admin/")
        assert (page.status, "Site administration" in page.text) == (200, True)
        assert browser.get("/").text == "hello from Django, ada"
        assert browser.get("/async").text == "hello from async Django, ada"


def test_django_refuses_a_form_without_its_token(django: Site) -> None:
    with django.browser() as browser:
        assert browser.post_form("/guarded", a="b").status == 403


def test_django_takes_an_upload_whole(django: Site) -> None:
    with django.browser() as browser:
        answer = browser.upload("/upload", {"file": ("große datei.bin", UPLOAD)}, note="grüße")
    assert answer.status == 200
    assert answer.json()["files"]["file"] == {"filename": "große datei.bin", "sha256": DIGEST}
    assert answer.json()["form"] == {"note": "grüße"}


def test_django_streams(django_wsgi: Site, gate: str) -> None:
    check_streaming(django_wsgi, f"/stream?gate={gate}", f"/open?gate={gate}")


def test_async_django_streams(django_asgi: Site, gate: str) -> None:
    check_streaming(django_asgi, f"/stream-async?gate={gate}", f"/open?gate={gate}")


def test_django_sends_a_file(django: Site, big_file: Path) -> None:
    with django.browser() as browser:
        answer = browser.get(f"/file?path={big_file}")
        assert digest(answer) == DIGEST
        assert answer.fields["content-disposition"] == 'attachment; filename="big.bin"'
        assert browser.get("/").status == 200


def test_a_crash_in_django_is_its_own_500_and_nothing_else(django: Site) -> None:
    with django.browser() as browser:
        assert browser.get("/crash").status == 500
        assert browser.get("/").status == 200


# ── FastAPI ───────────────────────────────────────────────────────────────────────────────────────────


def test_fastapi_has_the_state_of_its_lifespan(fastapi: Site) -> None:
    with fastapi.browser() as browser:
        assert browser.get("/").json() == {"greeting": "hello from the lifespan"}


def test_fastapi_checks_and_answers_json(fastapi: Site) -> None:
    with fastapi.browser() as browser:
        made = browser.post_json("/items?amount=3", {"name": "grüne Tüte", "price": 1.5, "tags": ["a"]})
        assert made.status == 201
        assert made.json() == {"name": "grüne Tüte", "price": 1.5, "tags": ["a"], "total": 4.5}
        wrong = browser.post_json("/items", {"name": "", "price": -1})
        assert wrong.status == 422
        assert {tuple(fault["loc"]) for fault in wrong.json()["detail"]} == {
            ("body", "name"),
            ("body", "price"),
        }


def test_fastapi_keeps_a_login(fastapi: Site) -> None:
    with fastapi.browser() as browser:
        assert browser.get("/me").status == 401
        assert browser.post_form("/login", user="Ada", password="wrong").status == 403
        assert browser.post_form("/login", user="Ada", password="opensesame").status == 303
        assert browser.get("/me").json() == {"user": "Ada"}


def test_fastapi_takes_an_upload_whole(fastapi: Site) -> None:
    with fastapi.browser() as browser:
        answer = browser.upload("/upload", {"file": ("große datei.bin", UPLOAD)}, note="grüße")
    assert answer.json() == {"filename": "große datei.bin", "sha256": DIGEST, "note": "grüße"}


def test_fastapi_streams(fastapi: Site) -> None:
    check_streaming(fastapi, "/stream", "/open")


def test_a_background_task_runs_after_the_response(fastapi: Site, tmp_path: Path) -> None:
    note = tmp_path / "note"
    with fastapi.browser() as browser:
        assert browser.post(f"/jobs/one?path={note}").status == 202
        assert browser.get("/jobs/one").json() == {"job": "one"}
    assert note.read_text() == "job one done"


def test_the_lifespan_of_fastapi_begins_and_ends_with_the_server(tmp_path: Path) -> None:
    with served(tmp_path, "fastapi_app:app") as site:
        server = site.server
        assert "application: started" in server.access_log
        assert "application: stopped" not in server.access_log
    assert "application: stopped" in server.access_log


def test_a_crash_in_fastapi_is_its_own_500_and_nothing_else(fastapi: Site) -> None:
    with fastapi.browser() as browser:
        assert browser.get("/crash").status == 500
        assert browser.get("/").status == 200


# ── Starlette ─────────────────────────────────────────────────────────────────────────────────────────


def test_starlette_keeps_a_login(starlette: Site) -> None:
    with starlette.browser() as browser:
        assert browser.get("/").text == "hello from Starlette, stranger"
        assert browser.post_form("/login", user="Ada", password="opensesame").status == 303
        answer = browser.get("/")
        assert (answer.text, answer.fields["x-marked"]) == ("hello from Starlette, Ada", "yes")


def test_starlette_takes_an_upload_whole(starlette: Site) -> None:
    with starlette.browser() as browser:
        answer = browser.upload("/upload", {"file": ("große datei.bin", UPLOAD)})
    assert answer.json()["files"]["file"] == {"filename": "große datei.bin", "sha256": DIGEST}


@pytest.mark.parametrize("chunked", [False, True], ids=["with a length", "in chunks"])
def test_starlette_reads_a_raw_body_to_its_end(starlette: Site, chunked: bool) -> None:
    with starlette.browser() as browser:
        answer = browser.post_chunks("/raw", PIECES) if chunked else browser.post("/raw", UPLOAD)
        assert answer.json() == {"length": len(UPLOAD), "sha256": DIGEST}
        assert browser.get("/").status == 200


def test_starlette_sends_a_file_and_a_part_of_it(starlette: Site, big_file: Path) -> None:
    with starlette.browser() as browser:
        assert digest(browser.get(f"/file?path={big_file}")) == DIGEST
        part = browser.request("GET", f"/file?path={big_file}", None, {"Range": "bytes=1000000-1000999"})
        assert (part.status, part.body) == (206, UPLOAD[1_000_000:1_001_000])
        head = browser.request("HEAD", f"/file?path={big_file}")
        assert (head.status, head.fields["content-length"], head.body) == (200, str(len(UPLOAD)), b"")


def test_an_event_reaches_its_listener_when_it_happens(starlette: Site) -> None:
    with starlette.browser() as listener, starlette.browser() as publisher:
        events = listener.open("GET", "/events?topic=news")
        assert events.headers["content-type"].startswith("text/event-stream")
        assert [events.readline() for _ in range(3)] == [b"event: open\n", b"data: listening\n", b"\n"]
        for news in ("one", "two"):
            assert publisher.post("/publish?topic=news", news.encode()).status == 204
            assert [events.readline(), events.readline()] == [f"data: {news}\n".encode(), b"\n"]
        assert publisher.post("/publish?topic=news", b"the end").status == 204
        assert events.read() == b""


def test_a_listener_that_left_is_noticed(starlette: Site) -> None:
    with starlette.browser() as publisher, starlette.browser() as witness:
        with starlette.browser() as listener:
            assert listener.open("GET", "/events?topic=left").readline() == b"event: open\n"
        noticed = threading.Event()
        answers: list[str] = []

        def wait() -> None:
            answers.append(witness.get("/gone?topic=left").text)
            noticed.set()

        thread = threading.Thread(target=wait)
        thread.start()
        # Starlette learns it from a send that fails, and the first one after the end may still succeed.
        while not noticed.wait(0.05):
            assert publisher.post("/publish?topic=left", b"into the void").status == 204
        thread.join()
    assert answers == ["gone"]


def test_a_crash_in_starlette_is_its_own_500_and_nothing_else(starlette: Site) -> None:
    with starlette.browser() as browser:
        assert browser.get("/crash").status == 500
        assert browser.get("/").status == 200
