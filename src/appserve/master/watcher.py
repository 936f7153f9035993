"""The child that watches the application's files for --reload, as the master sees it."""

import os

from appserve.config.derive import make_watched
from appserve.config.settings import Settings
from appserve.master.process import fork
from appserve.system.this_process import set_title
from appserve.system.watch import watch
from appserve.workers.base import title


class Watcher:
    """Readable (`fileno`) when a file has changed, and when the child has ended. It ends with our end of the
    pipe."""

    __slots__ = ("_pipe", "folders")

    def __init__(self, settings: Settings) -> None:
        """Forks. Raises OSError."""
        watched = make_watched(settings)
        self.folders = watched.folders
        self._pipe, writing = os.pipe2(os.O_CLOEXEC)

        def work() -> int:
            set_title(title(settings, "watcher"))
            return watch(watched, writing)

        try:
            fork(work, (writing,)).close()
        finally:
            os.close(writing)

    def fileno(self) -> int:
        return self._pipe

    def take(self) -> str:
        """The file that has changed last; "" if the child has ended."""
        return (os.read(self._pipe, 65536).decode(errors="replace").splitlines() or [""])[-1]

    def close(self) -> None:
        os.close(self._pipe)
