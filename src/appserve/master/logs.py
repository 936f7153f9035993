"""Where the logs go. The master opens what has to be opened, and workers inherit it."""

import errno
import os

from appserve.config.settings import Settings
from appserve.errors import ConfigError
from appserve.observe.access import AccessLog
from appserve.observe.log import Level, Log, wants_colour

_REASONS = {
    errno.ELOOP: "it is a symbolic link (name the file it leads to)",
    errno.ENXIO: "it is a named pipe that nobody reads (start its reader first), or a socket",
}
"""What the system's words do not tell, for how the access log is opened."""


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
        # somebody else may have put there; and not waiting for somebody to read it, if it is a named pipe.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        fd = os.open(path, flags, 0o640)
    except OSError as error:
        reason = _REASONS.get(error.errno or 0, error.strerror)
        raise ConfigError([f"cannot open the access log {path}: {reason}"]) from error
    os.set_blocking(fd, True)  # what is written is the writer's business
    return AccessLog(fd)
