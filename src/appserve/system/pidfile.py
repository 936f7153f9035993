"""The file that holds the process id of the master, for scripts that send it signals.

It is locked for the life of the server, and the kernel frees the lock with the process. So whether another
server holds the file is a fact; a look for its process could meet another program with that id.
Source: flock(2).
"""

import fcntl
import os

from appserve.errors import ConfigError


class PidFile:
    """The file at `path`, locked, with this process's id. Raises ConfigError."""

    __slots__ = ("_fd", "_path")

    def __init__(self, path: str) -> None:
        self._path = path
        try:
            self._fd = _open_locked(path)
            os.ftruncate(self._fd, 0)
            os.write(self._fd, f"{os.getpid()}\n".encode())
        except OSError as error:
            reason = (error.strerror or type(error).__name__).lower()
            raise ConfigError([f"--pid {path}: cannot be written: {reason}"]) from error

    def close(self) -> None:
        """Remove the file, unless another one has taken its place, and free the lock."""
        try:
            if _is_at(self._fd, self._path):
                os.unlink(self._path)
        except OSError:
            pass  # its folder is gone, or is not ours any more
        os.close(self._fd)


def _open_locked(path: str) -> int:
    """Raises OSError, and ConfigError if another server holds the file."""
    while True:
        # Not through a symbolic link: a user that can make one there could have any file overwritten.
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(fd, path):  # else its server has removed it between the two calls
                return fd
        except BlockingIOError as error:
            holder = os.read(fd, 32).decode("ascii", "replace").strip() or "unknown"
            os.close(fd)
            raise ConfigError([f"--pid {path}: another server holds it (pid {holder})"]) from error
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)


def _is_at(fd: int, path: str) -> bool:
    """Whether the file that is open is the one at the path."""
    try:
        return os.path.samestat(os.fstat(fd), os.lstat(path))
    except FileNotFoundError:
        return False
