"""Where the logs go. The master opens what has to be opened; workers inherit it, or are sent it.

A file that was renamed is written on until it is opened anew by its name, by USR1 or a reload. A worker may
be another user by then, or busy: so the master opens, and sends the descriptors over the channels.
"""

import errno
import os
from collections.abc import Iterable

from appserve.config.settings import Settings
from appserve.errors import ConfigError
from appserve.observe.access import AccessLog
from appserve.observe.log import Log, wants_colour
from appserve.workers.channel import LogFiles
from appserve.workers.context import ERROR, OUTPUT, make_access_log, make_log

_REASONS = {
    errno.ELOOP: "it is a symbolic link (name the file it leads to)",
    errno.ENXIO: "it is a named pipe without a reader (start the reader first), or a socket",
}
"""Clearer than the texts of the system, for how the access log is opened."""

_STREAMS = {"/dev/stdout": OUTPUT, "/dev/stderr": ERROR}
"""Those paths are symbolic links; what they name is open already."""

_OFF = -1


def open_logs(settings: Settings) -> "Logs":
    """The logs that these settings name. Raises ConfigError when a file cannot be written."""
    fd = _open("error log", settings.error_logfile)
    logs = Logs(make_log(fd, settings), settings)
    logs.access(settings.access_logfile)
    return logs


class Logs:
    """The error log, and the access log of each path that a generation uses.

    A change of the access log's path comes with new workers: those before them write where they did. There is
    one error log, which moves when the generation that names another one is in charge.
    """

    def __init__(self, log: Log, settings: Settings) -> None:
        self.log = log
        self._error_path = settings.error_logfile
        self._access: dict[str, AccessLog] = {}

    def access(self, path: str) -> AccessLog | None:
        """The access log of this path, None if that means none. Raises ConfigError if it cannot be opened."""
        access = self._access.get(path)
        if access is None:
            access = make_access_log(_open("access log", path), path, self.log)
            if access is not None:
                self._access[path] = access
        return access

    def prepare(self, settings: Settings) -> int | None:
        """Open what a new generation needs; gives its error log if that is another. Raises ConfigError."""
        self.access(settings.access_logfile)
        path = settings.error_logfile
        return None if path == self._error_path else _open("error log", path)

    def move(self, path: str, fd: int | None) -> bool:
        """Write the error log into `fd`, which `path` names; None: it stays. Gives whether it has moved."""
        if fd is None:
            return False
        self._error_path = path
        close_log(self.log.replace(fd, wants_colour(fd, os.environ)))
        return True

    def keep(self, paths: Iterable[str]) -> None:
        """Close the access logs of all other paths: no worker writes them any more."""
        for path in self._access.keys() - set(paths):
            access = self._access.pop(path)
            access.flush()
            close_log(access.given)

    def reopen(self) -> list[str]:
        """Open every file anew by its name; gives those that were. What cannot be opened stays as it was."""
        logs: list[tuple[str, str, AccessLog | Log]] = [
            ("access log", path, access) for path, access in self._access.items() if access.given > ERROR
        ]
        if self.log.given > ERROR:
            logs.append(("error log", self._error_path, self.log))
        opened = []
        for name, path, log in logs:
            try:
                close_log(log.replace(_open(name, path)))
                opened.append(path)
            except ConfigError as error:
                self.log.error(f"{error}; the open file stays in use")
        return opened

    def files_for(self, path: str, *, moved: bool = False) -> tuple[LogFiles, list[int]]:
        """What a worker whose access log has this path is sent: its logs that are files.

        `moved`: the error log was another one until now, so it is sent though it may be standard error.
        """
        access = self._access.get(path)
        files = [access.given] if access is not None and access.given > ERROR else []
        logs = LogFiles(access=bool(files), error=moved or self.log.given > ERROR)
        return logs, [*files, self.log.given][: logs.count]


def _open(name: str, path: str) -> int:
    """A descriptor to write lines into; _OFF if there are to be none. Raises ConfigError."""
    if path == "none":
        return _OFF
    if path == "-":
        return ERROR if name == "error log" else OUTPUT
    if path in _STREAMS:
        return _STREAMS[path]
    try:
        # Appended to, so that workers' lines do not overwrite each other; not through a symbolic link, which
        # another user may have put there; and without a wait for the reader of a named pipe.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        fd = os.open(path, flags, 0o640)
    except OSError as error:
        reason = _REASONS.get(error.errno or 0, error.strerror)
        raise ConfigError([f"cannot open the {name} {path}: {reason}"]) from error
    os.set_blocking(fd, True)  # what is written is the writer's business
    return fd


def close_log(fd: int | None) -> None:
    """Close a log, unless it is none or a standard stream."""
    if fd is not None and fd > ERROR:
        os.close(fd)
