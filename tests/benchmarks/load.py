"""The load: wrk with a fixed request, or handshakes by `openssl s_time`, and what they measured."""

import json
import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

INSTALL_WRK = "wrk is not installed: on Debian or Ubuntu `apt install wrk`, on macOS `brew install wrk`"

BROWSER_FIELDS = (
    (
        "User-Agent",
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0 Safari/537.36",
    ),
    ("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"),
    ("Accept-Encoding", "gzip, deflate, br, zstd"),
    ("Accept-Language", "en-GB,en;q=0.9,de;q=0.8"),
    ("Cache-Control", "max-age=0"),
    ("Connection", "keep-alive"),
    ("Cookie", "sessionid=9f2c7e4b1d8a4f06b3c5a7e1d2f40917; csrftoken=Zk3vQ8sT1xY6pL0w"),
    ("Priority", "u=0, i"),
    ("Referer", "http://127.0.0.1/app/items?page=2"),
    ("Sec-Ch-Ua", '"Chromium";v="142", "Not_A Brand";v="99"'),
    ("Sec-Ch-Ua-Mobile", "?0"),
    ("Sec-Fetch-Dest", "document"),
    ("Sec-Fetch-Mode", "navigate"),
    ("Sec-Fetch-Site", "same-origin"),
    ("Upgrade-Insecure-Requests", "1"),
)  # fifteen, and Host


@dataclass(frozen=True)
class Case:
    """What wrk sends: its own Host and these fields, in as many variants as said, one after the other."""

    fields: tuple[tuple[str, str], ...]
    variants: int = 1
    handshakes: bool = False  # by openssl instead of wrk: one client, with a new TLS session each time


CASES = {
    "hello": Case(()),
    "browser": Case(BROWSER_FIELDS),
    # No two in a row have the same target, Cookie and Referer: what a server remembers helps it less.
    "varied": Case(BROWSER_FIELDS, variants=512),
    # As a proxy passes it on. wrk calls from this machine, which servers trust where they trust any proxy.
    "proxied": Case((*BROWSER_FIELDS, ("X-Forwarded-For", "192.0.2.7"), ("X-Forwarded-Proto", "https"))),
    # The server closes after each response, so each request has a connection of its own. With TLS wrk
    # resumes its session, as browsers do, where the server lets it.
    "close": Case((("Connection", "close"),)),
    "handshake": Case((), handshakes=True),
}

_VARIANTS = """
local requests, number = {}, 0
init = function(arguments)
  local cookie, referer = wrk.headers["Cookie"], wrk.headers["Referer"]
  for variant = 1, %(variants)d do
    wrk.headers["Cookie"] = cookie .. "; visit=" .. variant
    wrk.headers["Referer"] = referer .. "&from=" .. variant
    requests[variant] = wrk.format("GET", "/?item=" .. variant)
  end
end
request = function()
  number = number %% #requests + 1
  return requests[number]
end
"""


_DONE = """
done = function(summary, latency, requests)
  io.write(string.format(
    '\\nresult {"requests":%d,"seconds":%.6f,"p50":%.6f,"p99":%.6f,"broken":%d,"refused":%d}\\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e6, latency:percentile(99) / 1e6,
    summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout,
    summary.errors.status))
end
"""


@dataclass(frozen=True)
class Measured:
    """One run; the latencies are seconds, and 0 where the tool does not tell them."""

    requests: int
    seconds: float
    p50: float
    p99: float
    broken: int  # connections that failed, and reads and writes on them
    refused: int  # answers that were not 2xx or 3xx


def run_wrk(url: str, case: str, *, seconds: float, connections: int, core: int) -> Measured:
    """Load on `url` for whole seconds from one thread on `core`."""
    script = _script(CASES[case])
    with tempfile.TemporaryDirectory() as folder:
        lua = Path(folder, "case.lua")
        lua.write_text(script)
        command = [
            *("taskset", "--cpu-list", str(core), "wrk", "--threads", "1", "--connections", str(connections)),
            *("--duration", f"{max(1, round(seconds))}s", "--latency", "--script", str(lua), url),
        ]
        finished = subprocess.run(
            command,
            check=True,
            capture_output=True,
            text=True,
            timeout=seconds + 30,
            stdin=subprocess.DEVNULL,
        )
    line = next(line for line in finished.stdout.splitlines() if line.startswith("result "))
    return Measured(**json.loads(line.removeprefix("result ")))


def run_handshakes(port: int, *, seconds: float, core: int) -> Measured:
    """One request on each connection, one after the other, none with a session that is resumed."""
    command = [
        *("taskset", "--cpu-list", str(core), "openssl", "s_time", "-connect", f"127.0.0.1:{port}"),
        *("-new", "-www", "/", "-time", str(max(1, round(seconds)))),
    ]
    finished = subprocess.run(
        command, check=True, capture_output=True, text=True, timeout=seconds + 30, stdin=subprocess.DEVNULL
    )
    found = re.search(
        r"(\d+) connections in (\d+) real seconds, (\d+) bytes read per connection", finished.stdout
    )
    if found is None or not int(found[3]):
        raise ValueError(f"openssl s_time did not measure anything: {finished.stdout} {finished.stderr}")
    return Measured(int(found[1]), float(found[2]), p50=0, p99=0, broken=0, refused=0)


def _script(case: Case) -> str:
    fields = [f"wrk.headers[{json.dumps(name)}] = {json.dumps(value)}\n" for name, value in case.fields]
    variants = _VARIANTS % {"variants": case.variants} if case.variants > 1 else ""
    return "".join(fields) + variants + _DONE
