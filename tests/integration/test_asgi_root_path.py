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

def show(request):
    name = "inner:item" if "/sub/" in request.url.path else "item"
    return JSONResponse({
        "url": str(request.url),
        "item": str(request.url_for(name, number=7)),
        "number": request.path_params["number"],
        "root_path": request.scope["root_path"],
    })

item = Route("/items/{number:int}", show, name="item")
app = Starlette(routes=[item, Mount("/sub", Starlette(routes=[item]), name="inner")])
"""

FASTAPI = """
from fastapi import FastAPI, Request

def show(number: int, request: Request):
    name = "inner:item" if "/sub/" in request.url.path else "item"
    return {
        "url": str(request.url),
        "item": str(request.url_for(name, number=7)),
        "number": number,
        "root_path": request.scope["root_path"],
    }

app, inner = FastAPI(), FastAPI()
for one in (app, inner):
    one.get("/items/{number}", name="item")(show)
app.mount("/sub", inner, name="inner")
"""

SOURCES = {"starlette": STARLETTE, "fastapi": FASTAPI}

#: How the path arrives, and how it is known: (what is before the path, settings, fields of the proxy).
WAYS: dict[str, tuple[str, tuple[str, ...], Mapping[str, str]]] = {
    "kept": ("/shop", ("--root-path", "/shop"), {}),
    "stripped": ("", ("--root-path", "/shop"), {}),
    "stripped and forwarded": (
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


@pytest.fixture(scope="module")
def browse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Browser]]:
    """browse(framework, flags) → a browser of the server of this framework with these flags."""
    folder = tmp_path_factory.mktemp("servers")
    servers: dict[tuple[str, tuple[str, ...]], Server] = {}
    for name, source in SOURCES.items():
        (folder / f"{name}_app.py").write_text(source)
    django = {
        "DJANGO_SETTINGS_MODULE": "django_site.settings",
        "DJANGO_SITE_DATABASE": str(folder / "none.sqlite3"),
    }

    def start(framework: str, flags: tuple[str, ...]) -> Browser:
        key = (framework, flags)
        if key not in servers:
            where = folder if framework in SOURCES else APPS
            target = f"{framework}_app:app" if framework in SOURCES else f"django_site.{framework}"
            arguments = command(target, "--bind", "127.0.0.1:0", "--app-dir", str(where), *flags)
            own = folder / str(len(servers))
            own.mkdir()
            servers[key] = Server(arguments, own, {} if framework in SOURCES else django)
        servers[key].await_ready(1)
        return Browser("127.0.0.1", servers[key].port)

    yield start
    for server in servers.values():
        server.close()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("framework", SOURCES)
def test_routes_are_found_and_urls_are_those_of_the_client(
    browse: Callable[..., Browser], framework: str, way: str
) -> None:
    before, flags, fields = WAYS[way]
    root = "/shop/two" if way == "stripped in part" else "/shop"
    with browse(framework, flags) as browser:
        site = f"http://{browser.connection.host}:{browser.connection.port}{root}"
        for mount in ("", "/sub"):
            answer = browser.request("GET", f"{before}{mount}/items/3?q=1", None, dict(fields))
            assert answer.status == 200, answer.text
            seen = answer.json()
            assert seen["url"] == f"{site}{mount}/items/3?q=1"
            assert seen["item"] == f"{site}{mount}/items/7"
            assert seen["number"] == 3
            assert seen["root_path"] == root + mount
        assert browser.request("GET", f"{before}/nowhere", None, dict(fields)).status == 404


@pytest.mark.parametrize("way", WAYS)
def test_the_documentation_page_of_fastapi_finds_its_description(
    browse: Callable[..., Browser], way: str
) -> None:
    before, flags, fields = WAYS[way]
    root = "/shop/two" if way == "stripped in part" else "/shop"
    with browse("fastapi", flags) as browser:
        page = browser.request("GET", f"{before}/docs", None, dict(fields))
        assert f"'{root}/openapi.json'" in page.text
        description = browser.request("GET", f"{before}/openapi.json", None, dict(fields))
        assert description.json()["servers"] == [{"url": root}]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("interface", ["asgi", "wsgi"])
def test_django_redirects_below_its_path(browse: Callable[..., Browser], interface: str, way: str) -> None:
    before, flags, fields = WAYS[way]
    root = "/shop/two" if way == "stripped in part" else "/shop"
    with browse(interface, flags) as browser:
        answer = browser.request("GET", f"{before}/admin/", None, dict(fields))
        assert answer.status == 302, answer.text
        assert answer.fields["location"] == f"{root}/admin/login/?next={root}/admin/"
