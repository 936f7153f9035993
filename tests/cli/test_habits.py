"""Command lines that people typed for other servers, with the server's name replaced: each gives the settings
that it means, or says what to use instead."""

import os
import shlex

import pytest

from appserve.cli.command import run
from appserve.errors import ExitCode

WORKS = [
    # Gunicorn
    ("--bind 0.0.0.0:8000 --workers 3 core.wsgi:application", {"bind": "0.0.0.0:8000", "workers": "3"}),
    ("-b :$PORT app:app --timeout 120", {"bind": ":5000", "timeout": "120"}),
    ("app:app -w 4 -k uvicorn.workers.UvicornWorker -b 0.0.0.0:80", {"worker_class": "asgi", "workers": "4"}),
    ("app:app --worker-class uvicorn_worker.UvicornWorker", {"worker_class": "asgi"}),
    ("app:app -k uvicorn.workers.UvicornH11Worker", {"worker_class": "asgi"}),
    ("config.wsgi -k gthread --threads 8", {"worker_class": "threads", "threads": "8"}),
    ("app:app --log-file - --access-logfile -", {"error_logfile": "-", "access_logfile": "-"}),
    ("app:app --error-logfile /tmp/e.log --log-level debug", {"error_logfile": "/tmp/e.log"}),
    ("app:app --worker-tmp-dir /dev/shm --workers=2 --threads=4", {"workers": "2", "threads": "4"}),
    ("app:app --keep-alive 5 --graceful-timeout 30 --backlog 2048", {"keep_alive": "5"}),
    ("'app:create_app()' -w 4 --name shop", {"application": "app:create_app()", "name": "shop"}),
    ("--forwarded-allow-ips='*' app:app", {"forwarded_allow_ips": "*"}),
    ("-R --workers 2 app:app -p gunicorn.pid", {"workers": "2", "pid": "gunicorn.pid"}),
    # Uvicorn
    ("main:app --host 0.0.0.0 --port 80", {"bind": "0.0.0.0:80"}),
    ("main:app --host 0.0.0.0 --port $PORT", {"bind": "0.0.0.0:5000"}),
    ("main:app --host=0.0.0.0", {"bind": "0.0.0.0:5000"}),
    ("--factory main:create_app --port 8080", {"bind": "127.0.0.1:8080", "factory": "true"}),
    ("main:app --host 0.0.0.0 --port 80 --proxy-headers --workers 4", {"bind": "0.0.0.0:80", "workers": "4"}),
    ("main:app --uds /tmp/uvicorn.sock", {"bind": "unix:/tmp/uvicorn.sock"}),
    ("main:app --no-access-log --timeout-keep-alive 65", {"access_logfile": "none", "keep_alive": "65"}),
    ("main:app --timeout-graceful-shutdown 10 --limit-concurrency 100", {"graceful_timeout": "10"}),
    ("main:app --loop uvloop --http httptools --lifespan on", {"loop": "uvloop", "lifespan": "on"}),
    ("main:app --ssl-keyfile k.pem --ssl-certfile c.pem", {"keyfile": "k.pem", "certfile": "c.pem"}),
    ("main:app --reload --reload-dir . --reload-include '*.html'", {"reload": "true"}),
    ("main:app --app-dir . --root-path /api --log-level warning", {"root_path": "/api"}),
    # Hypercorn, Granian, Daphne, Waitress
    ("main:app --bind 0.0.0.0:80 --workers 2", {"bind": "0.0.0.0:80"}),
    ("--interface asgi --host 0.0.0.0 --port 80 main:app", {"interface": "asgi", "bind": "0.0.0.0:80"}),
    ("--interface wsgi --blocking-threads 4 app:app --backpressure 64", {"threads": "4"}),
    ("--port=8080 --call app:create_app", {"bind": "127.0.0.1:8080", "factory": "true"}),
    ("--listen=*:8080 app:app", {"bind": "0.0.0.0:8080"}),
    ("--threads=8 --url-prefix=/shop app:app", {"threads": "8", "root_path": "/shop"}),
]

ANSWERED = [
    ("app:app -k gevent --worker-connections 1000", "--worker-class gevent: it is not supported: use"),
    ("app:app -k eventlet", "--worker-class eventlet: it is not supported: use"),
    ("app:app -k tornado", "--worker-class tornado: it serves no WSGI or ASGI application"),
    ("app:app -k project.workers.MyWorker", "--worker-class project.workers.MyWorker: classes of your own"),
    ("app:app -k uvloop", "--worker-class uvloop: it is a loop: use --worker-class asgi"),
    ("app:app --daemon", "--daemon: the server stays in the foreground"),
    ("app:app -D", "--daemon: the server stays in the foreground"),
    ("app:app --preload", "--preload: "),
    ("app:app --max-requests 1000", "--max-requests: "),
    ("app:app --statsd-host localhost:8125", "--statsd-host: "),
    ("app:app --paste development.ini", "--paste: name a factory"),
    ("app:app -b 0.0.0.0:80 -p 8001", "--pid 8001: expected a path, not a number"),
    ("app:app --ws websockets", "--ws: "),
    ("app:app --host 0.0.0.0 --port eighty", "--host 0.0.0.0 --port eighty: "),
    ("app:app --quic-bind 0.0.0.0:443", "--quic-bind: "),
    ("app:app --bind 0.0.0.0:80 --port 80", "--port: --bind is given, too"),
]


@pytest.fixture(autouse=True)
def platform(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hosting platform that sets PORT, and nothing else that is read."""
    for name in list(os.environ):
        if name.startswith("APPSERVE_") or name in ("WEB_CONCURRENCY", "FORWARDED_ALLOW_IPS"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PORT", "5000")


def arguments(line: str) -> list[str]:
    return shlex.split(line.replace("$PORT", "5000"))


@pytest.mark.parametrize(("line", "settings"), WORKS, ids=[line for line, _ in WORKS])
def test_a_line_for_another_server_gives_the_settings_in_it(
    line: str, settings: dict[str, str], capsys: pytest.CaptureFixture[str]
):
    assert run([*arguments(line), "--print-config"]) == ExitCode.CLEAN

    shown = dict(row.split(maxsplit=1) for row in capsys.readouterr().out.splitlines())
    for name, value in settings.items():
        assert shown[name].split("  ")[0].strip().removeprefix(f"{os.getcwd()}/") == value


@pytest.mark.parametrize(("line", "answer"), ANSWERED, ids=[line for line, _ in ANSWERED])
def test_what_cannot_be_had_is_refused_with_one_line(
    line: str, answer: str, capsys: pytest.CaptureFixture[str]
):
    assert run([*arguments(line), "--check-config"]) == ExitCode.CONFIG

    first = capsys.readouterr().err.splitlines()[0]
    assert first.startswith(f"appserve: {answer}")
    assert "no such option" not in first
