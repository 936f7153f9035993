"""What the log says when the server begins to serve: what serves what, where, and why so."""

from collections.abc import Iterable, Mapping

from appserve.config.settings import Settings
from appserve.net.listeners import Listener
from appserve.version import __version__
from appserve.workers.channel import Ready


def booting(settings: Settings, listeners: Iterable[Listener], pid: int) -> str:
    """The first line of all; nothing listens yet."""
    bound = ", ".join(listener.url for listener in listeners)
    return f"appserve {__version__} boots {settings.application}, bound to {bound}, master pid {pid}"


def serving(
    settings: Settings, sources: Mapping[str, str], listeners: Iterable[Listener], ready: Ready, pid: int
) -> list[str]:
    """The banner, a line each; what the first worker found out about the application is in `ready`."""
    number = settings.workers
    count = f"{number} {ready.worker_class} worker{'' if number == 1 else 's'}"
    return [
        f"appserve {__version__} serves {ready.application} ({ready.interface.upper()}: {ready.reason})",
        f"{count} ({_source('workers', sources)}; {ready.worker_class}: {ready.why}), master pid {pid}",
        *(f"listening on {listener.url}" for listener in listeners),
    ]


def _source(name: str, sources: Mapping[str, str]) -> str:
    return f"{name}: {sources.get(name, 'default')}"
