"""A Starlette application: sessions, server-sent events, a file, middleware of the wrapping kind."""

import asyncio
import hashlib
from collections import defaultdict
from collections.abc import AsyncIterator
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import Request
from starlette.responses import (
    FileResponse,
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
    StreamingResponse,
)
from starlette.routing import Route


class Topic:
    """News for one listener, and whether it has left."""

    def __init__(self) -> None:
        self.news: asyncio.Queue[str] = asyncio.Queue()
        self.listener_gone = asyncio.Event()


topics: defaultdict[str, Topic] = defaultdict(Topic)


class Marked(BaseHTTPMiddleware):
    async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        response = await call_next(request)
        response.headers["x-marked"] = "yes"
        return response


async def index(request: Request) -> Response:
    return PlainTextResponse(f"hello from Starlette, {request.session.get('user', 'stranger')}")


async def log_in(request: Request) -> Response:
    form = await request.form()
    if form["password"] != "opensesame":
        return PlainTextResponse("no", 403)
    request.session["user"] = form["user"]
    return RedirectResponse("/", 303)


async def upload(request: Request) -> Response:
    files: dict[str, Any] = {}
    async with request.form() as form:
        for name, value in form.items():
            if not isinstance(value, str):
                digest = hashlib.sha256(await value.read()).hexdigest()
                files[name] = {"filename": value.filename, "sha256": digest}
    return JSONResponse({"files": files})


async def raw(request: Request) -> Response:
    digest = hashlib.sha256()
    length = 0
    async for piece in request.stream():
        digest.update(piece)
        length += len(piece)
    return JSONResponse({"length": length, "sha256": digest.hexdigest()})


def topic_of(request: Request) -> Topic:
    return topics[request.query_params["topic"]]


async def events(request: Request) -> Response:
    topic = topic_of(request)

    async def produce() -> AsyncIterator[str]:
        try:
            yield "event: open\ndata: listening\n\n"
            while (news := await topic.news.get()) != "the end":
                yield f"data: {news}\n\n"
        finally:
            topic.listener_gone.set()

    return StreamingResponse(produce(), media_type="text/event-stream")


async def publish(request: Request) -> Response:
    topic_of(request).news.put_nowait((await request.body()).decode())
    return Response(status_code=204)


async def gone(request: Request) -> Response:
    """Answers when the listener's generator has been closed."""
    await topic_of(request).listener_gone.wait()
    return PlainTextResponse("gone")


async def file(request: Request) -> Response:
    return FileResponse(request.query_params["path"], media_type="application/octet-stream")


async def crash(_: Request) -> Response:
    raise RuntimeError("crashed on purpose")


app = Starlette(
    routes=[
        Route("/", index),
        Route("/login", log_in, methods=["POST"]),
        Route("/upload", upload, methods=["POST"]),
        Route("/raw", raw, methods=["POST"]),
        Route("/events", events),
        Route("/publish", publish, methods=["POST"]),
        Route("/gone", gone),
        Route("/file", file),
        Route("/crash", crash),
    ],
    middleware=[Middleware(SessionMiddleware, secret_key="not a secret: tests only"), Middleware(Marked)],
)
