"""The fixture `serve`: the real command, started in a folder of the test's own and cleaned up after it."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from tests.integration.server import HELLO, Server, Threaded, command


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.integration)


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """serve("app:app", "--workers", "2", files={"app.py": source}, environ={}) → Server that listens.

    wait=False   return at once: the test awaits what it wants
    bind=False   leave --bind to the test
    prefix=[…]   a command to start the command with
    """
    servers: list[Server] = []

    def start(
        target: str = "app:app",
        *arguments: str,
        files: Mapping[str, str] | None = None,
        environ: Mapping[str, str] | None = None,
        wait: bool = True,
        bind: bool = True,
        prefix: tuple[str, ...] = (),
    ) -> Server:
        for name, text in (files if files is not None else {"app.py": HELLO}).items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        address = ["--bind", "127.0.0.1:0"] if bind else []
        # Files that a test changes within a second must be compiled again.
        fresh = {"PYTHONDONTWRITEBYTECODE": "1", **(environ or {})}
        if isinstance((files or {}).get("app.py"), Threaded):
            fresh["APPSERVE_WORKER_CLASS"] = "threads"
        full = [*prefix, *command(target, *address, *arguments)]
        server = Server(full, tmp_path, fresh, f"server-{len(servers)}")
        servers.append(server)
        if wait:
            server.await_line("listening on ")
        return server

    yield start
    for server in servers:
        server.close()
