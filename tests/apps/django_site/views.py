"""The pages of the test site, in both of Django's manners: plain and async."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterator

from django.http import FileResponse, HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.views.decorators.csrf import csrf_exempt
from gate import open_gate, wait_at


def index(request: HttpRequest) -> HttpResponse:
    return HttpResponse(f"hello from Django, {request.user.get_username() or 'stranger'}")


async def index_async(request: HttpRequest) -> HttpResponse:
    user = await request.auser()
    return HttpResponse(f"hello from async Django, {user.get_username() or 'stranger'}")


@csrf_exempt
def upload(request: HttpRequest) -> HttpResponse:
    files = {}
    for name, file in request.FILES.items():
        digest = hashlib.sha256()
        for piece in file.chunks():
            digest.update(piece)
        files[name] = {"filename": file.name, "sha256": digest.hexdigest()}
    return JsonResponse({"files": files, "form": request.POST.dict()})


def guarded(request: HttpRequest) -> HttpResponse:
    """Not exempt: a POST without the token is refused by Django."""
    return HttpResponse(request.method or "")


def stream(request: HttpRequest) -> HttpResponse:
    gate = request.GET["gate"]

    def produce() -> Iterator[str]:
        yield "first\n"
        wait_at(gate)
        yield "last\n"

    return StreamingHttpResponse(produce(), content_type="text/plain")


async def stream_async(request: HttpRequest) -> HttpResponse:
    gate = request.GET["gate"]

    async def produce() -> AsyncIterator[str]:
        yield "first\n"
        await asyncio.to_thread(wait_at, gate)
        yield "last\n"

    return StreamingHttpResponse(produce(), content_type="text/plain")


@csrf_exempt
def open_it(request: HttpRequest) -> HttpResponse:
    open_gate(request.GET["gate"])
    return HttpResponse("opened")


def file(request: HttpRequest) -> FileResponse:
    return FileResponse(open(request.GET["path"], "rb"), as_attachment=True)


def crash(request: HttpRequest) -> HttpResponse:
    raise RuntimeError("crashed on purpose")
