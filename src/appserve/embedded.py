"""The server as a Python program starts it: `appserve.run("main:app", port=8000)`."""

import sys
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any

from appserve.cli import command
from appserve.cli.arguments import known_flags, takes_value
from appserve.config.convert import suggest

HANDED_OVER = "appserve_application"
"""The module that an application object stands in: workers find it there, as they are forked."""


def run(application: str | Callable[..., Any], **settings: Any) -> int:
    """Serve until a signal stops the server; gives the exit code. See appserve.run."""
    target = application if isinstance(application, str) else _hand_over(application)
    return command.run([target, *flags_of(settings)])


def _hand_over(application: Callable[..., Any]) -> str:
    module = ModuleType(HANDED_OVER)
    module.app = application  # type: ignore[attr-defined]  # a module made for it
    sys.modules[HANDED_OVER] = module
    return f"{HANDED_OVER}:app"


def flags_of(settings: dict[str, Any]) -> list[str]:
    """The command line of these settings; None leaves one out. Raises TypeError for a name that is none."""
    flags: list[str] = []
    for name, value in settings.items():
        flag = "--" + name.replace("_", "-")
        has_value = takes_value(flag)
        if has_value is None:
            names = [known[2:].replace("-", "_") for known in known_flags()]
            raise TypeError(f"run() has no setting {name!r}{suggest(name, names)}")
        if has_value:
            values: Iterable[Any] = value if isinstance(value, list | tuple) else [value]
            flags += [f"{flag}={one}" for one in values if one is not None]
        elif value:
            flags.append(flag)
        elif value is not None and takes_value(f"--no-{flag[2:]}") is False:
            flags.append(f"--no-{flag[2:]}")
    return flags
