"""An ASGI application that does what its path says, and remembers what it saw: GET /notes shows it."""

import asyncio
import json
import os
import threading
import time
from typing import Any

NOTES: list[Any] = []
GATES: dict[str, asyncio.Event] = {}


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
    else:
        name = scope["path"].strip("/").partition("/")[0]
        await globals()[f"do_{name}"](scope, receive, send)


async def lifespan(receive: Any, send: Any) -> None:
    while True:
        message = await receive()
        print(message["type"], flush=True)
        await send({"type": message["type"] + ".complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def respond(send: Any, body: bytes, status: int = 200) -> None:
    headers = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def gate(scope: dict[str, Any]) -> asyncio.Event:
    """The gate that a request's query string names."""
    return GATES.setdefault(scope["query_string"].decode(), asyncio.Event())


async def do_hello(scope: dict[str, Any], receive: Any, send: Any) -> None:
    await respond(send, b"hello")


async def do_half(scope: dict[str, Any], receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"half", "more_body": True})


async def do_notes(scope: dict[str, Any], receive: Any, send: Any) -> None:
    await respond(send, json.dumps(NOTES).encode())


async def do_open(scope: dict[str, Any], receive: Any, send: Any) -> None:
    gate(scope).set()
    await respond(send, b"open")


async def do_scope(scope: dict[str, Any], receive: Any, send: Any) -> None:
    shown = {name: scope[name] for name in ("client", "server", "http_version", "scheme")}
    shown["loop"] = type(asyncio.get_running_loop()).__module__.partition(".")[0]
    await respond(send, json.dumps(shown).encode())


async def do_echo(scope: dict[str, Any], receive: Any, send: Any) -> None:
    body = b""
    more = True
    while more:
        message = await receive()
        body += message["body"]
        more = message["more_body"]
    await respond(send, body)


async def do_wait(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Answers when the gate is opened, whatever happens to the client."""
    NOTES.append("waits")
    print("waits", flush=True)
    await gate(scope).wait()
    await respond(send, b"waited")


async def do_listen(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Notes what it receives, until the disconnect."""
    while True:
        message = await receive()
        NOTES.append(message["type"])
        if message["type"] == "http.disconnect":
            return


async def do_pour(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Streams without end and without ever receiving; notes how that ends."""
    await send({"type": "http.response.start", "status": 200})
    sent = 0
    try:
        while True:
            await send({"type": "http.response.body", "body": b"x" * 1024, "more_body": True})
            sent += 1024
            print("pours", flush=True) if sent == 1024 else None
    except Exception as error:
        NOTES.append(["poured", sent, type(error).__name__, isinstance(error, OSError)])
        raise


async def do_drip(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Streams an event, then waits for the disconnect, and ends in good order."""
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": b"first", "more_body": True})
    print("drips", flush=True)
    await receive()
    await receive()
    await send({"type": "http.response.body", "body": b"last"})


async def do_large(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """32 MiB in parts; notes how many it could send before the gate was opened."""
    await send({"type": "http.response.start", "status": 200})
    NOTES.append(0)
    for _ in range(512):
        await send({"type": "http.response.body", "body": b"x" * 65536, "more_body": True})
        NOTES[-1] += 65536
    await send({"type": "http.response.body"})


async def do_thread(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Leaves a thread and a task behind that do not end."""

    async def stubborn() -> None:
        while True:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                pass

    threading.Thread(target=threading.Event().wait).start()
    asyncio.get_running_loop().run_in_executor(None, threading.Event().wait)
    NOTES.append(repr(asyncio.create_task(stubborn())))
    await respond(send, b"left")


async def do_fork(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Forks a child that lives on for a minute."""
    if os.fork() == 0:
        time.sleep(60)
        os._exit(0)
    await respond(send, b"forked")


async def do_split(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Forks, and goes on as both."""
    child = os.fork()
    await respond(send, b"split")
    if child:
        await asyncio.to_thread(os.waitpid, child, 0)
        NOTES.append("the child is gone")
