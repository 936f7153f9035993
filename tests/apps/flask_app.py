"""A Flask application as people write them: a login in a session, an upload, a stream, a file."""

import hashlib
import os
from collections.abc import Iterator
from typing import Any

from flask import Flask, Response, jsonify, redirect, request, send_file, session, stream_with_context
from gate import open_gate, wait_at

app = Flask(__name__)
app.secret_key = "not a secret: tests only"


@app.get("/")
def index() -> str:
    return f"hello from Flask, {session.get('user', 'stranger')}"


@app.post("/login")
def log_in() -> Any:
    if request.form["password"] != "opensesame":
        return "no", 403
    session["user"] = request.form["user"]
    return redirect("/")


@app.post("/logout")
def log_out() -> Any:
    session.clear()
    return redirect("/")


@app.post("/upload")
def upload() -> Response:
    files = {
        name: {"filename": file.filename, "sha256": hashlib.sha256(file.read()).hexdigest()}
        for name, file in request.files.items()
    }
    return jsonify(files=files, form=request.form.to_dict())


@app.post("/raw")
def raw() -> Response:
    """The body read in pieces, whether it has a length or comes in chunks."""
    digest = hashlib.sha256()
    length = 0
    while piece := request.stream.read(10_000):
        digest.update(piece)
        length += len(piece)
    return jsonify(length=length, sha256=digest.hexdigest())


@app.get("/stream")
def stream() -> Response:
    gate = request.args["gate"]

    def produce() -> Iterator[str]:
        yield "first\n"
        wait_at(gate)
        yield "last\n"

    return Response(stream_with_context(produce()), mimetype="text/plain")


@app.post("/open")
def open_it() -> str:
    open_gate(request.args["gate"])
    return f"opened by {os.getpid()}"


@app.get("/file")
def file() -> Response:
    return send_file(request.args["path"], mimetype="application/octet-stream")


@app.get("/crash")
def crash() -> str:
    raise RuntimeError("crashed on purpose")


@app.get("/whoami")
def whoami() -> Response:
    return jsonify(
        url=request.url, remote=request.remote_addr, path=request.path, args=request.args.to_dict()
    )
