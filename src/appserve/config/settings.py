"""Every setting, one row each (config/rows.py tells what a row holds).

The dataclass `Settings` is the table. From a row follow its flag, its environment variable, its key in
appserve.toml, its place in --help, in docs/settings.md and in conf/appserve.toml, how it is checked, and
what a reload must renew for a change to take effect. Nothing else has to be written to add a setting:

    name: type = setting(default, Kind(), GROUP, "what it does", applies=...)

A row that is listed works. Durations are float seconds, sizes are bytes, lists are tuples.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields

from appserve.config.convert import Boolean, Choice, Seconds, Several, Size, Text, Whole
from appserve.config.rows import Applies, FromPlatform, Row, setting
from appserve.http.forwarded import ALL_HEADERS, USUAL_HEADERS
from appserve.net.address import parse_bind


def _bind_from_port(port: str) -> tuple[str, ...]:
    if not (port.isascii() and port.isdigit() and 0 <= int(port) <= 65535):
        raise ValueError("expected a port, a whole number from 0 to 65535")
    return (f"0.0.0.0:{int(port)}",)


def _refine_bind(text: str) -> str:
    parse_bind(text)
    return text


def _refine_access_logfile(text: str) -> str:
    return "none" if text.lower() == "none" else _refine_logfile(text)


def _refine_logfile(text: str) -> str:
    """What names a standard stream by way of a descriptor cannot be opened: it is a symbolic link."""
    stream = re.fullmatch(r"/(?:dev|proc/(?:self|thread-self|[0-9]+))/fd/([12])", text)
    if stream:
        name = "standard output" if stream[1] == "1" else "standard error"
        path = "/dev/stdout" if stream[1] == "1" else "/dev/stderr"
        raise ValueError(f"use - or {path} for {name}")
    return text


def _refine_root_path(text: str) -> str:
    path = "/" + text.strip("/")
    if "?" in text or "#" in text or "//" in path:
        raise ValueError("expected a path such as /shop")
    return path.rstrip("/")  # mounted at the root is not mounted


def _refine_peers(text: str) -> str:
    from appserve.http.forwarded import TrustList  # only who says something pays for ipaddress

    TrustList((text,))
    return text


_WORKERS = Whole(1, 1024)
_BIND = Text("ADDRESS", "`HOST:PORT`, `[IPV6]:PORT` or `unix:PATH`", _refine_bind)
_FOLDER = Text("FOLDER", "a path")
_FILE = Text("FILE", "a path", is_path=True)
_PEERS = Text("PEERS", "an address (`10.0.0.7`), a network (`10.0.0.0/8`), `unix` or `*`", _refine_peers)

APPLICATION = "Application"
ADDRESSES = "Addresses"
PROCESSES = "Workers"
PATIENCE = "Timeouts"
LIMITS = "Limits on requests"
PROXIES = "Behind a proxy"
TLS = "TLS"
LOGS = "Logs and names"
FILES = "Settings"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the server runs with. Immutable; a reload makes a new one."""

    application: str = setting(
        "",
        Text("MODULE:ATTRIBUTE", "`MODULE:ATTRIBUTE`, `MODULE` or `MODULE:FACTORY(...)`"),
        APPLICATION,
        "The application: module:attribute, a module alone (its `application` or `app`), "
        "or a call of a factory, 'module:make_app()'.",
        more="The arguments of a call have to be literals: `'shop:make_app(\"production\", debug=False)'`. "
        "Attributes can be dotted (`shop.web:site.app`).",
        applies=Applies.WORKERS,
        positional="APPLICATION",
        example="main:app",
    )
    factory: bool = setting(
        False,
        Boolean(),
        APPLICATION,
        "The attribute is a function that makes the application: call it without arguments.",
        more="With a module alone, its `create_app` or `make_app` is called.",
        applies=Applies.WORKERS,
    )
    chdir: str = setting(
        "",
        _FOLDER,
        APPLICATION,
        "Change to this folder before importing the application.",
        more="The folder is also where modules are looked for. Relative paths of `app_dir` start from it, "
        "those of every other setting start from where the server was started.",
        applies=Applies.WORKERS,
        empty="where the server was started",
        example="/srv/shop",
    )
    app_dir: tuple[str, ...] = setting(
        (),
        Several(_FOLDER),
        APPLICATION,
        "Look for modules in this folder first. Can be given again.",
        more="The current folder is always looked in, after these.",
        applies=Applies.WORKERS,
        example=("src",),
    )
    interface: str = setting(
        "auto",
        Choice(("auto", "wsgi", "asgi")),
        APPLICATION,
        "The interface that the application speaks; auto tells them apart without calling it.",
        more="A coroutine function, or an object whose `__call__` is one, is ASGI; a callable that takes two "
        "arguments is WSGI, one that takes three is ASGI. The log says at start what was found, and why.",
        applies=Applies.WORKERS,
    )

    bind: tuple[str, ...] = setting(
        ("127.0.0.1:8000",),
        Several(_BIND),
        ADDRESSES,
        "Listen on host:port, [ipv6]:port or unix:path. Can be given again.",
        more="A host name is listened on at all its addresses, so `localhost:8000` is IPv4 and IPv6. "
        "Port 0 takes a free port, which the log tells. A unix socket is not world-writable, and its file "
        "is removed at the end.",
        applies=Applies.LISTENERS,
        short="-b",
        platform=FromPlatform("PORT", _bind_from_port, "0.0.0.0:$PORT when PORT is set"),
    )
    backlog: int = setting(
        2048,
        Whole(1),
        ADDRESSES,
        "How many connections may wait to be accepted, for each address.",
        more="The kernel caps it silently at `net.core.somaxconn`.",
        applies=Applies.LISTENERS,
    )

    workers: int = setting(
        1,
        _WORKERS,
        PROCESSES,
        "How many worker processes serve.",
        applies=Applies.WORKERS,
        short="-w",
        platform=FromPlatform("WEB_CONCURRENCY", _WORKERS.read, "$WEB_CONCURRENCY when that is set"),
    )
    surge: int = setting(
        0,
        Whole(0, 1024),
        PROCESSES,
        "During a reload, start up to this many workers more than `workers`. "
        "0 is a quarter of the workers, at least 1.",
        more="More of them make a reload shorter and take more memory. Old workers that still finish "
        "requests are not counted (docs/reload.md).",
        applies=Applies.WORKERS,
        example=2,
    )
    worker_class: str = setting(
        "auto",
        Choice(("auto", "sync", "threads", "asgi")),
        PROCESSES,
        "How a worker serves: sync (WSGI, one request at a time), threads (WSGI, a pool of threads), "
        "asgi (an event loop), or auto, which follows from the application.",
        more="A WSGI application gets `sync`, or `threads` if `threads` is above 1; an ASGI one `asgi`.",
        applies=Applies.WORKERS,
        short="-k",
    )
    threads: int = setting(
        0,
        Whole(0, 4096),
        PROCESSES,
        "How many threads of one worker call a WSGI application; more than 1 makes it a threads worker. "
        "0 is 1, or 8 if the worker class is threads.",
        applies=Applies.WORKERS,
        example=8,
    )
    worker_connections: int = setting(
        1000,
        Whole(1),
        PROCESSES,
        "How many connections one worker holds open; further ones wait in the backlog.",
        applies=Applies.WORKERS,
    )
    loop: str = setting(
        "auto",
        Choice(("auto", "uvloop", "asyncio")),
        PROCESSES,
        "The event loop of asgi workers; auto is uvloop.",
        applies=Applies.WORKERS,
    )
    lifespan: str = setting(
        "auto",
        Choice(("auto", "on", "off")),
        PROCESSES,
        "ASGI startup and shutdown events: auto uses them if the application does, "
        "on demands that it does, off sends none.",
        applies=Applies.WORKERS,
    )

    timeout: float = setting(
        30.0,
        Seconds(),
        PATIENCE,
        "Kill and replace a worker that makes no progress for this long; 0 disables.",
        more="In a sync worker each piece of a response that the application hands over is progress (a block "
        "that it yields, a call of `write()`, early hints), so this limits the time without any, not the "
        "whole request. A wait for a client that has to take some of the response first does not count: "
        "`write_timeout` limits it. In a threads worker a request without progress for this long is logged, "
        "and the worker is replaced only if its loop stands still. In an asgi worker it is how long the "
        "event loop may be blocked. The log then has the request, how long it has been running, and what "
        "every thread was doing.",
        applies=Applies.WORKERS,
        short="-t",
    )
    graceful_timeout: float = setting(
        25.0,
        Seconds(),
        PATIENCE,
        "How long requests may still run when a worker has to leave.",
        more="At a stop as at a reload. Keep it below what the supervisor above allows: "
        "Kubernetes kills after 30 seconds by default.",
        applies=Applies.WORKERS,
    )
    keep_alive: float = setting(
        75.0,
        Seconds(),
        PATIENCE,
        "How long a connection may stay open without a request; 0 closes it after each response.",
        more="Have it longer than the same setting of a proxy or load balancer in front.",
        applies=Applies.WORKERS,
    )
    first_byte_timeout: float = setting(
        30.0,
        Seconds(),
        PATIENCE,
        "How long a new connection may be silent before its first request; 0 is for ever.",
        more="A TLS handshake and a PROXY header are part of that time.",
        applies=Applies.WORKERS,
    )
    head_timeout: float = setting(
        30.0,
        Seconds(),
        PATIENCE,
        "How long a client may take to send the head of a request; 0 is for ever.",
        applies=Applies.WORKERS,
    )
    body_timeout: float = setting(
        60.0,
        Seconds(),
        PATIENCE,
        "How long a client may be silent within a request's body; 0 is for ever.",
        applies=Applies.WORKERS,
    )
    body_rate: int = setting(
        100,
        Size(),
        PATIENCE,
        "How many bytes of a body have to come in each second; 0 is any.",
        more="Averaged over the last one to three times `body_timeout`, and judged only once a body has been "
        "coming in for longer than that. So a client may pause, and a burst pays for nothing later.",
        applies=Applies.WORKERS,
    )
    write_timeout: float = setting(
        60.0,
        Seconds(),
        PATIENCE,
        "How long a client may take nothing of a response; 0 is for ever.",
        applies=Applies.WORKERS,
    )
    queue_timeout: float = setting(
        0.0,
        Seconds(),
        PATIENCE,
        "Answer 503 to a request that has waited for the application for longer than this; 0 never does.",
        more="For sync and threads workers, whose requests wait for their turn. A client that has waited so "
        "long has often given up, and its request would only make the next ones later. The answer has "
        "`Retry-After`. Of a TCP connection on Linux the time in the backlog counts as well; of others (a "
        "unix socket) nobody knows it, and only the time since the worker has seen the request does.",
        applies=Applies.WORKERS,
        example=10.0,
    )

    limit_request_line: int = setting(
        8190,
        Size(1),
        LIMITS,
        "The longest request line; a longer one is answered 414.",
        applies=Applies.WORKERS,
    )
    limit_request_fields: int = setting(
        100,
        Whole(1),
        LIMITS,
        "The most header fields of a request; more are answered 431.",
        applies=Applies.WORKERS,
    )
    limit_request_field_size: int = setting(
        8190,
        Size(1),
        LIMITS,
        "The longest header field of a request; a longer one is answered 431.",
        applies=Applies.WORKERS,
        also=("--limit-request-field_size",),
    )
    limit_request_body: int = setting(
        1 << 30,
        Size(),
        LIMITS,
        "The longest body of a request; a longer one is answered 413; 0 is no limit.",
        more="Sync and threads workers keep a body until it is complete, and can keep a quarter of "
        "`limit_spool` at most.",
        applies=Applies.WORKERS,
    )
    limit_concurrency: int = setting(
        0,
        Whole(),
        LIMITS,
        "The most requests that an asgi worker has under way; further ones are answered 503; 0 is no limit.",
        more="The answer has `Retry-After`. Sync and threads workers have as many under way as they have "
        "threads; see `queue_timeout` for those that wait.",
        applies=Applies.WORKERS,
        example=200,
    )
    limit_spool: int = setting(
        4 << 30,
        Size(),
        LIMITS,
        "The most bytes that one sync or threads worker keeps in memory and on disk for slow clients.",
        more="Request bodies until they are complete, and responses until they are read: 64 KiB of each in "
        "memory, the rest in files without a name in `$TMPDIR` or `/tmp`; up to 16 KiB are not counted. One "
        "body or response may hold a quarter of it, and no more than it leaves free, so there is always room "
        "for others. A body over a quarter is answered 413, one for which there is no room now 503; a "
        "response waits for its reader. The default is four times that of `limit_request_body`: the "
        "largest body has room while others are served. Raise both together.",
        applies=Applies.WORKERS,
    )

    root_path: str = setting(
        "",
        Text("PATH", "a path", _refine_root_path),
        PROXIES,
        "The path that the application is mounted at: SCRIPT_NAME in WSGI, root_path in ASGI.",
        more="A path of a request that begins with it is split there; one that does not is left as it is, "
        "because some proxies strip the path and some do not.",
        applies=Applies.WORKERS,
        example="/shop",
    )
    forwarded_allow_ips: tuple[str, ...] = setting(
        ("127.0.0.1", "::1", "unix"),
        Several(_PEERS, commas=True),
        PROXIES,
        "The proxies whose X-Forwarded-* or Forwarded fields are believed.",
        more="`unix` is every client of a unix socket. `*` believes everybody, so anybody can choose the "
        "address that the application sees: only where no client can reach the server but through the proxy.",
        applies=Applies.WORKERS,
        platform=FromPlatform(
            "FORWARDED_ALLOW_IPS", Several(_PEERS, commas=True).read, "$FORWARDED_ALLOW_IPS when that is set"
        ),
        empty="nobody",
    )
    forwarded_headers: tuple[str, ...] = setting(
        USUAL_HEADERS,
        Several(Choice(ALL_HEADERS, metavar="FIELD"), commas=True),
        PROXIES,
        "Which fields of a proxy are heeded; the others are left to the application.",
        more="`forwarded` (RFC 7239) and the `x-forwarded-` family exclude each other: a proxy that sets one "
        "of them passes on what a client wrote into the other.",
        applies=Applies.WORKERS,
    )
    proxy_protocol: str = setting(
        "off",
        Choice(("off", "v1", "v2", "auto")),
        PROXIES,
        "Expect each connection to begin with a PROXY header, as HAProxy and load balancers send it.",
        more="auto takes both versions. Every connection has to have one then, on every address: who may "
        "reach the server directly could otherwise say that it is somebody else.",
        applies=Applies.WORKERS,
    )
    proxy_allow_from: tuple[str, ...] = setting(
        ("127.0.0.1", "::1", "unix"),
        Several(_PEERS, commas=True),
        PROXIES,
        "The proxies that may send a PROXY header; connections of others are closed.",
        applies=Applies.WORKERS,
        also=("--proxy-allow-ips",),
        empty="nobody",
    )

    certfile: tuple[str, ...] = setting(
        (),
        Several(_FILE),
        TLS,
        "Serve HTTPS with this certificate (PEM, with its chain).",
        more="One file, for all addresses and all clients. A certificate may hold several names.",
        applies=Applies.WORKERS,
        also=("--ssl-certfile",),
        example=("/etc/ssl/shop.pem",),
    )
    keyfile: tuple[str, ...] = setting(
        (),
        Several(_FILE),
        TLS,
        "The private key of the certificate, when it is not in the same file.",
        applies=Applies.WORKERS,
        also=("--ssl-keyfile",),
        example=("/etc/ssl/shop.key",),
    )
    keyfile_password: str = setting(
        "",
        Text("PASSWORD", secret=True),
        TLS,
        "What the private key is encrypted with.",
        more="On a command line every user of the machine can read it: better in the environment or a file.",
        applies=Applies.WORKERS,
        also=("--ssl-keyfile-password",),
        example="secret",
    )
    tls_version: str = setting(
        "1.2",
        Choice(("1.2", "1.3")),
        TLS,
        "The lowest version of TLS that is spoken.",
        applies=Applies.WORKERS,
    )
    ciphers: str = setting(
        "",
        Text("CIPHERS", "a list as `openssl ciphers` takes it"),
        TLS,
        "The ciphers of TLS 1.2.",
        more="Those of TLS 1.3 are all good, and OpenSSL chooses.",
        applies=Applies.WORKERS,
        also=("--ssl-ciphers",),
        empty="forward secret ones, as Python chooses them",
        example="ECDHE+AESGCM",
    )
    cert_reqs: str = setting(
        "none",
        Choice(("none", "optional", "required"), also={"0": "none", "1": "optional", "2": "required"}),
        TLS,
        "Whether clients have to show a certificate that ca_certs vouch for.",
        applies=Applies.WORKERS,
        also=("--ssl-cert-reqs",),
    )
    ca_certs: str = setting(
        "",
        _FILE,
        TLS,
        "The authorities that vouch for the certificates of clients (PEM).",
        applies=Applies.WORKERS,
        also=("--ssl-ca-certs",),
        example="/etc/ssl/clients.pem",
    )

    access_logfile: str = setting(
        "-",
        Text("FILE", "`-` for standard output, `none`, or a path", _refine_access_logfile, is_path=True),
        LOGS,
        "Where each request is recorded: - is standard output, none turns it off.",
        more="A file is opened anew by `USR1` and by a reload, so that it can be renamed (docs/observe.md).",
        applies=Applies.WORKERS,
    )
    error_logfile: str = setting(
        "-",
        Text("FILE", "`-` for standard error, or a path", _refine_logfile, is_path=True),
        LOGS,
        "Where what happens to the server is recorded: - is standard error.",
        more="A file is opened anew by `USR1` and by a reload. What the application prints goes to standard "
        "error as before.",
        applies=Applies.WORKERS,
        also=("--log-file",),
    )
    log_level: str = setting(
        "info",
        Choice(("debug", "info", "warning", "error", "critical")),
        LOGS,
        "What the error log leaves out: everything below this level.",
        applies=Applies.RESTART,
    )
    name: str = setting(
        "",
        Text("NAME"),
        LOGS,
        "What ps and top show of this server's processes.",
        applies=Applies.RESTART,
        short="-n",
        empty="the application",
        example="shop",
    )

    config: str = setting(
        "",
        Text("FILE", "a path"),
        FILES,
        "Read settings from this TOML file.",
        more="Without it, `appserve.toml` in the current folder is read when it is there; "
        "a file that is named has to be there.",
        applies=Applies.RESTART,
        short="-c",
        in_file=False,
        empty="appserve.toml, if it is there",
    )


ROWS: tuple[Row, ...] = tuple(Row(name=one.name, **one.metadata) for one in fields(Settings))
BY_NAME: Mapping[str, Row] = {row.name: row for row in ROWS}
GROUPS: tuple[str, ...] = tuple(dict.fromkeys(row.group for row in ROWS))


@dataclass(frozen=True, slots=True)
class Resolved:
    """Settings, where each value came from, and what should be said about it in the log."""

    settings: Settings
    sources: Mapping[str, str]
    warnings: tuple[str, ...] = ()


def changes(old: Settings, new: Settings) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of the settings that differ: those that new workers bring, those that need a restart."""
    changed = [row for row in ROWS if getattr(old, row.name) != getattr(new, row.name)]
    return (
        tuple(row.name for row in changed if row.applies is Applies.WORKERS),
        tuple(row.name for row in changed if row.applies is not Applies.WORKERS),
    )
