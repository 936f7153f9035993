"""docs/settings.md, conf/appserve.toml and docs/migrate.md, generated from the tables of settings and flags.

`python -m tests.config.document` in the project's folder writes them; a test compares them.
"""

import sys
import textwrap
from pathlib import Path

from appserve.config.foreign import FOREIGN, HOST, PORT, ForeignFlag
from appserve.config.rows import Applies, Row
from appserve.config.settings import BY_NAME, GROUPS, ROWS

_INTRODUCTION = """\
# Settings

<!-- Written by `python -m tests.config.document` from src/appserve/config/settings.py: do not edit. -->

A setting can be given in five places. Each overrides those above it; a list replaces the whole list:

1. its default (`PORT`, `WEB_CONCURRENCY` and `FORWARDED_ALLOW_IPS`, which hosting platforms set, replace
   the defaults of `bind`, `workers` and `forwarded_allow_ips`);
2. `appserve.toml` in the current folder, or the file that `--config` names;
3. `GUNICORN_CMD_ARGS` and variables such as `UVICORN_PORT`, read as flags ([migrate.md](migrate.md));
4. the environment: `APPSERVE_` and the setting's name, such as `APPSERVE_KEEP_ALIVE`; an empty variable
   counts as unset;
5. the command line.

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

_MIGRATION = """\
# Migrate from another server

<!-- Written by `python -m tests.config.document` from src/appserve/config/foreign.py: do not edit. -->

Replace the name of the server in the command, and start it. A flag that appserve shares works as it did;
one that it knows by another name works, too; one that needs nothing here is logged as a warning; and one
that would change what is served, and cannot, is refused with what to use instead, before anything is served
(exit code 5).

    gunicorn shop.wsgi -w 4 -b 0.0.0.0:8000 -k gthread --threads 8     # before
    appserve shop.wsgi -w 4 -b 0.0.0.0:8000 -k gthread --threads 8
    uvicorn main:app --host 0.0.0.0 --port 80 --proxy-headers          # before
    appserve main:app --host 0.0.0.0 --port 80

What is different:

- Without an address the server listens on 127.0.0.1:8000, or on 0.0.0.0 and `$PORT` where that is set. A
  `--port` alone is for this machine; add `--host 0.0.0.0` in a container.
- The worker class follows from the application. `gthread` is another name of `threads`; Uvicorn's worker
  classes for Gunicorn are other names of `asgi`. gevent, eventlet, tornado and classes of your own are
  refused.
- A `gunicorn.conf.py` in the current folder, or named with `-c`, is read: its settings that appserve has
  work, the others and its hooks are named in the log. `user` and `group` are errors, because the
  application would run with other rights. [settings.md](settings.md) has every setting.
- Logs go to standard output (requests) and standard error (events). The access log is on.

The tables have the flags that appserve does not share.
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
    reported = "\n\n".join(text for text in (row.help, row.more) if text)
    return f"### `{row.name}`\n\n{reported}\n\n| | |\n|---|---|\n{table}\n"


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
    reported = f"{row.help} {row.more}".strip().replace("`", "")
    default = f"Default: {row.default_shown}."
    lines = [f"# {line}" for text in (reported, default) for line in textwrap.wrap(text, 106)]
    return "\n".join([*lines, f"#{_line(row)}", ""])


def migration_page() -> str:
    """docs/migrate.md."""
    parts = [_MIGRATION]
    for server in dict.fromkeys(server for row in FOREIGN for server in row.servers):
        parts.append(f"## {server}\n\n| flag | here |\n|---|---|")
        parts.extend(f"| {_spellings(row)} | {_meaning(row)} |" for row in FOREIGN if server in row.servers)
        parts.append("")
    return "\n".join(parts).rstrip("\n") + "\n"


def _spellings(row: ForeignFlag) -> str:
    return ", ".join(f"`{flag} {row.metavar}`" if row.metavar else f"`{flag}`" for flag in row.flags)


def _meaning(row: ForeignFlag) -> str:
    if row.flags[0] in (HOST, PORT):
        return "works: `--bind HOST:PORT`"
    if row.sets:
        setting = BY_NAME[row.sets]
        value = row.becomes(row.metavar if row.sets == "bind" else "") or setting.kind.metavar
        return f"works: `{setting.flag} {value}`" if setting.kind.metavar else f"works: `{setting.flag}`"
    return f"refused: {row.says}" if row.is_refused else f"has no effect: {row.says}"


def files() -> dict[str, str]:
    """What is generated: path within the project, and text."""
    return {
        "docs/settings.md": settings_page(),
        "docs/migrate.md": migration_page(),
        "conf/appserve.toml": example_file(),
    }


def main() -> None:
    for path, text in files().items():
        Path(path).write_text(text, encoding="utf-8")
        print(f"{path} written", file=sys.stderr)


if __name__ == "__main__":
    main()
