"""What the log says when the server begins to serve: the application, the workers, the addresses."""

from collections.abc import Iterable, Mapping

from appserve.config.derive import thread_count
from appserve.config.settings import Settings
from appserve.net.listeners import Listener
from appserve.version import __version__
from appserve.workers.channel import Ready


def booting(settings: Settings, listeners: Iterable[Listener], pid: int) -> str:
    """The first line of all; nothing listens yet."""
    bound = ", ".join(_where(listener, settings) for listener in listeners)
    return f"appserve {__version__} boots {settings.application}, bound to {bound}, master pid {pid}"


def serving(
    settings: Settings, sources: Mapping[str, str], listeners: Iterable[Listener], ready: Ready, pid: int
) -> list[str]:
    """The banner, a line each; what the first worker found out about the application is in `ready`."""
    number, source = settings.workers, sources.get("workers", "default")
    count = f"{number} {ready.worker_class} worker{'' if number == 1 else 's'}"
    if ready.worker_class == "threads":
        threads = thread_count(settings)
        count += f" of {threads} thread{'s' if threads > 1 else ''}"
    return [
        f"appserve {__version__} serves {ready.application} ({ready.interface.upper()}: {ready.reason})",
        f"{count} (workers: {source}; {ready.worker_class}: {ready.why}), master pid {pid}",
        *(f"listening on {_where(listener, settings)}" for listener in listeners),
    ]


def _where(listener: Listener, settings: Settings) -> str:
    """An address as a person would type it, and what comes before HTTP there."""
    url = listener.url
    before = [str(listener.address)] if listener.is_inherited else []
    if settings.certfile:
        if url.startswith("http://"):
            url = "https" + url.removeprefix("http")
        else:
            before.append("TLS")
    if settings.proxy_protocol != "off":
        version = "" if settings.proxy_protocol == "auto" else f" {settings.proxy_protocol}"
        before.append(f"PROXY header{version}")
    return f"{url} ({', '.join(before)})" if before else url
