"""From the command line to a running master, or to an answer: help, version, the settings, what is wrong.

click splits the command line into raw texts, and nothing more: our table of settings converts them, so that
a mistake in a flag, in the environment and in the file are all reported at once, and end with exit code 5.
"""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.util import find_spec

from appserve.cli.arguments import ACTIONS, CommandLine, read_command_line, read_other_servers
from appserve.config.rows import Row
from appserve.config.settings import BY_NAME, GROUPS, ROWS, Resolved
from appserve.config.sources import COMMAND_LINE, DEFAULT, SETTINGS_FILE, resolve
from appserve.errors import ConfigError, ExitCode, StartupError
from appserve.version import __version__

_ABOUT = "Serve a WSGI or ASGI application from supervised worker processes."

_EXAMPLES = (
    "appserve main:app",
    "appserve mysite.wsgi --workers 4 --bind 0.0.0.0:8000",
    "appserve 'shop:make_app(\"production\")' --bind unix:/run/shop.sock",
)

_ENVIRONMENT = (
    f"Every option is also an environment variable ({BY_NAME['keep_alive'].flag}: "
    f"{BY_NAME['keep_alive'].variable}) and a key of {SETTINGS_FILE} (keep_alive). The command line wins "
    "over the environment, and that over the file. Lists take commas in the environment "
    "and [...] in the file. Seconds can be 2.5, 500ms, 5m or 1h; bytes can be 64K, 10M or 1G."
)

_EXIT_CODES = (
    "0 clean, 3 the application failed to start, 4 it could not be imported, 5 settings, 6 cannot listen on "
    "an address, 70 gave up, 71 internal error"
)


def version_text() -> str:
    """The version, whether the request path is compiled, and the Python that runs it."""
    import platform  # only the version pays for it

    spec = find_spec("appserve.http.http1")
    is_pure = spec is None or (spec.origin or "").endswith(".py")
    build = "pure Python" if is_pure else "compiled"
    return f"appserve {__version__} ({build}), Python {platform.python_version()}"


def run(arguments: Sequence[str]) -> int:
    """Do what the command line says; gives the exit code."""
    typed = read_command_line(arguments)
    try:
        return _act(typed)
    except ConfigError as error:
        _report_problems(error.problems, typed)
        return ExitCode.CONFIG
    except StartupError as error:
        if error.detail:
            print(error.detail, file=sys.stderr)
        print(f"appserve: {error.message}", file=sys.stderr)
        return error.exit_code


def _act(typed: CommandLine) -> int:
    if "help" in typed.actions:
        from shutil import get_terminal_size  # only help pays for it

        print(help_text(get_terminal_size().columns))
        return ExitCode.CLEAN
    if "version" in typed.actions:
        print(version_text())
        return ExitCode.CLEAN
    # Read once: a reload reads the same arguments and environment again, and the file anew.
    environ = dict(os.environ)
    cwd = _current_folder(environ)
    others = read_other_servers(environ)
    read = partial(resolve, typed.arguments, environ, cwd, others=others.arguments, call=_call)
    resolved = read(
        problems=typed.problems + others.problems,
        warnings=typed.warnings + others.warnings,
        application_needed=typed.actions != {"print_config"},
    )
    if not typed.actions:
        from appserve.master import master

        return master.run(resolved, read)
    for warning in resolved.warnings:
        _warn(warning)
    if "print_config" in typed.actions:
        print(settings_text(resolved))
    if "check_config" in typed.actions:
        from appserve.config.derive import make_tls

        make_tls(resolved.settings, _warn)
        print(_checked_text(resolved))
    return ExitCode.CLEAN


def _call(run: Callable[[], bytes], seconds: float) -> bytes:
    from appserve.master.process import call  # only a settings file that is a program pays for it

    return call(run, seconds)


def _current_folder(environ: Mapping[str, str]) -> str:
    """The path of the current folder: the shell's ($PWD), if that is the folder.

    The kernel knows no links. Where a deployment moves a link (`current`) to the next release, a server that
    was started in the linked folder finds it by the link's name. Empty if the folder cannot be entered by its
    path: then paths stay relative, and nothing changes to another folder.
    """
    try:
        folder = os.getcwd()
        here = os.stat(".")
    except OSError as error:
        raise ConfigError([f"the current folder cannot be used: {error.strerror}"]) from error
    named = environ.get("PWD", "")
    try:
        if os.path.isabs(named) and os.path.samestat(os.stat(named), here):
            folder = named
    except OSError:
        pass  # $PWD is of another folder, which is gone
    return folder if os.access(folder, os.X_OK) else ""


def _report_problems(problems: Sequence[str], typed: CommandLine) -> None:
    if len(problems) == 1:
        print(f"appserve: {problems[0]}", file=sys.stderr)
    else:
        print(f"appserve: {len(problems)} problems with the settings", file=sys.stderr)
        for problem in problems:
            print(f"  {problem}", file=sys.stderr)
    if typed.problems:
        print("appserve --help lists the options", file=sys.stderr)


def settings_text(resolved: Resolved) -> str:
    """Every setting with its value and its source, in columns."""
    lines = [
        (row.name, row.show(getattr(resolved.settings, row.name)), resolved.sources[row.name]) for row in ROWS
    ]
    widths = [max(len(line[column]) for line in lines) for column in (0, 1)]
    return "\n".join(f"{name:<{widths[0]}}  {value:<{widths[1]}}  {source}" for name, value, source in lines)


def _warn(text: str) -> None:
    print(f"appserve: warning: {text}", file=sys.stderr)


def _checked_text(resolved: Resolved) -> str:
    counts: dict[str, int] = {}
    for row in ROWS:
        source = resolved.sources[row.name]
        if source != DEFAULT:
            kind = COMMAND_LINE if source in (row.flag, COMMAND_LINE) else source
            counts[kind] = counts.get(kind, 0) + 1
    given = ", ".join(f"{count} from {source}" for source, count in counts.items())
    return (
        f"the settings are good ({given}, the rest are defaults)\n"
        f"not tried: importing {resolved.settings.application}, "
        f"listening on {', '.join(resolved.settings.bind)}"
    )


def help_text(columns: int) -> str:
    """All of --help, as wide as the terminal within reason."""
    width = max(72, min(columns, 100) - 1)
    lines = ["Usage: appserve [OPTIONS] APPLICATION", "", _ABOUT, ""]
    lines += [f"  {example}" for example in _EXAMPLES]
    for group in GROUPS:
        lines += ["", f"{group}:"]
        for row in ROWS:
            if row.group == group:
                lines += _entry(_term(row), _definition(row), width)
    for flags, text in ACTIONS.values():
        lines += _entry(_spell(flags), text, width)
    for paragraph in (_ENVIRONMENT, f"Exit codes: {_EXIT_CODES}."):
        lines += ["", *_wrap(paragraph, width)]
    return "\n".join(lines)


def _entry(term: str, definition: str, width: int) -> list[str]:
    """A term, and beside it what it does."""
    column = 32
    lines = [" " * column + line for line in _wrap(definition, width - column)]
    if len(term) + 4 > column:
        return [f"  {term}", *lines]
    return [f"  {term:<{column - 2}}{lines[0].lstrip()}", *lines[1:]]


def _wrap(text: str, width: int) -> list[str]:
    import textwrap  # only help pays for it

    # A flag that is broken at its hyphens cannot be copied.
    return textwrap.wrap(text, width, break_on_hyphens=False, break_long_words=False)


def _term(row: Row) -> str:
    if row.positional:
        return row.positional
    metavar = row.kind.metavar
    return _spell([*([row.short] if row.short else []), row.flag]) + (f" {metavar}" if metavar else "")


def _spell(flags: Sequence[str]) -> str:
    return ", ".join(sorted(flags, key=len))


def _definition(row: Row) -> str:
    also = f" (also {', '.join(row.also)})" if row.also else ""
    shown = row.default_shown
    default = "" if shown in ("none", "false") else f" [default: {shown}]"
    return f"{row.help}{also}{default}"
