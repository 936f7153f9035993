"""Every setting, one row each (config/rows.py defines a row).

The class `Settings` is the table. From a row follow its flag, its environment variable, its key in
appserve.toml, its place in --help, in docs/settings.md and in conf/appserve.toml, how it is checked, and
what a reload must renew for a change to take effect. Nothing else has to be written to add a setting:

    name: type = setting(default, "what it does", Kind(), applies=...)

A duration and a switch need no kind: it follows from a default that is a float, or true or false.
A row without a group belongs to the group of the row before it. Durations are float seconds, sizes are
bytes, lists are tuples.
"""

import re
from collections.abc import Mapping

from appserve.config.convert import Choice, Mode, Several, Size, Text, Whole
from appserve.config.rows import Applies, FromPlatform, Row, rows_of, setting
from appserve.http.forwarded import ALL_HEADERS, USUAL_HEADERS
from appserve.net.address import parse_bind
from appserve.values import Value


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
    """Refuse the path of a standard stream's descriptor: it is a symbolic link and cannot be opened."""
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
    from appserve.http.forwarded import TrustList  # ipaddress is imported only if the setting is given

    TrustList((text,))
    return text


class _WorkerClass(Choice):
    """Ours, and those of other servers that mean one of ours. For the rest the error names the nearest."""

    def read(self, text: str) -> str:
        *package, name = re.split("[.:#]", text.lower())
        if name == "gthread" or "gthread" in package:
            return "threads"
        if name.startswith("uvicorn") and name.endswith("worker"):
            return "asgi"
        instead = ""
        if name in ("uvloop", "asyncio", "trio"):
            instead = "it is a loop: use --worker-class asgi, and --loop uvloop or --loop asyncio"
        elif any(word in text.lower() for word in ("gevent", "eventlet", "meinheld")):
            instead = "it is not supported: use --worker-class threads --threads 64, without its patches"
        elif any(word in text.lower() for word in ("tornado", "aiohttp", "gaiohttp")):
            instead = "it serves no WSGI or ASGI application: use the framework's own server"
        elif package:
            instead = "classes of your own are not supported: use sync, threads or asgi"
        if instead:
            raise ValueError(instead)
        return super().read(text)


def _refine_excluded(text: str) -> str:
    if not text.startswith("/") or "?" in text or not text.isascii():
        raise ValueError("expected a path as it is requested, such as /healthz")
    return text


def _refine_pid(text: str) -> str:
    if text.isdigit():
        raise ValueError("expected a path, not a number (a port is given with --bind HOST:PORT)")
    return text


class _Assignment(Text):
    """A variable of the environment and its value, which is not shown: it may be a secret."""

    def hide(self, value: str) -> str:
        return f"{value.partition('=')[0]}=********"


def _refine_assignment(text: str) -> str:
    name, equals, _ = text.partition("=")
    if not name or not equals:
        raise ValueError("expected NAME=VALUE")
    return text


class _Workers(Whole):
    """A number of workers, or AUTO for auto: sources.py puts the number of CPUs in its place."""

    metavar = "NUMBER|auto"

    def __init__(self) -> None:
        super().__init__(1, 1024)
        self.explain += ", or `auto`"

    def read(self, text: str) -> int:
        return AUTO if text.lower() == "auto" else super().read(text)

    def is_text(self, text: str) -> bool:
        return text.lower() == "auto"


AUTO = 0
"""As many workers as there are CPUs."""

_WORKERS = _Workers()
_BIND = Text("ADDRESS", "`HOST:PORT`, `[IPV6]:PORT`, `unix:PATH` or `fd://NUMBER`", _refine_bind)
_FOLDER = Text("FOLDER", "a path")
_FILE = Text("FILE", "a path", is_path=True)
_PEERS = Text("PEERS", "an address (`10.0.0.7`), a network (`10.0.0.0/8`), `unix` or `*`", _refine_peers)


class Settings(Value):
    """What the server runs with. Immutable; a reload makes a new one."""

    application: str = setting(
        "",
        "Serve this application: module:attribute, a module alone (its `application` or `app`), or a call "
        "of a factory, 'module:make_app()'.",
        Text("MODULE:ATTRIBUTE", "`MODULE:ATTRIBUTE`, `MODULE` or `MODULE:FACTORY(...)`"),
        more="The arguments of a call have to be literals: `'shop:make_app(\"production\", debug=False)'`. "
        "Attributes can be dotted (`shop.web:site.app`).",
        positional="APPLICATION",
        example="main:app",
        group="Application",
    )
    factory: bool = setting(
        False,
        "Call the attribute without arguments to make the application.",
        more="With a module alone, its `create_app` or `make_app` is called.",
    )
    chdir: str = setting(
        "",
        "Change to this folder before importing the application.",
        _FOLDER,
        more="Modules are searched in this folder too. Relative paths of `app_dir` start from it; relative "
        "paths of every other setting start from the folder that the server was started in.",
        empty="the folder that the server was started in",
        example="/srv/shop",
    )
    app_dir: tuple[str, ...] = setting(
        (),
        "Search modules in this folder first. Repeatable.",
        Several(_FOLDER),
        more="The current folder is always searched, after these.",
        example=("src",),
    )
    env: tuple[str, ...] = setting(
        (),
        "Set this variable in the environment of the application. Repeatable.",
        Several(_Assignment("NAME=VALUE", "`NAME=VALUE`", _refine_assignment)),
        more="It overrides a variable of the same name that the server was started with.",
        short="-e",
        example=("DJANGO_SETTINGS_MODULE=shop.settings",),
    )
    env_file: tuple[str, ...] = setting(
        (),
        "Set the variables in this file in the environment of the application. Repeatable.",
        Several(_FILE),
        more="One `NAME=VALUE` a line; a variable that the server was started with, or that `env` sets, "
        "stays as it is. The file is read when the server starts and at a reload. It sets nothing of the "
        "server itself: a `PORT` in it is the application's.",
        also=("--env-files",),
        example=("/etc/shop.env",),
    )
    interface: str = setting(
        "auto",
        "Select the interface of the application; auto detects it without calling the application.",
        Choice(("auto", "wsgi", "asgi")),
        more="A coroutine function, or an object whose `__call__` is one, is ASGI; a callable that takes "
        "two arguments is WSGI, a callable that takes three is ASGI. The log has the result and its reason "
        "at start.",
    )

    bind: tuple[str, ...] = setting(
        ("127.0.0.1:8000",),
        "Listen on host:port, [ipv6]:port, unix:path or fd://number. Repeatable.",
        Several(_BIND),
        more="For a host name the server listens on all of its addresses, so `localhost:8000` is IPv4 and "
        "IPv6. Port 0 takes a free port, which the log shows. A unix socket is not world-writable, and its "
        "file is removed at the end. Sockets that systemd hands over (`LISTEN_FDS`) are served without being "
        "named; one that was opened by another process stays as it is at the end.",
        applies=Applies.LISTENERS,
        short="-b",
        platform=FromPlatform("PORT", _bind_from_port, "0.0.0.0:$PORT when PORT is set"),
        group="Addresses",
    )
    socket_mode: int = setting(
        -1,
        "Give unix sockets these permissions.",
        Mode(),
        more="A client needs write permission: Nginx has to be of the socket's group, or the mode 0666. If "
        "only `umask` is given, the mode is 0666 less the umask.",
        applies=Applies.LISTENERS,
        also=("--uds-permissions", "--unix-socket-perms"),
        empty="0660",
        example=0o660,
    )
    backlog: int = setting(
        2048,
        "Let this many connections wait to be accepted, for each address.",
        Whole(1),
        more="The kernel caps it silently at `net.core.somaxconn`.",
        applies=Applies.LISTENERS,
    )

    workers: int = setting(
        1,
        "Run this many worker processes; auto is one for each CPU.",
        _WORKERS,
        more="`auto` counts the CPUs in the affinity of the process, at most the quota of its control "
        "group allows (a container's CPU limit); the log has the number and its reason.",
        short="-w",
        platform=FromPlatform("WEB_CONCURRENCY", _WORKERS.read, "$WEB_CONCURRENCY when that is set"),
        group="Workers",
    )
    surge: int = setting(
        0,
        "Start up to this many workers above `workers` during a reload. 0 is a quarter of the workers, at "
        "least 1.",
        Whole(0, 1024),
        more="A higher value makes a reload shorter and takes more memory. Old workers that finish their "
        "last requests are not counted (docs/reload.md).",
        example=2,
    )
    worker_class: str = setting(
        "auto",
        "Serve with sync (WSGI, one request at a time), threads (WSGI, a pool of threads) or asgi (an event "
        "loop) workers; auto chooses by the application.",
        _WorkerClass(("auto", "sync", "threads", "asgi")),
        more="A WSGI application gets `sync`, or `threads` if `threads` is above 1; an ASGI application "
        "`asgi`. Gunicorn's `gthread` and Uvicorn's worker classes are names of `threads` and `asgi`.",
        short="-k",
    )
    threads: int = setting(
        0,
        "Call a WSGI application in this many threads per worker; more than 1 selects threads workers. 0 is "
        "1, or 8 if the worker class is threads.",
        Whole(0, 4096),
        example=8,
    )
    worker_connections: int = setting(
        1000,
        "Hold at most this many open connections per worker; further connections wait in the backlog.",
        Whole(1),
    )
    loop: str = setting(
        "auto",
        "Run asgi workers on this event loop; auto is uvloop.",
        Choice(("auto", "uvloop", "asyncio")),
    )
    lifespan: str = setting(
        "auto",
        "Send ASGI lifespan events: auto sends them if the application supports them, on requires that it "
        "does, off sends none.",
        Choice(("auto", "on", "off")),
    )

    timeout: float = setting(
        30.0,
        "Kill and replace a worker that makes no progress for this long. 0 disables.",
        more="In a sync worker each piece of a response that the application hands over is progress (a "
        "block that it yields, a call of `write()`, early hints), so this does not limit the whole request. "
        "Time spent waiting for a client that reads its response slowly does not count: `write_timeout` "
        "limits it. In a threads worker a request without progress for this long is logged, and the worker "
        "is replaced only if its loop is blocked. In an asgi worker this limits how long the event loop is "
        "blocked. The log then has the request, how long it has been running, and the stack of every thread.",
        short="-t",
        group="Timeouts",
    )
    graceful_timeout: float = setting(
        25.0,
        "Let requests run for this long when a worker retires or stops, then close them. 0 closes them at "
        "once.",
        more="Keep it below the stop timeout of the supervisor: Kubernetes kills after 30 seconds by "
        "default.",
    )
    keep_alive: float = setting(
        75.0,
        "Close a connection that has no request for this long. 0 closes it after each response.",
        more="Set it longer than the same timeout of the proxy or load balancer.",
    )
    first_byte_timeout: float = setting(
        30.0,
        "Close a new connection that sends no request for this long. 0 disables.",
        more="The time of the TLS handshake and of the PROXY header counts.",
    )
    head_timeout: float = setting(
        30.0,
        "Answer 408 to a request whose head is incomplete after this long. 0 disables.",
    )
    body_timeout: float = setting(
        60.0,
        "Answer 408 to a request if no data of its body arrives for this long. 0 disables.",
    )
    body_rate: int = setting(
        100,
        "Answer 408 to a request whose body arrives slower than this many bytes per second. 0 disables.",
        Size(),
        more="The average over the last one to three times `body_timeout`, checked only after the body has "
        "been arriving for longer than that. So a client can pause, and an early burst does not excuse a "
        "slow rest.",
    )
    write_timeout: float = setting(
        60.0,
        "Abort a response if the client reads nothing for this long. 0 disables.",
    )
    queue_timeout: float = setting(
        0.0,
        "Answer 503 to a request that has waited this long for the application. 0 disables.",
        more="Applies to sync and threads workers, whose requests wait in a queue. A client that has waited "
        "this long has often given up, and its request would only delay the next ones. The answer has "
        "`Retry-After`. For a TCP connection on Linux the time in the backlog counts; for others (a unix "
        "socket) it is unknown, and the time counts from when the worker received the request.",
        example=10.0,
    )

    limit_request_line: int = setting(
        8190,
        "Answer 414 to a request line longer than this many bytes.",
        Size(1),
        group="Limits on requests",
    )
    limit_request_fields: int = setting(
        100,
        "Answer 431 to a request with more than this many header fields.",
        Whole(1),
    )
    limit_request_field_size: int = setting(
        8190,
        "Answer 431 to a request with a header field longer than this many bytes.",
        Size(1),
        also=("--limit-request-field_size",),
    )
    limit_request_body: int = setting(
        1 << 30,
        "Answer 413 to a request body longer than this many bytes. 0 disables.",
        Size(),
        more="Sync and threads workers store a body until it is complete, and store at most a quarter of "
        "`limit_spool` for one body.",
    )
    limit_concurrency: int = setting(
        0,
        "Answer 503 to a request when an asgi worker has this many in progress. 0 disables.",
        Whole(),
        more="The answer has `Retry-After`. Sync and threads workers have as many requests in progress as "
        "they have threads; `queue_timeout` limits how long requests wait.",
        example=200,
    )
    limit_spool: int = setting(
        4 << 30,
        "Store at most this many bytes per sync or threads worker, in memory and on disk, for slow clients.",
        Size(),
        more="Request bodies are stored until they are complete, responses until the client has read them: "
        "64 KiB of each in memory, the rest in unnamed files in `$TMPDIR` or `/tmp`; up to 16 KiB are not "
        "counted. One body or response may use a quarter of the limit, and no more than it leaves free, so "
        "there is always room for others. A body over a quarter is answered 413, a body for which there is "
        "no room 503; a response waits for its client. The default is four times `limit_request_body`, so "
        "that the largest body fits while others are served. Raise both together.",
    )

    root_path: str = setting(
        "",
        "Mount the application at this path: SCRIPT_NAME in WSGI, root_path in ASGI.",
        Text("PATH", "a path", _refine_root_path),
        more="A request path that begins with it is split there; any other path is left as it is, because "
        "some proxies strip the prefix and some do not.",
        example="/shop",
        group="Behind a proxy",
    )
    forwarded_allow_ips: tuple[str, ...] = setting(
        ("127.0.0.1", "::1", "unix"),
        "Trust the X-Forwarded-* or Forwarded fields of these proxies.",
        Several(_PEERS, commas=True),
        more="`unix` is every client of a unix socket. `*` trusts every client, so any client can choose "
        "the address that the application sees: use it only if every connection comes through the proxy.",
        platform=FromPlatform(
            "FORWARDED_ALLOW_IPS", Several(_PEERS, commas=True).read, "$FORWARDED_ALLOW_IPS when that is set"
        ),
        empty="no client",
    )
    forwarded_headers: tuple[str, ...] = setting(
        USUAL_HEADERS,
        "Apply these fields of a proxy; the application receives the others unchanged.",
        Several(Choice(ALL_HEADERS, metavar="FIELD"), commas=True),
        more="`forwarded` (RFC 7239) and the `x-forwarded-` fields exclude each other: a proxy that sets "
        "one kind passes on the other as the client sent it.",
    )
    proxy_protocol: str = setting(
        "off",
        "Require a PROXY header at the start of each connection, as HAProxy and load balancers send it.",
        Choice(("off", "v1", "v2", "auto")),
        more="auto accepts both versions. A connection without a header is closed, on every address: a "
        "client that reaches the server directly could otherwise choose its address.",
    )
    proxy_allow_from: tuple[str, ...] = setting(
        ("127.0.0.1", "::1", "unix"),
        "Trust the PROXY header of these proxies, and close the connections of all other peers.",
        Several(_PEERS, commas=True),
        also=("--proxy-allow-ips",),
        empty="no client",
    )

    certfile: tuple[str, ...] = setting(
        (),
        "Serve HTTPS with this certificate (PEM, with its chain).",
        Several(_FILE),
        more="One file for all addresses. A certificate can hold several names.",
        also=("--ssl-certfile",),
        example=("/etc/ssl/shop.pem",),
        group="TLS",
    )
    keyfile: tuple[str, ...] = setting(
        (),
        "Read the private key of the certificate from this file, if it is not in the certificate's.",
        Several(_FILE),
        also=("--ssl-keyfile",),
        example=("/etc/ssl/shop.key",),
    )
    keyfile_password: str = setting(
        "",
        "Decrypt the private key with this password.",
        Text("PASSWORD", secret=True),
        more="Every user of the machine can read a command line: set it in the environment or in a file.",
        also=("--ssl-keyfile-password",),
        example="secret",
    )
    tls_version: str = setting(
        "1.2",
        "Accept this version of TLS and later.",
        Choice(("1.2", "1.3")),
    )
    ciphers: str = setting(
        "",
        "Use these ciphers for TLS 1.2.",
        Text("CIPHERS", "a list as `openssl ciphers` takes it"),
        more="OpenSSL chooses the ciphers of TLS 1.3, which are all secure.",
        also=("--ssl-ciphers",),
        empty="Python's forward secret ciphers",
        example="ECDHE+AESGCM",
    )
    cert_reqs: str = setting(
        "none",
        "Request a client certificate issued by ca_certs (optional), or require it (required).",
        Choice(("none", "optional", "required"), also={"0": "none", "1": "optional", "2": "required"}),
        also=("--ssl-cert-reqs",),
    )
    ca_certs: str = setting(
        "",
        "Verify client certificates with these CA certificates (PEM).",
        _FILE,
        also=("--ssl-ca-certs",),
        example="/etc/ssl/clients.pem",
    )

    access_logfile: str = setting(
        "-",
        "Log requests to this file: - is standard output, none disables.",
        Text("FILE", "`-` for standard output, `none`, or a path", _refine_access_logfile, is_path=True),
        more="`USR1` and a reload reopen the file, so that it can be rotated (docs/observe.md).",
        group="Logs and names",
    )
    access_log_exclude: tuple[str, ...] = setting(
        (),
        "Do not log requests of this path that succeed, such as health checks. Repeatable.",
        Several(Text("PATH", "a path as it is requested, without a query", _refine_excluded)),
        more="A response with a status of 400 and above is logged all the same, and all of them are counted.",
        example=("/healthz",),
    )
    error_logfile: str = setting(
        "-",
        "Log server events to this file: - is standard error.",
        Text("FILE", "`-` for standard error, or a path", _refine_logfile, is_path=True),
        more="`USR1` and a reload reopen the file. Output of the application stays on its standard streams.",
        also=("--log-file",),
    )
    log_level: str = setting(
        "info",
        "Log events of this level and above.",
        Choice(("debug", "info", "warning", "error", "critical")),
        applies=Applies.RESTART,
    )
    pid: str = setting(
        "",
        "Write the process id of the master to this file. It is removed at the end.",
        Text("FILE", "a path", _refine_pid, is_path=True),
        more="The file is locked while the server runs; a second server with the same file does not start.",
        applies=Applies.RESTART,
        short="-p",
        also=("--pid-file",),
        example="/run/shop/appserve.pid",
    )
    umask: int = setting(
        -1,
        "Set this file mode creation mask.",
        Mode(),
        more="For log files, the pid file, unix sockets, and what the application creates.",
        applies=Applies.RESTART,
        short="-m",
        empty="that of the process that starts the server",
        example=0o027,
    )
    name: str = setting(
        "",
        "Show this name for the processes in ps and top.",
        Text("NAME"),
        applies=Applies.RESTART,
        short="-n",
        empty="the application",
        example="shop",
    )

    reload: bool = setting(
        False,
        "Reload when a file of the application changes. For development.",
        more="As by SIGHUP: a mistake is shown in the log, the old code goes on, and the next change tries "
        "again, also after a mistake at the start. Watched are the Python files in the current folder and "
        "`app_dir`, or in `reload_dir`, but not in hidden folders and virtual environments. It takes a "
        "quarter of a second, and less if the package `watchfiles` is installed.",
        applies=Applies.RESTART,
        group="Development",
    )
    reload_dir: tuple[str, ...] = setting(
        (),
        "Watch the files in this folder instead of the current one. Repeatable.",
        Several(_FILE),
        applies=Applies.RESTART,
        also=("--reload-paths",),
        empty="the current folder and app_dir",
        example=("/srv/shop/src",),
    )
    reload_include: tuple[str, ...] = setting(
        ("*.py",),
        "Watch files whose name matches this pattern. Repeatable.",
        Several(Text("PATTERN", "a pattern such as `*.html`")),
        applies=Applies.RESTART,
    )
    reload_exclude: tuple[str, ...] = setting(
        (),
        "Do not watch files and folders whose name or path matches this pattern. Repeatable.",
        Several(Text("PATTERN", "a pattern such as `test_*`")),
        applies=Applies.RESTART,
        example=("test_*",),
    )
    reload_extra_file: tuple[str, ...] = setting(
        (),
        "Watch this file as well. Repeatable.",
        Several(_FILE),
        applies=Applies.RESTART,
        example=("/srv/shop/pages.toml",),
    )

    config: str = setting(
        "",
        "Read settings from this file: TOML, or a Python program (.py), also one written for Gunicorn.",
        Text("FILE", "a path"),
        more="Default: the first of `appserve.toml`, `pyproject.toml` with a table `[tool.appserve]`, and "
        "`gunicorn.conf.py` in the current folder. A file that is named must exist. A Python file runs in a "
        "process of its own, at each start and reload; texts, numbers and lists under the names of settings, "
        "or under Gunicorn's, are its settings. Those that only Gunicorn has are named in the log with "
        "what to use instead, as are hooks. `python:package.module` imports a module instead.",
        applies=Applies.RESTART,
        short="-c",
        in_file=False,
        empty="appserve.toml, pyproject.toml or gunicorn.conf.py",
        group="Settings",
    )


ROWS: tuple[Row, ...] = tuple(rows_of(Settings))
BY_NAME: Mapping[str, Row] = {row.name: row for row in ROWS}
GROUPS: tuple[str, ...] = tuple(dict.fromkeys(row.group for row in ROWS))


class Resolved(Value):
    """Settings, the source of each value, and warnings to log."""

    settings: Settings
    sources: Mapping[str, str]
    warnings: tuple[str, ...] = ()


def changes(old: Settings, new: Settings) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of the settings that differ: those that new workers apply, those that need a restart."""
    changed = [row for row in ROWS if getattr(old, row.name) != getattr(new, row.name)]
    return (
        tuple(row.name for row in changed if row.applies is Applies.WORKERS),
        tuple(row.name for row in changed if row.applies is not Applies.WORKERS),
    )
