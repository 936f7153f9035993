"""`python -m tests.benchmarks.tls`: what TLS costs, beside peers that serve HTTPS with Python's ssl, too.

    hello      requests on connections that are kept: encryption
    close      a connection for each request, whose TLS session is resumed where the server lets it
    handshake  a connection and a full handshake for each request, one after the other

All of it is TLS 1.3. The key is an ECDSA one (P-256), as most sites have by now: signing with it is a small
part of a handshake, where an RSA key would hide the servers behind it.
"""

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.benchmarks.__main__ import main
from tests.benchmarks.contenders import APPLICATIONS, Contender, Suite, Target

THREADS = 8

PAIRS = (("sync", "gunicorn-sync"), ("threads", "gunicorn-gthread"), ("asgi", "uvicorn"))
"""Which of our workers is held against which peer."""


def make_certificate(folder: Path) -> tuple[str, str]:
    """A certificate and its key, for nobody to trust."""
    certificate, key = str(folder / "bench.pem"), str(folder / "bench.key")
    command = [
        *("openssl", "req", "-x509", "-nodes", "-days", "1", "-subj", "/CN=127.0.0.1"),
        *("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-keyout", key, "-out", certificate),
    ]
    subprocess.run(command, check=True, capture_output=True, timeout=30)
    return certificate, key


def contenders(certificate: str, key: str) -> tuple[Contender, ...]:
    """Every server with its defaults, one worker, and no access log."""
    ours, theirs = (
        ("--certfile", certificate, "--keyfile", key),
        ("--ssl-certfile", certificate, "--ssl-keyfile", key),
    )

    def appserve(worker_class: str) -> Contender:
        interface = "asgi" if worker_class == "asgi" else "wsgi"
        threads = ("--threads", str(THREADS)) if worker_class == "threads" else ()
        return Contender(
            f"appserve-{worker_class}",
            interface,
            lambda port: [
                *("appserve", f"{APPLICATIONS}:{interface}", "--bind", f"127.0.0.1:{port}", "--workers", "1"),
                *("--worker-class", worker_class, "--access-logfile", "none", "--log-level", "warning"),
                *threads,
                *ours,
            ],
            secure=True,
        )

    def gunicorn(worker_class: str, *flags: str) -> Contender:
        return Contender(
            f"gunicorn-{worker_class}",
            "wsgi",
            lambda port: [
                *(
                    "gunicorn",
                    "--worker-class",
                    worker_class,
                    "--workers",
                    "1",
                    "--bind",
                    f"127.0.0.1:{port}",
                ),
                *("--log-level", "warning", *flags, *ours, f"{APPLICATIONS}:wsgi"),
            ],
            secure=True,
        )

    uvicorn = Contender(
        "uvicorn",
        "asgi",
        lambda port: [
            *("uvicorn", "--host", "127.0.0.1", "--port", str(port), "--no-access-log"),
            *(
                "--http",
                "httptools",
                "--loop",
                "uvloop",
                "--log-level",
                "warning",
                *theirs,
                f"{APPLICATIONS}:asgi",
            ),
        ],
        secure=True,
    )
    return (
        appserve("sync"),
        gunicorn("sync"),
        appserve("threads"),
        gunicorn("gthread", "--threads", str(THREADS)),
        appserve("asgi"),
        uvicorn,
    )


def run(arguments: Sequence[str]) -> int:
    with tempfile.TemporaryDirectory() as folder:
        suite = Suite(
            about="the cost of TLS, beside peers",
            contenders=contenders(*make_certificate(Path(folder))),
            cases=("hello", "close", "handshake"),
            targets=tuple(Target(f"appserve-{ours}", peer, None) for ours, peer in PAIRS),
            target_cases=(),
            results=Path(".bench/tls"),
        )
        return main(arguments, suite)


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
