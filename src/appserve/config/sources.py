"""Where settings come from, and how one value of each is found.

    defaults < appserve.toml < environment < command line

A value that wins replaces the others whole: lists are not joined. PORT and WEB_CONCURRENCY, which hosting
platforms set, stand for the defaults, so that any other source overrides them. An
empty environment variable counts as unset. Every problem is found before any is reported,
also one in a value that would not have won.
"""

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

from appserve.config.convert import suggest
from appserve.config.settings import BY_NAME, ROWS, Resolved, Settings
from appserve.errors import ConfigError
from appserve.http.forwarded import check_headers
from appserve.http.messages import SHARES

DEFAULT = "default"
COMMAND_LINE = "command line"
SETTINGS_FILE = "appserve.toml"

_PREFIX = "APPSERVE_"

# What Kubernetes puts into every container of a namespace that has a Service named "appserve" or
# "appserve-something". The last form is detected by its value: APPSERVE_PORT may become a setting.
# They are texts, because compiling them costs a millisecond that only such a container has to pay.
_OF_A_SERVICE = (
    r"APPSERVE_(\w+_)?(SERVICE_HOST=.*|SERVICE_PORT(_\w+)?=.*|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?=.*"
    r"|PORT=(tcp|udp|sctp)://.*)"
)

NO_APPLICATION = (
    "no application: name it as module:attribute, for example `appserve main:app`, "
    f'or set {BY_NAME["application"].variable}, or write application = "main:app" in {SETTINGS_FILE} '
    "(`appserve appserve.demo:app` serves a page to try the server with)"
)

# What one source gives: the value of a setting by its name, with what to call the source.
_Given = dict[str, tuple[Any, str]]


def resolve(
    arguments: Mapping[str, Sequence[str]],
    environ: Mapping[str, str],
    cwd: str,
    *,
    problems: Sequence[str] = (),
    application_needed: bool = True,
) -> Resolved:
    """The settings that all sources give together.

    `arguments` are the raw texts of the command line by the setting's name, in their order. Relative paths
    are meant from `cwd`; when it is empty they stay as they are. `problems` are those that were met in
    reading the command line. Raises ConfigError with every problem there is.
    """
    found = list(problems)
    warnings: list[str] = []
    given: _Given = {row.name: (row.default, DEFAULT) for row in ROWS}
    flags = _read_flags(arguments, found)
    variables = _read_environment(environ, found, warnings)
    named, source = flags.get("config") or variables.get("config") or ("", DEFAULT)
    before = len(found)
    given |= _read_file(cwd, named, source, found)
    misread = len(found) > before
    given |= variables
    given |= flags
    given |= _read_platform(environ, given, found)
    _check_folders(cwd, given, found)
    _check_proxies(given, found, warnings)
    _check_logs(given, warnings)
    _check_spool(given, warnings)

    application, _ = given["application"]
    # An application that could not be read is reported already.
    was_given = "application" in arguments or environ.get(BY_NAME["application"].variable, "").strip()
    if application_needed and not (application or was_given or problems or misread):
        found.append(NO_APPLICATION)
    if found:
        raise ConfigError(found)
    values = {name: BY_NAME[name].anchored(value, cwd) for name, (value, _) in given.items()}
    # Each worker changes to it by its path, so that a worker of a reload follows a link that was moved.
    values["chdir"] = os.path.join(cwd, values["chdir"]) if values["chdir"] else cwd
    return Resolved(
        Settings(**values), {name: source for name, (_, source) in given.items()}, tuple(warnings)
    )


def _read_flags(arguments: Mapping[str, Sequence[str]], problems: list[str]) -> _Given:
    given: _Given = {}
    for name, texts in arguments.items():
        row = BY_NAME[name]
        where = COMMAND_LINE if row.positional else row.flag
        values: list[Any] = []
        # Given again, a flag adds to a list; otherwise the last one counts, as with every command.
        for text in texts if row.repeated else texts[-1:]:
            try:
                values.extend(row.repeated.read_flag(text) if row.repeated else [row.kind.read(text)])
            except ValueError as error:
                problems.append(f"{_place(where, name, text)}: {_because(error, text)}")
        if row.repeated:
            given[name] = (tuple(values), where)
        elif values:
            given[name] = (values[0], where)
    return given


def _read_environment(environ: Mapping[str, str], problems: list[str], warnings: list[str]) -> _Given:
    by_variable = {row.variable: row for row in ROWS}
    given: _Given = {}
    for variable in sorted(environ):
        if not variable.startswith(_PREFIX):
            continue
        row = by_variable.get(variable)
        text = _trim(environ[variable], is_secret=row is not None and row.is_secret)
        if not text:
            continue
        if row is None:
            if not re.fullmatch(_OF_A_SERVICE, f"{variable}={text}"):
                warnings.append(
                    f"environment variable {_show_text(variable)} is not a setting"
                    + suggest(variable, list(by_variable), cutoff=0.75)
                )
            continue
        try:
            given[row.name] = (row.kind.read(text), variable)
        except ValueError as error:
            problems.append(f"{_place(variable, row.name, text)}: {_because(error, text)}")
    return given


def _trim(text: str, *, is_secret: bool = False) -> str:
    """The value without the blanks at its end, and the CR of Windows, that files of variables leave."""
    return text.strip("\r\n") if is_secret else text.strip()


def _read_file(cwd: str, named: str, source: str, problems: list[str]) -> _Given:
    """The values of the settings file: `named`, which must exist, or appserve.toml, which may not."""
    path = named or SETTINGS_FILE
    try:
        with open(os.path.join(cwd, path), "rb") as file:
            content = file.read()
    except OSError as error:
        if named or not isinstance(error, FileNotFoundError):
            where = _place(source, "config", path) if named else path
            problems.append(f"{where}: cannot be read: {_reason(error)}")
        return {}

    import tomllib  # imported only if there is a file

    try:
        table = tomllib.loads(content.decode("utf-8-sig"))  # Windows editors begin a file with a mark
    except UnicodeDecodeError as error:
        problems.append(f"{path}: not UTF-8 (byte {error.start})")
        return {}
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        text = str(error)
        problems.append(f"{path}: {text[:1].lower()}{text[1:]}")
        return {}
    return _read_table(path, table, problems)


def _read_table(path: str, table: Mapping[str, object], problems: list[str]) -> _Given:
    known = [row.name for row in ROWS if row.in_file]
    given: _Given = {}
    for key, value in table.items():
        row = BY_NAME.get(key)
        shown = _place(path, _show_text(key), value)
        if row is None:
            hint = suggest(key.lower().lstrip("-").replace("-", "_"), known)
            if isinstance(value, dict) and not hint:
                hint = " (settings are not in tables)"
            problems.append(f"{shown}: unknown setting{hint}")
        elif not row.in_file:
            problems.append(f"{shown}: cannot be set in a file, only with {row.flag} or {row.variable}")
        else:
            try:
                given[key] = (row.kind.read_toml(value), path)
            except ValueError as error:
                problems.append(f"{shown}: {_because(error, value)}")
    return given


def _read_platform(environ: Mapping[str, str], given: _Given, problems: list[str]) -> _Given:
    """The values that replace defaults which no other source has replaced."""
    stands: _Given = {}
    for row in ROWS:
        if row.platform is None or given[row.name][1] != DEFAULT:
            continue
        text = _trim(environ.get(row.platform.variable, ""))
        if not text:
            continue
        try:
            stands[row.name] = (row.platform.read(text), row.platform.variable)
        except ValueError as error:
            problems.append(f"{_place(row.platform.variable, row.name, text)}: {error}")
    return stands


def _check_folders(cwd: str, given: _Given, problems: list[str]) -> None:
    """Folders are checked here; workers would report them too late, once each."""
    chdir, source = given["chdir"]
    start = os.path.join(cwd, chdir) if chdir else cwd
    if start and not os.path.isdir(start):
        where = f"{_place(source, 'chdir', chdir)}: " if chdir else f"{cwd} (where the server was started): "
        problems.append(f"{where}no such folder")
        return
    folders, source = given["app_dir"]
    for folder in folders:
        if not os.path.isdir(os.path.join(start, folder)):
            problems.append(f"{_place(source, 'app_dir', folder)}: no such folder in {start}")


def _check_proxies(given: _Given, problems: list[str], warnings: list[str]) -> None:
    """The fields of proxies that are applied must not exclude each other; trust in every peer is logged."""
    headers, source = given["forwarded_headers"]
    try:
        check_headers(headers)
    except ValueError as error:
        problems.append(f"{_place(source, 'forwarded_headers', ','.join(headers))}: {error}")
    lists = ["forwarded_allow_ips"] + ["proxy_allow_from"] * (given["proxy_protocol"][0] != "off")
    for name in lists:
        peers, source = given[name]
        if any(peer == "*" or peer.endswith("/0") for peer in peers):
            warnings.append(
                f"{_place(source, name, ','.join(peers))}: any client can choose the address that the "
                "application sees (list the proxies, unless only they can reach this server)"
            )


def _check_logs(given: _Given, warnings: list[str]) -> None:
    """The standard streams have a shorter name, which works without /dev as well."""
    for name, path, stream in (
        ("access_logfile", "/dev/stdout", "standard output"),
        ("error_logfile", "/dev/stderr", "standard error"),
    ):
        value, source = given[name]
        if value == path:
            warnings.append(f"{_place(source, name, path)}: use - for {stream}")


def _check_spool(given: _Given, warnings: list[str]) -> None:
    """A body of the largest allowed size should fit into the spool."""
    body, spool, worker_class = (
        given[name][0] for name in ("limit_request_body", "limit_spool", "worker_class")
    )
    if worker_class != "asgi" and not 0 < body <= spool // SHARES:
        allowed = f"limit_request_body ({body})" if body else "limit_request_body (0, no limit)"
        warnings.append(
            f"{allowed} is more than a quarter of limit_spool ({spool}): sync and threads workers store a "
            f"body until it is complete, and answer 413 to a body longer than {spool // SHARES} bytes"
        )


def _place(source: str, name: str, value: object) -> str:
    """The source of a value, and the value as it is written there."""
    if name in BY_NAME and BY_NAME[name].is_secret:
        value = "********"
    if source == COMMAND_LINE:
        return f"{BY_NAME[name].positional} {_show_text(str(value))}"
    if source.startswith("--"):
        return f"{source} {_show_text(str(value))}"
    if source.isupper():
        return f"{source}={_show_text(str(value))}"
    return f"{source}: {name} = {_show_value(value)}"


def _because(error: ValueError, value: object) -> str:
    """The error's message, without the value where that stands before it already."""
    return str(error).removeprefix(f'"{value}": ')


def _reason(error: OSError) -> str:
    text = error.strerror or type(error).__name__
    return text[:1].lower() + text[1:]


def _show_text(text: str) -> str:
    """A text of unknown content, on one line and shortened."""
    shown = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text[:100])
    return shown + ("…" if len(text) > 100 else "") if shown else '""'


def _show_value(value: object) -> str:
    import json  # imported only for an error

    return _show_text(json.dumps(value, default=str, ensure_ascii=False))
