"""A FastAPI application: models in and out, an upload, a stream, a background task, lifespan state."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, TypedDict

from fastapi import BackgroundTasks, Depends, FastAPI, Form, HTTPException, Request, Response, UploadFile
from fastapi.responses import RedirectResponse, StreamingResponse
from pydantic import BaseModel, Field


class State(TypedDict):
    greeting: str
    opened: asyncio.Event
    jobs: "dict[str, asyncio.Event]"


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[State]:
    print("application: started", flush=True)
    yield {"greeting": "hello from the lifespan", "opened": asyncio.Event(), "jobs": {}}
    print("application: stopped", flush=True)


app = FastAPI(lifespan=lifespan)


class Item(BaseModel):
    name: str = Field(min_length=1)
    price: float = Field(gt=0)
    tags: list[str] = []


class Priced(Item):
    total: float


def current_user(request: Request) -> str:
    user = request.cookies.get("user")
    if user is None:
        raise HTTPException(401, "log in first")
    return user


@app.get("/")
async def index(request: Request) -> dict[str, str]:
    return {"greeting": request.state.greeting}


@app.post("/login")
def log_in(user: Annotated[str, Form()], password: Annotated[str, Form()]) -> Response:
    if password != "opensesame":
        raise HTTPException(403, "no")
    response = RedirectResponse("/me", 303)
    response.set_cookie("user", user, httponly=True)
    return response


@app.get("/me")
def me(user: Annotated[str, Depends(current_user)]) -> dict[str, str]:
    return {"user": user}


@app.post("/items", status_code=201)
async def make_item(item: Item, amount: int = 1) -> Priced:
    return Priced(**item.model_dump(), total=item.price * amount)


@app.post("/upload")
async def upload(file: UploadFile, note: Annotated[str, Form()]) -> dict[str, str | None]:
    digest = hashlib.sha256()
    while piece := await file.read(64 * 1024):
        digest.update(piece)
    return {"filename": file.filename, "sha256": digest.hexdigest(), "note": note}


@app.get("/stream")
async def stream(request: Request) -> StreamingResponse:
    async def produce() -> AsyncIterator[bytes]:
        yield b"first\n"
        await request.state.opened.wait()
        yield b"last\n"

    return StreamingResponse(produce(), media_type="text/plain")


@app.post("/open", status_code=204)
async def open_it(request: Request) -> None:
    request.state.opened.set()


@app.post("/jobs/{name}", status_code=202)
async def start_job(name: str, path: str, request: Request, tasks: BackgroundTasks) -> None:
    done = request.state.jobs[name] = asyncio.Event()

    async def work() -> None:
        await asyncio.to_thread(Path(path).write_text, f"job {name} done")
        done.set()

    tasks.add_task(work)


@app.get("/jobs/{name}")
async def await_job(name: str, request: Request) -> dict[str, str]:
    await request.state.jobs[name].wait()
    return {"job": name}


@app.get("/crash")
async def crash() -> None:
    raise RuntimeError("crashed on purpose")
