"""The application that a folder obviously has."""

from pathlib import Path

import pytest

from appserve.config.obvious import find_application


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ({"main.py": "from fastapi import FastAPI\napp = FastAPI()\n"}, "main:app"),
        ({"app.py": "app: Flask = Flask(__name__)\n"}, "app:app"),
        ({"wsgi.py": "def application(environ, start_response):\n    pass\n"}, "wsgi:application"),
        ({"asgi.py": "async def app(scope, receive, send): ...\n"}, "asgi:app"),
        ({"app.py": "def create_app():\n    return 1\n"}, "'app:create_app()'"),
        (
            {
                "manage.py": "",
                "shop/wsgi.py": "application = get()\n",
                "shop/asgi.py": "application = get()\n",
            },
            "shop.wsgi:application",
        ),
        ({"main.py": "print('app = 1')\n", "server.py": "app = 1\n"}, "server:app"),
        ({"main.py": "    app = 1\n# app = 2\nappx = 3\n"}, ""),
        ({"main.py": "def main(): pass\n", "my-app/wsgi.py": "application = 1\n"}, ""),
        ({}, ""),
    ],
)
def test_it_is_found_by_name_and_attribute(tmp_path: Path, files: dict[str, str], found: str):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)

    assert find_application(str(tmp_path)) == found


def test_a_folder_that_is_missing_has_none(tmp_path: Path):
    assert find_application(str(tmp_path / "none")) == ""
