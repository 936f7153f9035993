"""docs/settings.md and conf/appserve.toml, generated from the table of settings.

`python -m tests.config.document` in the project's folder writes both; a test compares them.
"""

import sys
import textwrap
from pathlib import Path

from appserve.config.rows import Applies, Row
from appserve.config.settings import GROUPS, ROWS

_INTRODUCTION = """\
# Settings

<!-- Written by `python -m tests.config.document` from src/appserve/config/settings.py: do not edit. -->

A setting can be given in four places. Each overrides those above it; a list replaces the whole list:

1. its default (`PORT`, `WEB_CONCURRENCY` and `FORWARDED_ALLOW_IPS`, which hosting platforms set, replace
   the defaults of `bind`, `workers` and `forwarded_allow_ips`);
2. `appserve.toml` in the current folder, or the file that `--config` names;
3. the environment: `APPSERVE_` and the setting's name, such as `APPSERVE_KEEP_ALIVE`; an empty variable
   counts as unset;
4. the command line.

`appserve --print-config` prints every setting, its value and its source. `appserve --check-config` and the
server itself report all problems at once and exit with 5. A name that is not a setting is an error in the
file and on the command line, and a warning in the environment. (The variables that Kubernetes sets for a
Service called `appserve` are ignored.)

[conf/appserve.toml](../conf/appserve.toml) is an example file with every setting and its default.
"""

_EXAMPLE_INTRODUCTION = """\
# Settings of appserve, all of them, each with its default or an example.
# Written by `python -m tests.config.document`.
#
# Copy what you need to appserve.toml where the server is started, or name the file with --config. The
# environment (APPSERVE_KEEP_ALIVE) and the command line (--keep-alive) override the file. SIGHUP reads it
# again; docs/settings.md lists which changes need a restart.
# Seconds can also be "500ms", "5m" or "1h", bytes "64K", "10M" or "1G".
"""

_WHEN = {
    Applies.WORKERS: "takes effect with a reload (`SIGHUP`)",
    Applies.LISTENERS: "takes effect with a restart: addresses are bound once",
    Applies.RESTART: "takes effect with a restart",
}


def settings_page() -> str:
    """docs/settings.md."""
    parts = [_INTRODUCTION]
    for group in GROUPS:
        parts.append(f"## {group}\n")
        parts.extend(_section(row) for row in ROWS if row.group == group)
    return "\n".join(parts).rstrip("\n") + "\n"


def _section(row: Row) -> str:
    flags = [f"`{_with_value(flag, row)}`" for flag in row.flags]
    if row.off_flag:
        flags.append(f"`{row.off_flag}`")
    facts = [
        ("command line", ", ".join(flags) or f"`{row.positional}`"),
        ("environment", f"`{row.variable}`"),
        ("file", f"`{_line(row)}`" if row.in_file else "no"),
        ("value", row.kind.explain),
        ("default", _code(row.default_shown, row)),
        ("a change", _WHEN[row.applies]),
    ]
    table = "\n".join(f"| {name} | {text.replace('|', chr(92) + '|')} |" for name, text in facts)
    told = "\n\n".join(text for text in (row.help, row.more) if text)
    return f"### `{row.name}`\n\n{told}\n\n| | |\n|---|---|\n{table}\n"


def _with_value(flag: str, row: Row) -> str:
    return f"{flag} {row.kind.metavar}" if row.kind.metavar else flag


def _code(shown: str, row: Row) -> str:
    """The default as code, unless it is described in words."""
    value = row.kind.show(row.default)
    return f"`{value}`{shown.removeprefix(value)}" if value else shown


def _line(row: Row) -> str:
    return f"{row.name} = {row.kind.show_toml(row.example)}"


def example_file() -> str:
    """conf/appserve.toml, every key commented out."""
    parts = [_EXAMPLE_INTRODUCTION]
    for group in GROUPS:
        rows = [row for row in ROWS if row.group == group and row.in_file]
        if rows:
            parts.append(f"\n# ── {group} {'─' * (70 - len(group))}\n")
        parts.extend(_entry(row) for row in rows)
    return "\n".join(parts).rstrip("\n") + "\n"


def _entry(row: Row) -> str:
    told = f"{row.help} {row.more}".strip().replace("`", "")
    default = f"Default: {row.default_shown}."
    lines = [f"# {line}" for text in (told, default) for line in textwrap.wrap(text, 106)]
    return "\n".join([*lines, f"#{_line(row)}", ""])


def files() -> dict[str, str]:
    """What is generated: path within the project, and text."""
    return {"docs/settings.md": settings_page(), "conf/appserve.toml": example_file()}


def main() -> None:
    for path, text in files().items():
        Path(path).write_text(text, encoding="utf-8")
        print(f"{path} written", file=sys.stderr)


if __name__ == "__main__":
    main()
