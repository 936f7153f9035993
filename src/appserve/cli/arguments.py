"""Command lines as raw texts, by setting: ours, and those of other servers, also in their variables.

click splits a command line into texts, and nothing more: the table of settings converts them, so that a
mistake in a flag, in the environment and in the file are reported at once.
"""

import os
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import click

from appserve.config.convert import suggest
from appserve.config.settings import ROWS

ACTIONS: Mapping[str, tuple[tuple[str, ...], str]] = {
    "check_config": (("--check-config",), "Check the settings, report all problems, and exit."),
    "print_config": (
        ("--print-config",),
        "Print every setting, its value and where it comes from, and exit.",
    ),
    "version": (("-v", "--version"), "Print the version and whether it is compiled, and exit."),
    "help": (("-h", "--help"), "Print this help and exit."),
}


PREFIXES = ("UVICORN_", "GRANIAN_")
"""Of variables that are flags of other servers by name."""


class CommandLine:
    """What was typed: raw texts by setting, the actions, and what could not be understood."""

    def __init__(self) -> None:
        self.arguments: dict[str, tuple[str, ...]] = {}
        self.actions: set[str] = set()
        self.warnings: list[str] = []
        self.problems: list[str] = []


def read_command_line(arguments: Sequence[str]) -> CommandLine:
    """Split the command line into texts. Parsing goes on after what is not understood."""
    typed = CommandLine()
    left = list(arguments)
    values = _parse(left, _options(), typed.problems)
    foreign: dict[str, Sequence[str]] = {}
    if any(map(_is_flag, values["application"])):
        values, foreign = _parse_foreign(left, typed.problems)
    for name, value in values.items():
        if name in ACTIONS:
            typed.actions |= {name} if value else set()
        elif value is not None and value != ():
            typed.arguments[name] = (str(value).lower(),) if isinstance(value, bool) else value
    words = typed.arguments.pop("application", ())
    if foreign:
        from appserve.config.foreign import translate

        port = _variable("PORT") or os.environ.get("PORT") or "8000"
        found = translate(foreign, typed.arguments, port, _variable("HOST") or "127.0.0.1")
        typed.arguments |= found.arguments
        typed.warnings += found.warnings
        typed.problems += found.problems
    for flag in (word.partition("=")[0] for word in words if _is_flag(word)):
        typed.problems.append(f"{flag}: no such option{suggest(flag, known_flags(), cutoff=0.7)}")
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


def _variable(name: str) -> str:
    """UVICORN_HOST, for one: half of an address, of which the other half is a flag. "" if it is not set."""
    values = (os.environ.get(prefix + name, "").strip() for prefix in PREFIXES)
    return next((value for value in values if value and "://" not in value), "")


class OtherServers:
    """What variables of other servers give: texts by setting, with the variable that they are from."""

    def __init__(self) -> None:
        self.arguments: dict[str, tuple[tuple[str, ...], str]] = {}
        self.warnings: list[str] = []
        self.problems: list[str] = []


def read_other_servers(environ: Mapping[str, str]) -> OtherServers:
    """Read GUNICORN_CMD_ARGS, which holds flags, and variables such as UVICORN_PORT, which are flags by name.

    A variable that is no flag has another purpose; so has what Kubernetes sets for a Service (tcp://...).
    """
    found = OtherServers()
    lines: dict[str, list[str]] = {}  # by the names in sources.OTHER_SERVERS
    try:
        lines["GUNICORN_CMD_ARGS"] = shlex.split(environ.get("GUNICORN_CMD_ARGS", ""))
    except ValueError as error:
        found.problems.append(f"GUNICORN_CMD_ARGS: {str(error).lower()}")
    for prefix in PREFIXES:
        names = sorted(name for name in environ if name.startswith(prefix) and "://" not in environ[name])
        lines[f"{prefix}*"] = [
            word for name in names for word in _words(name.removeprefix(prefix), environ[name].strip())
        ]
    for source, words in lines.items():
        if not words:
            continue
        typed = read_command_line(words)
        typed.arguments.pop("application", None)
        found.arguments |= {name: (texts, source) for name, texts in typed.arguments.items()}
        found.warnings.append(f"{source}: read as flags (APPSERVE_* and the command line override them)")
        found.warnings += [f"{source}: {warning}" for warning in typed.warnings]
        found.problems += [f"{source}: {problem}" for problem in typed.problems]
    return found


def _words(name: str, text: str) -> list[str]:
    """The flag that a variable of this name stands for; [] if there is none, or if it is off."""
    flag = "--" + name.lower().replace("_", "-")
    has_value = takes_value(flag)
    if not text or has_value is None:
        return []
    if has_value:
        return [f"{flag}={text}"]
    if text.lower() in ("1", "true", "yes", "on"):
        return [flag]
    from appserve.config.foreign import FOREIGN

    negative = flag.replace("--", "--no-", 1)
    has_effect = any(negative == row.off_flag for row in ROWS) or any(
        negative in row.flags and row.sets for row in FOREIGN
    )
    return [negative] if has_effect else []


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
    parameters += [_option(flags, name, takes_value=False) for name, (flags, _) in ACTIONS.items()]
    return parameters


def _option(flags: Sequence[str], name: str, *, takes_value: bool) -> click.Option:
    if takes_value:
        return click.Option([*flags, name], multiple=True, type=str)
    return click.Option([*flags, name], is_flag=True)


def known_flags() -> list[str]:
    """Every long flag there is."""
    flags = [flag for row in ROWS for flag in (*row.flags, row.off_flag)]
    flags += [flag for flags, _ in ACTIONS.values() for flag in flags]
    return [flag for flag in flags if flag.startswith("--")]


def _value_expected(flag: str) -> str:
    for row in ROWS:
        if flag in row.flags and row.kind.metavar:
            kind = row.repeated.item if row.repeated else row.kind
            return f"expected a value after it: {kind.explain.replace('`', '')}"
    return "expected a value after it" if takes_value(flag) else "takes no value"


def takes_value(flag: str) -> bool | None:
    """Whether a flag of ours or of another server takes a value; None if there is no such flag."""
    from appserve.config.foreign import FOREIGN

    for row in ROWS:
        if flag in (*row.flags, row.off_flag):
            return bool(row.kind.metavar)
    return next((bool(row.metavar) for row in FOREIGN if flag in row.flags), None)
