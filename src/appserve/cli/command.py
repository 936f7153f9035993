"""From the command line to a running master, or to an answer: help, version, the settings, what is wrong.

click splits the command line into raw texts, and nothing more: our table of settings converts them, so that
a mistake in a flag, in the environment and in the file are all reported at once, and end with exit code 5.
"""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from typing import Any

import click

from appserve.config.convert import suggest
from appserve.config.rows import Row
from appserve.config.settings import BY_NAME, GROUPS, ROWS, Resolved
from appserve.config.sources import COMMAND_LINE, DEFAULT, SETTINGS_FILE, resolve
from appserve.errors import ConfigError, ExitCode, StartupError
from appserve.version import __version__

_ACTIONS: Mapping[str, tuple[tuple[str, ...], str]] = {
    "check_config": (("--check-config",), "Check the settings, report all problems, and exit."),
    "print_config": (
        ("--print-config",),
        "Print every setting, its value and where it comes from, and exit.",
    ),
    "version": (("-v", "--version"), "Print the version and whether it is compiled, and exit."),
    "help": (("-h", "--help"), "Print this help and exit."),
}

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


class _CommandLine:
    """What was typed: raw texts by setting, the actions, and what could not be understood."""

    def __init__(self) -> None:
        self.arguments: dict[str, tuple[str, ...]] = {}
        self.actions: set[str] = set()
        self.warnings: list[str] = []
        self.problems: list[str] = []


def version_text() -> str:
    """The version, whether the request path is compiled, and the Python that runs it."""
    import platform  # only the version pays for it

    spec = find_spec("appserve.http.http1")
    is_pure = spec is None or (spec.origin or "").endswith(".py")
    build = "pure Python" if is_pure else "compiled"
    return f"appserve {__version__} ({build}), Python {platform.python_version()}"


def run(arguments: Sequence[str]) -> int:
    """Do what the command line says; gives the exit code."""
    typed = _read(arguments)
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


def _act(typed: _CommandLine) -> int:
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
    needed = typed.actions != {"print_config"}
    resolved = resolve(
        typed.arguments,
        environ,
        cwd,
        problems=typed.problems,
        warnings=typed.warnings,
        application_needed=needed,
        call=_call,
    )
    if not typed.actions:
        from appserve.master import master

        return master.run(resolved, lambda: resolve(typed.arguments, environ, cwd, call=_call))
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


def _read(arguments: Sequence[str]) -> _CommandLine:
    """Split the command line into texts. Parsing goes on after what is not understood."""
    typed = _CommandLine()
    left = list(arguments)
    values = _parse(left, _options(), typed.problems)
    foreign: dict[str, Sequence[str]] = {}
    if any(map(_is_flag, values["application"])):
        values, foreign = _parse_foreign(left, typed.problems)
    for name, value in values.items():
        if name in _ACTIONS:
            typed.actions |= {name} if value else set()
        elif value is not None and value != ():
            typed.arguments[name] = (str(value).lower(),) if isinstance(value, bool) else value
    words = typed.arguments.pop("application", ())
    if foreign:
        from appserve.config.foreign import translate

        found = translate(foreign, typed.arguments, os.environ.get("PORT") or "8000")
        typed.arguments |= found.arguments
        typed.warnings += found.warnings
        typed.problems += found.problems
    for flag in (word.partition("=")[0] for word in words if _is_flag(word)):
        typed.problems.append(f"{flag}: no such option{suggest(flag, _flags(), cutoff=0.7)}")
    applications = tuple(word for word in words if not _is_flag(word))
    # After an unknown flag its value would be taken for an application.
    if len(applications) > 1 and not typed.problems:
        first, *others = applications
        applications = (first,)
        typed.problems += [
            f'unexpected argument "{other}": the application is "{first}" already' for other in others
        ]
    if applications:
        typed.arguments["application"] = applications
    return typed


def _parse_foreign(words: list[str], problems: list[str]) -> tuple[dict[str, Any], dict[str, Sequence[str]]]:
    """As _parse(), for a command line that was written for another server or is wrong; and the texts of the
    flags of other servers, by their first spelling."""
    from appserve.config.foreign import FOREIGN  # only such a command line pays for it

    rows = {f"foreign_{number}": row for number, row in enumerate(FOREIGN)}
    known = [_option(row.flags, name, takes_value=bool(row.metavar)) for name, row in rows.items()]
    values = _parse(words, [*_options(), *known], problems)
    given = {row.flags[0]: values.pop(name) for name, row in rows.items()}
    return values, {flag: ("",) if value is True else value for flag, value in given.items() if value}


def _parse(words: list[str], options: Sequence[click.Parameter], problems: list[str]) -> dict[str, Any]:
    """The values by setting and action; unknown flags are among the applications.

    A flag without its value is reported, and taken out of `words`.
    """
    # What is unknown is kept, so that all mistakes are reported at once.
    lenient = {"ignore_unknown_options": True}
    command = click.Command("appserve", context_settings=lenient, params=[*options], add_help_option=False)
    while True:
        try:
            return command.make_context("appserve", list(words)).params
        except click.BadOptionUsage as error:
            flag = error.option_name
            problems.append(f"{flag}: {_value_expected(flag)}")
            # A flag without its value is the last word.
            words.remove(next((word for word in words if word.startswith(f"{flag}=")), words[-1]))


def _is_flag(word: str) -> bool:
    return word.startswith("-") and word != "-"


def _options() -> list[click.Parameter]:
    """The rows as click knows them: every value a list of raw texts."""
    parameters: list[click.Parameter] = []
    for row in ROWS:
        if row.positional:
            parameters.append(click.Argument([row.name], nargs=-1, type=str))
        elif row.off_flag:
            spelling = [f"{flag}/{row.off_flag}" if flag == row.flag else flag for flag in row.flags]
            parameters.append(click.Option([*spelling, row.name], default=None))
        else:
            parameters.append(_option(row.flags, row.name, takes_value=True))
    parameters += [_option(flags, name, takes_value=False) for name, (flags, _) in _ACTIONS.items()]
    return parameters


def _option(flags: Sequence[str], name: str, *, takes_value: bool) -> click.Option:
    if takes_value:
        return click.Option([*flags, name], multiple=True, type=str)
    return click.Option([*flags, name], is_flag=True)


def _flags() -> list[str]:
    """Every long flag there is."""
    flags = [flag for row in ROWS for flag in (*row.flags, row.off_flag)]
    flags += [flag for flags, _ in _ACTIONS.values() for flag in flags]
    return [flag for flag in flags if flag.startswith("--")]


def _value_expected(flag: str) -> str:
    for row in ROWS:
        if flag in row.flags and row.kind.metavar:
            kind = row.repeated.item if row.repeated else row.kind
            return f"expected a value after it: {kind.explain.replace('`', '')}"
        if flag in (*row.flags, row.off_flag):
            return "takes no value"
    from appserve.config.foreign import FOREIGN

    takes_value = any(flag in row.flags and row.metavar for row in FOREIGN)
    return "expected a value after it" if takes_value else "takes no value"


def _report_problems(problems: Sequence[str], typed: _CommandLine) -> None:
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
    for flags, text in _ACTIONS.values():
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
