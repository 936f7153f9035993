"""Real frameworks below a path: they find routes and build URLs, whether a proxy strips the path or not."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from tests.integration.browser import Browser
from tests.integration.server import Server, command

APPS = Path(__file__).parent.parent / "apps"

STARLETTE = """
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route

def tell(request):
    name = "inner:item" if "/sub/" in request.url.path else "item"
    return JSONResponse({
        "url": str(request.url),
        "item": str(request.url_for(name, number=7)),
        "number": request.path_params["number"],
        "root_path": request.scope["root_path"],
    })

item = Route("/items/{number:int}", tell, name="item")
app = Starlette(routes=[item, Mount("/sub", Starlette(routes=[item]), name="inner")])
"""

FASTAPI = """
from fastapi import FastAPI, Request

def tell(number: int, request: Request):
    name = "inner:item" if "/sub/" in request.url.path else "item"
    return {
        "url": str(request.url),
        "item": str(request.url_for(name, number=7)),
        "number": number,
        "root_path": request.scope["root_path"],
    }

app, inner = FastAPI(), FastAPI()
for one in (app, inner):
    one.get("/items/{number}", name="item")(tell)
app.mount("/sub", inner, name="inner")
"""

SOURCES = {"starlette": STARLETTE, "fastapi": FASTAPI}

#: How the path comes to us, and how we know of it: (what is before the path, settings, fields of the proxy).
WAYS: dict[str, tuple[str, tuple[str, ...], Mapping[str, str]]] = {
    "kept": ("/shop", ("--root-path", "/shop"), {}),
    "stripped": ("", ("--root-path", "/shop"), {}),
    "stripped and told": (
        "",
        ("--forwarded-headers", "x-forwarded-prefix"),
        {"X-Forwarded-Prefix": "/shop"},
    ),
    "stripped in part": (
        "/two",
        ("--root-path", "/two", "--forwarded-headers", "x-forwarded-prefix"),
        {"X-Forwarded-Prefix": "/shop"},
    ),
}


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Callable[..., Browser]]:
    """begin(target, folder, flags, environ) → a browser of a server of the test's own."""
    servers = []

    def start(target: str, folder: Path, flags: tuple[str, ...], environ: Mapping[str, str]) -> Browser:
        arguments = command(target, "--bind", "127.0.0.1:0", "--app-dir", str(folder), *flags)
        servers.append(Server(arguments, tmp_path, environ))
        servers[-1].await_ready(1)
        return Browser("127.0.0.1", servers[-1].port)

    yield start
    for server in servers:
        server.close()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("framework", SOURCES)
def test_routes_are_found_and_urls_are_those_of_the_client(
    begin: Callable[..., Browser], tmp_path: Path, framework: str, way: str
) -> None:
    before, flags, fields = WAYS[way]
    root = "/shop/two" if way == "stripped in part" else "/shop"
    (tmp_path / "app.py").write_text(SOURCES[framework])
    with begin("app:app", tmp_path, flags, {}) as browser:
        site = f"http://{browser.connection.host}:{browser.connection.port}{root}"
        for mount in ("", "/sub"):
            answer = browser.request("GET", f"{before}{mount}/items/3?q=1", None, dict(fields))
            assert answer.status == 200, answer.text
            told = answer.json()
            assert told["url"] == f"{site}{mount}/items/3?q=1"
            assert told["item"] == f"{site}{mount}/items/7"
            assert told["number"] == 3
            assert told["root_path"] == root + mount
        assert browser.request("GET", f"{before}/nowhere", None, dict(fields)).status == 404


@pytest.mark.parametrize("way", WAYS)
def test_the_documentation_page_of_fastapi_finds_its_description(
    begin: Callable[..., Browser], tmp_path: Path, way: str
) -> None:
    before, flags, fields = WAYS[way]
    root = "/shop/two" if way == "stripped in part" else "/shop"
    (tmp_path / "app.py").write_text(FASTAPI)
    with begin("app:app", tmp_path, flags, {}) as browser:
        page = browser.request("GET", f"{before}/docs", None, dict(fields))
        assert f"'{root}/openapi.json'" in page.text
        description = browser.request("GET", f"{before}/openapi.json", None, dict(fields))
        assert description.json()["servers"] == [{"url": root}]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("interface", ["asgi", "wsgi"])
def test_django_redirects_below_its_path(
    begin: Callable[..., Browser], tmp_path: Path, interface: str, way: str
) -> None:
    before, flags, fields = WAYS[way]
    root = "/shop/two" if way == "stripped in part" else "/shop"
    environ = {
        "DJANGO_SETTINGS_MODULE": "django_site.settings",
        "DJANGO_SITE_DATABASE": str(tmp_path / "none.sqlite3"),
    }
    with begin(f"django_site.{interface}", APPS, flags, environ) as browser:
        answer = browser.request("GET", f"{before}/admin/", None, dict(fields))
        assert answer.status == 302, answer.text
        assert answer.fields["location"] == f"{root}/admin/login/?next={root}/admin/"
