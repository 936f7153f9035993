"""Where settings come from, and how one value of each is found.

    defaults < settings file < variables of other servers < environment < command line

A value that wins replaces the others whole: lists are not joined. PORT and WEB_CONCURRENCY, which hosting
platforms set, stand for the defaults, so that any other source overrides them. An
empty environment variable counts as unset. Every problem is found before any is reported,
also one in a value that would not have won.
"""

import os
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from appserve.config.convert import Mode, suggest
from appserve.config.rows import Row
from appserve.config.settings import AUTO, BY_NAME, ROWS, Resolved, Settings
from appserve.errors import ConfigError
from appserve.http.forwarded import check_headers
from appserve.http.messages import SHARES
from appserve.system.cpus import count_cpus

DEFAULT = "default"
COMMAND_LINE = "command line"
SETTINGS_FILE, PROJECT_FILE, GUNICORN_FILE = "appserve.toml", "pyproject.toml", "gunicorn.conf.py"

FILES = (SETTINGS_FILE, PROJECT_FILE, GUNICORN_FILE)
"""The files that are looked for in the current folder. The first one counts, pyproject.toml if it has a table
[tool.appserve]."""

OTHER_SERVERS = frozenset({"GUNICORN_CMD_ARGS", "UVICORN_*", "GRANIAN_*"})
"""Variables that hold flags of other servers."""

MODULE = "python:"
"""Before the name of a module that is imported in the place of a file, as Gunicorn has it."""

FILE_SECONDS = 30.0
"""A settings file that is a program may run for this long."""

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

# Calls a function in another process, for so many seconds at most.
_Call = Callable[[Callable[[], bytes], float], bytes]

# What one source gives: the value of a setting by its name, with what to call the source.
_Given = dict[str, tuple[Any, str]]


def resolve(
    arguments: Mapping[str, Sequence[str]],
    environ: Mapping[str, str],
    cwd: str,
    *,
    others: Mapping[str, tuple[Sequence[str], str]] | None = None,
    problems: Sequence[str] = (),
    warnings: Sequence[str] = (),
    application_needed: bool = True,
    call: _Call | None = None,
) -> Resolved:
    """The settings that all sources give together.

    `arguments` are the raw texts of the command line by the setting's name, in their order; `others` those of
    variables of other servers, each with its variable. Relative paths
    are meant from `cwd`; when it is empty they stay as they are. `problems` and `warnings` are those
    of the command line. `call` is process.call, for a file that is a Python program. Raises ConfigError with
    every problem there is.
    """
    reader = _Reader(problems, warnings, call)
    flags = reader.read_flags({name: (texts, BY_NAME[name].flag) for name, texts in arguments.items()})
    variables = reader.read_environment(environ)
    habits = reader.read_flags(others or {})
    given_files = (one["config"] for one in (flags, variables, habits) if "config" in one)
    named, source = next(given_files, ("", DEFAULT))
    before = len(reader.problems)
    given = reader.read_file(cwd, named, source) | habits | variables | flags
    misread = len(reader.problems) > before
    given |= reader.read_platform(environ, given)
    given = {row.name: (row.default, DEFAULT) for row in ROWS} | given
    given["workers"] = _counted(*given["workers"])
    reader.read_env_files(given, environ, cwd)
    reader.check_folders(given, cwd)
    reader.check_proxies(given)
    reader.check_spool(given)

    application, _ = given["application"]
    # An application that could not be read is reported already.
    was_given = "application" in arguments or environ.get(BY_NAME["application"].variable, "").strip()
    if application_needed and not (application or was_given or problems or misread):
        reader.problems.append(_no_application(os.path.join(cwd, given["chdir"][0])))
    if reader.problems:
        raise ConfigError(reader.problems)
    values = {name: BY_NAME[name].anchored(value, cwd) for name, (value, _) in given.items()}
    # Each worker changes to it by its path, so that a worker of a reload follows a link that was moved.
    values["chdir"] = os.path.join(cwd, values["chdir"]) if values["chdir"] else cwd
    sources = {name: source for name, (_, source) in given.items()}
    return Resolved(Settings(**values), sources, tuple(reader.warnings))


class _Reader:
    """The sources, one method each, with the problems and warnings that all of them have given."""

    def __init__(self, problems: Sequence[str], warnings: Sequence[str], call: _Call | None) -> None:
        self.problems = list(problems)
        self.warnings = list(warnings)
        self._call = call

    def read_flags(self, arguments: Mapping[str, tuple[Sequence[str], str]]) -> _Given:
        """The values of texts by setting, each with its source."""
        given: _Given = {}
        for name, (texts, source) in arguments.items():
            row = BY_NAME[name]
            source = COMMAND_LINE if row.positional else source
            # A flag that is given again adds to a list; otherwise the last one counts, as with every command.
            for text in texts if row.repeated else texts[-1:]:
                earlier, _ = given.get(name, ((), source))
                self._take(given, row, source, text, partial(row.read_flag, earlier))
        return given

    def read_environment(self, environ: Mapping[str, str]) -> _Given:
        by_variable = {row.variable: row for row in ROWS}
        given: _Given = {}
        for variable in sorted(environ):
            row = by_variable.get(variable)
            text = _trim(environ[variable], is_secret=row is not None and row.is_secret)
            if not text or not variable.startswith(_PREFIX):
                continue
            if row is not None:
                self._take(given, row, variable, text, row.kind.read)
            elif not re.fullmatch(_OF_A_SERVICE, f"{variable}={text}"):
                hint = suggest(variable, list(by_variable), cutoff=0.8)
                self.warnings.append(f"environment variable {_show_text(variable)} is not a setting{hint}")
        return given

    def read_platform(self, environ: Mapping[str, str], given: _Given) -> _Given:
        """The values that replace defaults which no other source has replaced."""
        stands: _Given = {}
        for row in ROWS:
            if row.platform is not None and row.name not in given:
                text = _trim(environ.get(row.platform.variable, ""))
                if text:
                    self._take(stands, row, row.platform.variable, text, row.platform.read)
        return stands

    def read_file(self, cwd: str, named: str, source: str) -> _Given:
        """The values of the settings file: `named`, which must exist, or the first of those that may."""
        path = named.removeprefix("file:") or _find_file(cwd)  # Gunicorn's way to write a path
        try:
            if path.startswith(MODULE):
                return self._read_program(cwd, path)
            if path.endswith(".py"):
                with open(os.path.join(cwd, path), "rb"):
                    return self._read_program(cwd, path)
            table = _read_toml(cwd, path) if path else {}
        except OSError as error:
            where = _place(source, "config", path) if named else path
            text = error.strerror or type(error).__name__
            self.problems.append(f"{where}: cannot be read: {_uncapitalized(text)}")
        except ValueError as error:
            self.problems.append(f"{path}: {error}")
        else:
            return self._read_table(path, _of_project(table) if path == PROJECT_FILE else table)
        return {}

    def _read_program(self, cwd: str, path: str) -> _Given:
        """The values of a Python file with the names of our settings or of Gunicorn's. It may have others."""
        from appserve.config.evaluate import evaluate, read_evaluated  # imported only if there is such a file
        from appserve.config.foreign import GUNICORN_NAMES, HOOKS, answer_gunicorn

        assert self._call is not None
        try:
            found = read_evaluated(self._call(lambda: evaluate(path, cwd), FILE_SECONDS))
        except TimeoutError:
            self.problems.append(f"{path}: it ran for longer than {FILE_SECONDS:.0f} s, and was stopped")
            return {}
        if found.problem:
            self.problems.append(f"{path}: {found.problem}")
        given: _Given = {}
        for name, value in found.values.items():
            row = BY_NAME.get(GUNICORN_NAMES.get(name, name))
            if row is not None and row.in_file:
                self._take_plain(given, row, path, value)
            elif value:
                says, prevents = answer_gunicorn(name)
                if prevents:
                    self.problems.append(f"{path}: {name}: {says}")
                elif says:
                    self.warnings.append(f"{path}: {name} has no effect: {says}")
        for name in found.callables:
            if name in HOOKS:
                self.warnings.append(f"{path}: {name}() is not called: hooks are not supported yet")
            elif name in BY_NAME:
                self.problems.append(f"{path}: {name} is not a text or a number")
        return given

    def read_env_files(self, given: _Given, environ: Mapping[str, str], cwd: str) -> None:
        """Add the variables in the files to those of `env`. Those win, and the server's own environment."""
        paths, source = given["env_file"]
        found: dict[str, str] = {}
        for path in paths:
            from appserve.config.env_file import read_env_file  # imported only if there is a file

            where = _place(source, "env_file", path)
            try:
                with open(os.path.join(cwd, path), encoding="utf-8") as file:
                    found |= read_env_file(file.read())
            except OSError as error:
                text = error.strerror or type(error).__name__
                self.problems.append(f"{where}: cannot be read: {_uncapitalized(text)}")
            except ValueError as error:
                text = "not UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)
                self.problems.append(f"{where}: {text}")
        assigned, its_source = given["env"]
        set_by_env = {one.partition("=")[0] for one in assigned}
        own = [f"{name}={value}" for name, value in found.items() if name not in set_by_env | environ.keys()]
        given["env"] = (*own, *assigned), its_source if assigned or not own else source

    def _take_plain(self, given: _Given, row: Row, path: str, value: Any) -> None:
        """Put a value of a program into `given`: a text, a number, or a list of them; None is the default."""
        if isinstance(value, bool) and row.name == "proxy_protocol":
            value = "auto" if value else "off"
        for one in value if isinstance(value, list) else [value]:
            if one is not None:
                is_mode = isinstance(row.kind, Mode) and isinstance(one, int)
                text = f"{one:o}" if is_mode else str(one).lower() if isinstance(one, bool) else str(one)
                earlier, _ = given.get(row.name, ((), path))
                self._take(given, row, path, text, partial(row.read_flag, earlier))

    def _read_table(self, path: str, table: Mapping[str, object]) -> _Given:
        given: _Given = {}
        for key, value in table.items():
            row = BY_NAME.get(key)
            shown = _place(path, _show_text(key), value)
            if row is None:
                known = [one.name for one in ROWS if one.in_file]
                hint = suggest(key.lower().lstrip("-").replace("-", "_"), known)
                if isinstance(value, dict) and not hint:
                    hint = " (settings are not in tables)"
                self.problems.append(f"{shown}: unknown setting{hint}")
            elif row.in_file:
                self._take(given, row, path, value, row.kind.read_toml)
            else:
                what = f"cannot be set in a file, only with {row.flag} or {row.variable}"
                self.problems.append(f"{shown}: {what}")
        return given

    def _take(
        self, given: _Given, row: Row, source: str, written: Any, read: Callable[[Any], object]
    ) -> None:
        """Put one value into `given`, or report why it cannot be used."""
        try:
            given[row.name] = (read(written), source)
        except ValueError as error:
            reason = str(error).removeprefix(f'"{written}": ')  # what stands before it already
            self.problems.append(f"{_place(source, row.name, written)}: {reason}")

    # ── values that are good by themselves ──

    def check_folders(self, given: _Given, cwd: str) -> None:
        """Report folders that do not exist; workers would report them too late, once each."""
        chdir, source = given["chdir"]
        start = os.path.join(cwd, chdir) if chdir else cwd
        if start and not os.path.isdir(start):
            where = _place(source, "chdir", chdir) if chdir else f"{cwd} (where the server was started)"
            self.problems.append(f"{where}: no such folder")
            return
        folders, source = given["app_dir"]
        for folder in folders:
            if not os.path.isdir(os.path.join(start, folder)):
                self.problems.append(f"{_place(source, 'app_dir', folder)}: no such folder in {start}")

    def check_proxies(self, given: _Given) -> None:
        """Report fields of proxies that exclude each other, and warn of trust in every peer."""
        headers, source = given["forwarded_headers"]
        try:
            check_headers(headers)
        except ValueError as error:
            self.problems.append(f"{_place(source, 'forwarded_headers', ','.join(headers))}: {error}")
        lists = ["forwarded_allow_ips"] + ["proxy_allow_from"] * (given["proxy_protocol"][0] != "off")
        for name in lists:
            peers, source = given[name]
            if any(peer == "*" or peer.endswith("/0") for peer in peers):
                self.warnings.append(
                    f"{_place(source, name, ','.join(peers))}: any client can choose the address that the "
                    "application sees (list the proxies, unless only they can reach this server)"
                )

    def check_spool(self, given: _Given) -> None:
        """Warn if a body of the largest allowed size does not fit into the spool."""
        (body, _), (spool, _) = given["limit_request_body"], given["limit_spool"]
        if given["worker_class"][0] != "asgi" and not 0 < body <= spool // SHARES:
            allowed = f"limit_request_body ({body})" if body else "limit_request_body (0, no limit)"
            self.warnings.append(
                f"{allowed} is more than a quarter of limit_spool ({spool}): sync and threads workers store "
                f"a body until it is complete, and answer 413 to a body longer than {spool // SHARES} bytes"
            )


def _no_application(folder: str) -> str:
    from appserve.config.obvious import find_application  # imported only for the error

    found = find_application(folder)
    return f"no application: type `appserve {found}` for the one in this folder" if found else NO_APPLICATION


def _counted(workers: int, source: str) -> tuple[int, str]:
    """The number of workers for auto, and why it is that."""
    if workers != AUTO:
        return workers, source
    number, why = count_cpus()
    return number, f"{source} auto, {why}"


def _find_file(cwd: str) -> str:
    """The first settings file in this folder; "" if there is none."""
    for path in FILES:
        if os.path.lexists(os.path.join(cwd, path)) and (path != PROJECT_FILE or _is_ours(cwd, path)):
            return path
    return ""


def _is_ours(cwd: str, path: str) -> bool:
    try:
        return bool(_of_project(_read_toml(cwd, path)))
    except (OSError, ValueError):
        return False  # it is another program's to report


def _read_toml(cwd: str, path: str) -> Mapping[str, object]:
    """Raises OSError, and ValueError for what is no TOML."""
    with open(os.path.join(cwd, path), "rb") as file:
        content = file.read()

    import tomllib  # imported only if there is a file

    try:
        return tomllib.loads(content.decode("utf-8-sig"))  # Windows editors begin a file with a mark
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 (byte {error.start})") from error
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ValueError(_uncapitalized(str(error))) from error


def _of_project(table: Mapping[str, object]) -> Mapping[str, object]:
    """The table [tool.appserve] of a pyproject.toml."""
    tools = table.get("tool")
    ours = tools.get("appserve") if isinstance(tools, dict) else None
    return ours if isinstance(ours, dict) else {}


def _trim(text: str, *, is_secret: bool = False) -> str:
    """The value without the blanks at its end, and the CR of Windows, that files of variables leave."""
    return text.strip("\r\n") if is_secret else text.strip()


def _place(source: str, name: str, value: object) -> str:
    """The source of a value, and the value as it is written there."""
    if name in BY_NAME and BY_NAME[name].is_secret:
        value = "********"
    if source == COMMAND_LINE:
        return f"{BY_NAME[name].positional} {_show_text(str(value))}"
    if source.startswith("--"):
        return f"{source} {_show_text(str(value))}"
    if source.isupper() and source not in OTHER_SERVERS:
        return f"{source}={_show_text(str(value))}"
    return f"{source}: {name} = {_show_value(value)}"


def _uncapitalized(text: str) -> str:
    return text[:1].lower() + text[1:]


def _show_text(text: str) -> str:
    """A text of unknown content, on one line and shortened."""
    shown = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text[:100])
    return shown + ("…" if len(text) > 100 else "") if shown else '""'


def _show_value(value: object) -> str:
    import json  # imported only for an error

    return _show_text(json.dumps(value, default=str, ensure_ascii=False))
