"""The flags of other servers: which setting each gives a value here, or what to use instead.

A command line that was written for Gunicorn, Uvicorn, Hypercorn, Granian, Daphne or Waitress should work when
only the server's name is replaced, or get one line that says what to change. So each of their flags that is
none of ours is a row of this table. The page docs/migrate.md is made of it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

from appserve.config.settings import BY_NAME
from appserve.values import Value


class ForeignFlag(Value):
    """One flag that other servers have, and we do not.

    flags     every spelling of it
    servers   that have it
    metavar   what stands for its value; empty if it takes none
    sets      the setting that it gives a value; empty: it has no effect, or is refused
    becomes   gives the text of our setting for the text of theirs, which is "" if it takes none. Raises
              ValueError with what to use instead
    says      why a flag without effect needs none, or what to use instead of a refused one
    is_refused  the server does not start with it
    """

    flags: tuple[str, ...]
    servers: tuple[str, ...]
    metavar: str = ""
    sets: str = ""
    becomes: Callable[[str], str] = str
    says: str = ""
    is_refused: bool = False


class Translation:
    """What foreign flags amount to: texts by our setting, warnings, and problems."""

    def __init__(self) -> None:
        self.arguments: dict[str, tuple[str, ...]] = {}
        self.warnings: list[str] = []
        self.problems: list[str] = []


def translate(
    given: Mapping[str, Sequence[str]],
    own: Mapping[str, Sequence[str]],
    default_port: str,
    default_host: str = "127.0.0.1",
) -> Translation:
    """What these flags mean here.

    given         the texts after each flag, by its first spelling; "" for a flag without a value
    own           the texts of our own flags, by setting: what both say is a problem
    default_port  for a --host without a --port
    default_host  for a --port without a --host
    """
    found = Translation()
    by_flag = {row.flags[0]: row for row in FOREIGN}
    for flag, texts in given.items():
        row = by_flag[flag]
        if row.is_refused:
            found.problems.append(f"{flag}: {row.says}")
        elif not row.sets:
            found.warnings.append(f"{flag} has no effect: {row.says}")
        elif row.sets in own:
            found.problems.append(f"{flag}: {BY_NAME[row.sets].flag} is given, too; leave one of them out")
        elif flag not in (HOST, PORT):
            _set(found, row, texts)
    if not {HOST, PORT}.isdisjoint(given) and "bind" not in own:
        _set_address(found, given, default_host, default_port)
    return found


def _set(found: Translation, row: ForeignFlag, texts: Sequence[str]) -> None:
    """Give the setting its value. It is read here, so that an error names the flag that was typed."""
    setting = BY_NAME[row.sets]
    for text in texts if setting.repeated else texts[-1:]:
        try:
            ours = row.becomes(text)
            setting.kind.read(ours)
        except ValueError as error:
            found.problems.append(f"{row.flags[0]} {text}: {error}".replace(" :", ":"))
        else:
            earlier = found.arguments.get(row.sets, ()) if setting.repeated else ()
            found.arguments[row.sets] = (*earlier, ours)


HOST, PORT = "--host", "--port"


def _set_address(
    found: Translation, given: Mapping[str, Sequence[str]], default_host: str, default_port: str
) -> None:
    """--host and --port are one --bind. A --port alone is for this machine, as in Uvicorn and Granian."""
    hosts = [host for text in given.get(HOST, (default_host,)) for host in text.split() or [""]]
    port = given.get(PORT, (default_port,))[-1]
    addresses = []
    for host in hosts:
        bare = host.strip("[]")
        address = f"[{bare}]:{port}" if ":" in bare else f"{bare}:{port}"
        try:
            BY_NAME["bind"].kind.read(address)
        except ValueError as error:
            typed = " ".join(f"{flag} {given[flag][-1]}" for flag in (HOST, PORT) if flag in given)
            found.problems.append(f"{typed}: {error}")
        else:
            addresses.append(address)
    if addresses:
        found.arguments["bind"] = (*found.arguments.get("bind", ()), *addresses)


# ── the rows ──


def _always(text: str) -> Callable[[str], str]:
    return lambda _: text


def _unix(path: str) -> str:
    return f"unix:{path.removeprefix('unix:')}"


def _listen(address: str) -> str:
    """Waitress takes a port alone and a star for every address."""
    if address.isdigit():
        return f"0.0.0.0:{address}"
    return address.replace("*:", "0.0.0.0:", 1) if address.startswith("*:") else address


def _one_folder(text: str) -> str:
    if "," in text:
        raise ValueError("use --app-dir, once for each folder")
    return text


def _tls_version(name: str) -> str:
    return name.lower().removeprefix("tls").removeprefix("v")


def _sets(flags: str, metavar: str, setting: str, becomes: Callable[[str], str] = str) -> list[ForeignFlag]:
    """Rows of flags that give `setting` its value: spellings with / between them are one flag."""
    return [
        ForeignFlag(tuple(flag.split("/")), (), metavar, sets=setting, becomes=becomes)
        for flag in flags.split()
    ]


def _unneeded(flags: str, metavar: str, why: str) -> list[ForeignFlag]:
    return [ForeignFlag(tuple(flag.split("/")), (), metavar, says=why) for flag in flags.split()]


def _refused(flags: str, metavar: str, instead: str) -> list[ForeignFlag]:
    return [row.replace(is_refused=True) for row in _unneeded(flags, metavar, instead)]


_NOT_YET = "not supported yet"
_NO_WEBSOCKET = f"WebSocket is {_NOT_YET}; leave it out"
_NO_HTTP_2 = f"HTTP/2 is {_NOT_YET}: let the proxy in front speak it, and leave this out"
_NO_RECYCLING = f"workers that have served many requests are not replaced: {_NOT_YET}; leave it out"
_RELOAD_AT_ONCE = "files are looked at four times a second"
_RELOAD_FAILS = "the old code goes on until a change can be loaded"
_NO_METRICS = f"metrics are {_NOT_YET}; leave it out"
_NO_SYSLOG = "log to standard output, and let systemd or the container's runtime pass it on"
_NO_LOG_CONFIG = f"{_NOT_YET}: use --log-level, --access-logfile and --error-logfile"
_NO_FORMAT = f"{_NOT_YET}: docs/observe.md shows the format of the access log; leave it out"
_NO_USER = f"{_NOT_YET}: start the server as this user (User= in a systemd unit, USER in a Dockerfile)"
_NO_DAEMON = "the server stays in the foreground: let systemd or a container run it in the background"
_NO_STATIC = "files are served by the proxy in front, or by the application (WhiteNoise)"
_SERVER_FIELD = "let the application set Server, or the proxy in front replace it"
_TASK_QUEUE = "use a task queue such as Celery"
_UNTRUSTED = "fields of a peer that is not trusted stay in the request, and have no effect"
_BUFFERS = "--limit-spool bounds what is kept for slow clients"
_STRICT = "requests that break the rules of HTTP are always refused; leave it out"
_OWN_PARSER = "there is one parser of HTTP here"
_NO_RUNTIME = "there are no threads of another runtime here"

# Names of servers stand before the flags that they have.
_TABLE: tuple[str | list[ForeignFlag], ...] = (
    "Uvicorn Granian Waitress",
    _sets(HOST, "HOST", "bind"),
    "Uvicorn Granian Waitress Daphne",
    _sets(PORT, "PORT", "bind"),
    "Uvicorn Granian",
    _sets("--uds", "PATH", "bind", _unix),
    _sets("--access-log", "", "access_logfile", _always("-")),
    _sets("--no-access-log", "", "access_logfile", _always("none")),
    _refused("--http2", "", _NO_HTTP_2),
    _unneeded("--http", "PARSER", _OWN_PARSER),
    _refused("--ws", "LIBRARY", _NO_WEBSOCKET),
    "Uvicorn Daphne Hypercorn",
    _sets("--fd", "NUMBER", "bind", "fd://{}".format),
    "Uvicorn",
    _sets("--timeout-keep-alive", "SECONDS", "keep_alive"),
    _sets("--timeout-graceful-shutdown", "SECONDS", "graceful_timeout"),
    _sets("--timeout-worker-healthcheck", "SECONDS", "timeout"),
    _refused("--limit-max-requests --limit-max-requests-jitter", "NUMBER", _NO_RECYCLING),
    _sets("--no-proxy-headers", "", "forwarded_allow_ips", _always("none")),
    _refused("--ws-max-size --ws-max-queue", "NUMBER", _NO_WEBSOCKET),
    _refused("--ws-ping-interval --ws-ping-timeout", "SECONDS", _NO_WEBSOCKET),
    _refused("--ws-per-message-deflate", "BOOLEAN", _NO_WEBSOCKET),
    _refused("--header", "NAME:VALUE", "let the proxy in front add it, or a middleware of the application"),
    _unneeded("--server-header", "", "each response has Server, unless the application sets its own"),
    _refused("--no-server-header", "", _SERVER_FIELD),
    _unneeded("--date-header", "", "each response has Date (RFC 9110 §6.6.1)"),
    _refused("--no-date-header", "", "a server with a clock sends Date (RFC 9110 §6.6.1); leave it out"),
    _unneeded("--use-colors", "", "the log has colours on a terminal, and elsewhere with FORCE_COLOR=1"),
    _refused("--no-use-colors", "", "set NO_COLOR=1 in the environment"),
    _sets("--h11-max-incomplete-event-size", "BYTES", "limit_request_field_size"),
    _unneeded("--reset-contextvars", "", "each request has a context of its own"),
    _unneeded("--reload-delay", "SECONDS", _RELOAD_AT_ONCE),
    "Uvicorn Daphne",
    _unneeded("--proxy-headers", "", "the fields of the proxies in --forwarded-allow-ips are applied"),
    "Gunicorn Uvicorn",
    _refused("--ssl-version", "VERSION", "use --tls-version 1.2 or 1.3, the least that is accepted"),
    "Gunicorn Uvicorn Hypercorn Granian",
    _refused("--log-config", "FILE", _NO_LOG_CONFIG),
    "Gunicorn Hypercorn",
    _refused("--max-requests --max-requests-jitter", "NUMBER", _NO_RECYCLING),
    _refused("--user/-u --group/-g", "NAME", _NO_USER),
    _refused("--access-logformat", "FORMAT", _NO_FORMAT),
    _refused("--statsd-host --statsd-prefix", "VALUE", _NO_METRICS),
    "Gunicorn",
    _refused("--daemon/-D", "", _NO_DAEMON),
    _refused("--preload", "", f"{_NOT_YET}: each worker imports the application; leave it out"),
    _refused("--logger-class", "CLASS", "the server writes its logs itself: use --error-logfile"),
    _unneeded("--worker-tmp-dir", "FOLDER", "workers share memory with the master, and need no files"),
    _unneeded("--no-sendfile", "", "the kernel sends files where it can"),
    _refused("--reuse-port", "", f"{_NOT_YET}: the workers share one socket; leave it out"),
    _unneeded("--initgroups", "", "the server does not change its user"),
    _sets("--pythonpath", "FOLDER", "app_dir", _one_folder),
    _unneeded("--capture-output", "", "what the application prints goes to the standard streams"),
    _unneeded("--enable-stdio-inheritance/-R", "", "workers have the server's standard streams"),
    _unneeded("--disable-redirect-access-to-syslog", "", "nothing goes to syslog"),
    _refused("--log-syslog", "", _NO_SYSLOG),
    _refused("--log-syslog-to --log-syslog-prefix --log-syslog-facility", "VALUE", _NO_SYSLOG),
    _refused("--log-config-json", "FILE", _NO_LOG_CONFIG),
    _refused("--dogstatsd-tags", "TAGS", _NO_METRICS),
    _refused("--enable-backlog-metric", "", _NO_METRICS),
    _refused("--paste/--paster --paste-global", "VALUE", "name a factory that loads it: 'module:make_app()'"),
    _refused("--spew", "", "use py-spy, or a debugger"),
    _unneeded("--reload-engine", "NAME", "watchfiles is used where it is installed"),
    _unneeded("--do-handshake-on-connect", "", "no handshake makes another client wait"),
    _unneeded("--suppress-ragged-eofs", "", "an end of TLS without its alert is no error"),
    _refused("--protocol --uwsgi-allow-from", "VALUE", f"uwsgi is {_NOT_YET}: let the proxy use proxy_pass"),
    _refused("--http-protocols --http2-cleartext", "VALUE", _NO_HTTP_2),
    _refused("--http2-max-header-list-size", "BYTES", _NO_HTTP_2),
    _unneeded("--http-parser", "NAME", _OWN_PARSER),
    _sets("--asgi-loop", "LOOP", "loop"),
    _sets("--asgi-lifespan", "WHEN", "lifespan"),
    _unneeded("--asgi-disconnect-grace-period", "SECONDS", "the application gets http.disconnect at once"),
    _refused("--websocket-max-message-size", "BYTES", _NO_WEBSOCKET),
    _refused("--permit-obsolete-folding --strip-header-spaces", "", _STRICT),
    _refused("--permit-unconventional-http-version --casefold-http-method", "", _STRICT),
    _unneeded("--permit-unconventional-http-method", "", "any method is passed to the application"),
    _refused("--forwarder-headers", "FIELDS", "use --forwarded-headers, and --root-path for SCRIPT_NAME"),
    _refused("--header-map", "WHAT", "fields with an underscore are always dropped; leave it out"),
    _refused("--control-socket --control-socket-mode", "VALUE", f"{_NOT_YET}; leave it out"),
    _unneeded("--no-control-socket", "", "there is none"),
    _refused("--dirty-app --dirty-workers --dirty-timeout", "VALUE", _TASK_QUEUE),
    _refused("--dirty-threads --dirty-graceful-timeout", "VALUE", _TASK_QUEUE),
    "Hypercorn",
    _refused("--quic-bind", "ADDRESS", "HTTP/3 is not supported: let the proxy in front speak it"),
    _refused("--insecure-bind", "ADDRESS", "start a second server for plain HTTP, or let the proxy redirect"),
    _sets("--read-timeout", "SECONDS", "head_timeout"),
    _sets("--error-log", "FILE", "error_logfile"),
    _sets("--debug", "", "log_level", _always("debug")),
    _refused("--verify-mode", "MODE", "use --cert-reqs none, optional or required"),
    _refused("--websocket-ping-interval", "SECONDS", _NO_WEBSOCKET),
    "Granian",
    _sets("--blocking-threads", "NUMBER", "threads"),
    _unneeded("--blocking-threads-idle-timeout", "SECONDS", "threads are kept"),
    _unneeded("--runtime-threads --runtime-blocking-threads --runtime-mode", "VALUE", _NO_RUNTIME),
    _unneeded("--task-impl", "KIND", "each request is a task of asyncio"),
    _unneeded("--no-ws", "", f"WebSocket is {_NOT_YET}"),
    _sets("--backpressure", "NUMBER", "limit_concurrency"),
    _sets("--http1-header-read-timeout", "MILLISECONDS", "head_timeout", lambda text: f"{text}ms"),
    _unneeded("--http1-keep-alive", "", "connections are kept for --keep-alive"),
    _sets("--no-http1-keep-alive", "", "keep_alive", _always("0")),
    _unneeded("--http1-buffer-size", "BYTES", "a head has the limits of --limit-request-line and its like"),
    _unneeded("--http1-pipeline-flush --no-http1-pipeline-flush", "", "each response is sent at once"),
    _refused("--http2-adaptive-window --no-http2-adaptive-window", "", _NO_HTTP_2),
    _refused(
        "--http2-initial-connection-window-size --http2-initial-stream-window-size", "BYTES", _NO_HTTP_2
    ),
    _refused("--http2-keep-alive-interval --http2-keep-alive-timeout", "SECONDS", _NO_HTTP_2),
    _refused("--http2-max-headers-size --http2-max-send-buffer-size", "BYTES", _NO_HTTP_2),
    "Gunicorn Granian",
    _refused("--http2-max-concurrent-streams --http2-max-frame-size", "NUMBER", _NO_HTTP_2),
    _refused("--http2-initial-window-size", "BYTES", _NO_HTTP_2),
    "Granian",
    _unneeded("--log", "", "the log is written to standard error, or to --error-logfile"),
    _sets("--no-log", "", "log_level", _always("critical")),
    _refused("--access-log-fmt", "FORMAT", _NO_FORMAT),
    _sets("--ssl-certificate", "FILE", "certfile"),
    _sets("--ssl-ca", "FILE", "ca_certs"),
    _sets("--ssl-protocol-min", "VERSION", "tls_version", _tls_version),
    _sets("--ssl-client-verify", "", "cert_reqs", _always("required")),
    _sets("--no-ssl-client-verify", "", "cert_reqs", _always("none")),
    _refused("--ssl-crl", "FILE", "let the proxy in front check revocation lists"),
    _sets("--url-path-prefix", "PATH", "root_path"),
    _unneeded("--respawn-failed-workers", "", "a worker that ends is replaced"),
    _refused("--no-respawn-failed-workers", "", "a worker that ends is always replaced; leave it out"),
    _unneeded("--respawn-interval", "SECONDS", "the pause grows with each worker that fails to start"),
    _refused("--workers-lifetime --workers-max-rss", "VALUE", _NO_RECYCLING),
    _refused("--rss-sample-interval --rss-samples", "VALUE", _NO_RECYCLING),
    _sets("--workers-kill-timeout", "SECONDS", "graceful_timeout"),
    _sets("--working-dir", "FOLDER", "chdir"),
    _refused("--static-path-route --static-path-mount", "VALUE", _NO_STATIC),
    _refused("--static-path-dir-to-file --static-path-expires", "VALUE", _NO_STATIC),
    _refused("--metrics", "", _NO_METRICS),
    _unneeded("--no-metrics", "", "there are none"),
    _refused("--metrics-scrape-interval --metrics-address --metrics-port", "VALUE", _NO_METRICS),
    _sets("--process-name", "NAME", "name"),
    _sets("--reload-ignore-dirs --reload-ignore-paths", "NAME", "reload_exclude"),
    _refused("--reload-ignore-patterns", "REGEX", "use --reload-exclude with a pattern such as 'test_*'"),
    _unneeded("--reload-tick", "MILLISECONDS", _RELOAD_AT_ONCE),
    _unneeded("--reload-ignore-worker-failure --no-reload-ignore-worker-failure", "", _RELOAD_FAILS),
    "Daphne",
    _refused("--endpoint", "ENDPOINT", "use --bind, and --certfile and --keyfile for TLS"),
    _sets("--http-timeout", "SECONDS", "timeout"),
    _refused("--websocket_timeout --websocket_connect_timeout", "SECONDS", _NO_WEBSOCKET),
    _refused("--ping-interval --ping-timeout", "SECONDS", _NO_WEBSOCKET),
    _refused("--application-close-timeout", "SECONDS", "use --graceful-timeout"),
    _refused("--proxy-headers-host --proxy-headers-port", "FIELD", "use --forwarded-headers"),
    _refused("--verbosity", "NUMBER", "use --log-level"),
    _refused("--log-fmt", "FORMAT", _NO_FORMAT),
    _unneeded("--no-server-name", "", _SERVER_FIELD),
    "Daphne Hypercorn Waitress",
    _refused("--server-name", "NAME", _SERVER_FIELD),
    "Waitress",
    _sets("--listen", "ADDRESS", "bind", _listen),
    _sets("--call", "", "factory", _always("true")),
    _sets("--url-prefix", "PATH", "root_path"),
    _refused("--url-scheme", "SCHEME", "let the proxy send X-Forwarded-Proto (--forwarded-allow-ips)"),
    _sets("--trusted-proxy", "PEER", "forwarded_allow_ips"),
    _sets("--trusted-proxy-headers", "FIELDS", "forwarded_headers", lambda text: ",".join(text.split())),
    _refused("--trusted-proxy-count", "NUMBER", "name the proxies with --forwarded-allow-ips"),
    _unneeded("--clear-untrusted-proxy-headers --log-untrusted-proxy-headers", "", _UNTRUSTED),
    _unneeded("--no-clear-untrusted-proxy-headers --no-log-untrusted-proxy-headers", "", _UNTRUSTED),
    _sets("--connection-limit", "NUMBER", "worker_connections"),
    _sets("--channel-timeout", "SECONDS", "keep_alive"),
    _sets("--max-request-body-size", "BYTES", "limit_request_body"),
    _sets("--max-request-header-size", "BYTES", "limit_request_field_size"),
    _refused("--ident", "NAME", _SERVER_FIELD),
    _unneeded("--expose-tracebacks --no-expose-tracebacks", "", "tracebacks are in the log alone"),
    _unneeded("--recv-bytes --send-bytes --outbuf-overflow --outbuf-high-watermark", "BYTES", _BUFFERS),
    _unneeded("--inbuf-overflow --channel-request-lookahead", "NUMBER", _BUFFERS),
    _unneeded("--cleanup-interval --asyncore-loop-timeout", "SECONDS", "waits are measured all the time"),
    _unneeded("--asyncore-use-poll --no-asyncore-use-poll", "", "the loop uses epoll"),
    _refused("--ipv4 --no-ipv4 --ipv6 --no-ipv6", "", "use --bind 0.0.0.0:PORT or [::]:PORT"),
    "Waitress Daphne",
    _sets("--unix-socket", "PATH", "bind", _unix),
)


def _rows() -> Iterator[ForeignFlag]:
    servers: tuple[str, ...] = ()
    for entry in _TABLE:
        if isinstance(entry, str):
            servers = tuple(entry.split())
        else:
            yield from (row.replace(servers=servers) for row in entry)


FOREIGN: tuple[ForeignFlag, ...] = tuple(_rows())


# ── Gunicorn's settings files ──

HOOKS = frozenset(
    "on_starting on_reload when_ready pre_fork post_fork post_worker_init worker_int worker_abort pre_exec"
    " pre_request post_request child_exit worker_exit nworkers_changed on_exit ssl_context".split()
)
"""Functions that Gunicorn calls."""

GUNICORN_NAMES = {
    "accesslog": "access_logfile",
    "errorlog": "error_logfile",
    "keepalive": "keep_alive",
    "loglevel": "log_level",
    "pidfile": "pid",
    "proc_name": "name",
    "proxy_allow_ips": "proxy_allow_from",
    "raw_env": "env",
    "reload_extra_files": "reload_extra_file",
    "wsgi_app": "application",
}
"""Settings of Gunicorn that are ours by another name. Others have our name, or the name of a flag."""

_GUNICORN_FLAGS = {
    "access_log_format": "--access-logformat",
    "dirty_apps": "--dirty-app",
    "logconfig": "--log-config",
    "logconfig_dict": "--log-config",
    "logconfig_json": "--log-config-json",
    "preload_app": "--preload",
    "raw_paste_global_conf": "--paste-global",
    "secure_scheme_headers": "--forwarder-headers",
    "syslog": "--log-syslog",
    "syslog_addr": "--log-syslog-to",
    "uwsgi_allow_ips": "--uwsgi-allow-from",
}

_SECURITY = frozenset({"--user", "--group"})
"""Of these none is left out with a warning: the application would run with other rights."""


def answer_gunicorn(name: str) -> tuple[str, bool]:
    """What to say of a setting of Gunicorn's that has no effect here, and whether that prevents the start;
    an empty text if it is none: files have names of their own."""
    flag = _GUNICORN_FLAGS.get(name, "--" + name.replace("_", "-"))
    for row in FOREIGN:
        if flag in row.flags and "Gunicorn" in row.servers:
            return row.says, flag in _SECURITY
    return "", False
