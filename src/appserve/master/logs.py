"""Where the logs go. The master opens what has to be opened, and workers inherit it."""

import os

from appserve.config.settings import Settings
from appserve.errors import ConfigError
from appserve.observe.access import AccessLog
from appserve.observe.log import Level, Log, wants_colour


def open_log(settings: Settings) -> Log:
    """The error log: standard error."""
    return Log(2, Level[settings.log_level.upper()], wants_colour(2, os.environ))


def open_access_log(path: str) -> AccessLog | None:
    """The access log, None when it is off. Raises ConfigError when the file cannot be written."""
    if path == "none":
        return None
    if path in {"-", "/dev/stdout", "/dev/stderr"}:
        # Those paths are symbolic links; what they name is open already.
        return AccessLog(2 if path == "/dev/stderr" else 1)
    try:
        # Appended to, so that workers' lines do not overwrite each other; not through a symbolic link, which
        # somebody else may have put there.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0)
        return AccessLog(os.open(path, flags, 0o640))
    except OSError as error:
        raise ConfigError([f"cannot open the access log {path}: {error.strerror}"]) from error
