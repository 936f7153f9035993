"""Stands between a proxy and a server, passes on what comes, and keeps what the proxy sent."""

import asyncio
import threading


class Tee:
    """Listens on a free port until it is closed.

    sent  what came for the server on each connection: the local port of its connection to the server, and
          all bytes
    """

    def __init__(self, port: int) -> None:
        self.sent: list[tuple[int, bytearray]] = []
        self._to = port
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="tee")
        self._thread.start()
        future = asyncio.run_coroutine_threadsafe(self._listen(), self._loop)
        self._server = future.result()
        self.port: int = self._server.sockets[0].getsockname()[1]

    def __enter__(self) -> "Tee":
        return self

    def finish(self) -> None:
        """Accept no more, and let what is open come to its end."""
        asyncio.run_coroutine_threadsafe(self._finish(), self._loop).result()

    def __exit__(self, *_: object) -> None:
        self.finish()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _listen(self) -> asyncio.Server:
        return await asyncio.start_server(self._pass_on, "127.0.0.1", 0)

    async def _finish(self) -> None:
        self._server.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        if tasks:
            await asyncio.wait(tasks, timeout=10.0)

    async def _pass_on(self, proxy: asyncio.StreamReader, to_proxy: asyncio.StreamWriter) -> None:
        server, to_server = await asyncio.open_connection("127.0.0.1", self._to)
        kept = bytearray()
        self.sent.append((to_server.get_extra_info("sockname")[1], kept))
        await asyncio.gather(_pump(proxy, to_server, kept), _pump(server, to_proxy, bytearray()))
        for writer in (to_proxy, to_server):
            writer.close()


async def _pump(source: asyncio.StreamReader, drain: asyncio.StreamWriter, kept: bytearray) -> None:
    """Pass on until the end of the source, and keep it."""
    try:
        while data := await source.read(65536):
            kept += data
            drain.write(data)
            await drain.drain()
        drain.write_eof()
    except OSError:
        drain.close()  # one side is gone; so is what was to be passed on
