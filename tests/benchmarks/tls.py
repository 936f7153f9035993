"""`python -m tests.benchmarks.tls`: what TLS costs, beside peers that serve HTTPS with Python's ssl, too.

    hello      requests on connections that are kept: encryption
    close      a connection for each request, whose TLS session is resumed where the server lets it
    handshake  a connection and a full handshake for each request, one after the other

All of it is TLS 1.3. The key is an ECDSA one (P-256), as most sites have by now: signing with it is a small
part of a handshake, where an RSA key would hide the servers behind it.
"""

import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from tests.benchmarks import contenders
from tests.benchmarks.__main__ import Load, Suite, main
from tests.benchmarks.cases import CASES
from tests.benchmarks.contenders import THREADS, Contender, Target
from tests.benchmarks.generator import GRACE, Measured, on_core
from tests.benchmarks.running import Running

INSTALL_WRK = "wrk is not installed: on Debian or Ubuntu `apt install wrk`, on macOS `brew install wrk`"

PAIRS = (("sync", "gunicorn-sync"), ("threads", "gunicorn-gthread"), ("asgi", "uvicorn"))
"""Which of our workers is compared with which peer."""

TLS_CASES = {
    "hello": replace(CASES["hello"], about="requests on connections that are kept"),
    "close": replace(CASES["close"], about="a connection for each request, whose TLS session is resumed"),
    "handshake": replace(CASES["hello"], about="a connection and a full handshake for each request"),
}

WRK_DONE = """
done = function(summary, latency, requests)
  io.write(string.format(
    '\\nresult {"requests":%d,"seconds":%.6f,"p50":%.6f,"p99":%.6f,"errors":%d,"not_2xx":%d}\\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e6, latency:percentile(99) / 1e6,
    summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout,
    summary.errors.status))
end
"""
WRK_CLOSE = 'wrk.headers["Connection"] = "close"\n'


def run_wrk(port: int, case: str, load: Load) -> Measured:
    """Load for whole seconds, from one thread."""
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder, "case.lua")
        script.write_text((WRK_CLOSE if case == "close" else "") + WRK_DONE)
        command = [
            *("wrk", "--threads", "1", "--connections", str(load.connections), "--latency"),
            *("--duration", f"{whole(load.seconds)}s", "--script", str(script)),
            f"https://127.0.0.1:{port}/",
        ]
        printed = run_pinned(command, load)
    line = next(line for line in printed.splitlines() if line.startswith("result "))
    return Measured(**json.loads(line.removeprefix("result ")))


def run_handshakes(port: int, load: Load) -> Measured:
    """One request on each connection, one after the other, none with a session that is resumed."""
    command = ["openssl", "s_time", "-connect", f"127.0.0.1:{port}", "-new", "-www", "/"]
    printed = run_pinned([*command, "-time", str(whole(load.seconds))], load)
    found = re.search(r"(\d+) connections in (\d+) real seconds, (\d+) bytes read per connection", printed)
    if found is None or not int(found[3]):
        raise ValueError(f"openssl s_time did not measure anything: {printed}")
    return Measured(int(found[1]), float(found[2]), p50=0, p99=0, errors=0, not_2xx=0)


def whole(seconds: float) -> int:
    return max(1, round(seconds))


def run_pinned(command: Sequence[str], load: Load) -> str:
    finished = subprocess.run(
        [*on_core(load.core), *command],
        check=True,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=load.seconds + GRACE,
    )
    return finished.stdout


def tls_load(folder: Path) -> tuple[Callable[[Running, str, Load], Measured], str]:
    def put(server: Running, case: str, load: Load) -> Measured:
        return run_handshakes(server.port, load) if case == "handshake" else run_wrk(server.port, case, load)

    return put, "Load by wrk and openssl s_time"


def make_certificate(folder: Path) -> tuple[str, str]:
    """A certificate and its key, that no client trusts."""
    certificate, key = str(folder / "bench.pem"), str(folder / "bench.key")
    command = [
        *("openssl", "req", "-x509", "-nodes", "-days", "1", "-subj", "/CN=127.0.0.1"),
        *("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-keyout", key, "-out", certificate),
    ]
    subprocess.run(command, check=True, capture_output=True, timeout=30)
    return certificate, key


def secure_contenders(certificate: str, key: str) -> tuple[Contender, ...]:
    """Every server with its defaults, one worker, and no access log."""
    ours = ("--certfile", certificate, "--keyfile", key)

    def appserve(worker: str, interface: str, *flags: str) -> Contender:
        return contenders.appserve(f"appserve-{worker}", interface, *flags, *ours, secure=True)

    return (
        appserve("sync", "wsgi"),
        contenders.gunicorn("gunicorn-sync", *ours, secure=True),
        appserve("threads", "wsgi", "--threads", THREADS),
        contenders.gunicorn("gunicorn-gthread", "--threads", THREADS, *ours, secure=True),
        appserve("asgi", "asgi"),
        contenders.uvicorn("--ssl-certfile", certificate, "--ssl-keyfile", key, secure=True),
    )


def run(arguments: Sequence[str]) -> int:
    if shutil.which("wrk") is None:
        print(INSTALL_WRK, file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as folder:
        made = secure_contenders(*make_certificate(Path(folder)))
        suite = Suite(
            about="the cost of TLS, beside peers",
            contenders=lambda compiled: made,
            cases=TLS_CASES,
            targets=lambda cases: [
                Target(f"appserve-{ours}", case, peer) for case in cases for ours, peer in PAIRS
            ],
            prepare=tls_load,
            results=Path(".bench/tls"),
        )
        return main(arguments, suite)


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
