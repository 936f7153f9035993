"""Files of environment variables, one NAME=VALUE a line, as docker, systemd and python-dotenv read them.

    # a comment
    SHOP_MODE=live            # a comment after a blank
    export SHOP_NAME="a \"shop\"\n"
    SHOP_PATH='as it is, $HOME and \n included'

Values have one line. Nothing is replaced in them: $HOME stays $HOME.
"""

import re

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*")
ESCAPES = {"n": "\n", "r": "\r", "t": "\t"}


def read_env_file(text: str) -> dict[str, str]:
    """The variables in the text of a file. Raises ValueError that names the first line that is none."""
    found: dict[str, str] = {}
    for number, line in enumerate(text.lstrip("\ufeff").splitlines(), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        name, equals, value = line.removeprefix("export ").partition("=")
        if not equals or NAME.fullmatch(name.strip()) is None:
            raise ValueError(f"line {number} is not NAME=VALUE")
        try:
            found[name.strip()] = _value(value.strip())
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from error
    return found


def _value(text: str) -> str:
    quote = text[:1]
    if quote not in ("'", '"'):
        return re.split(r"(?:^|\s)#", text, maxsplit=1)[0].rstrip()
    quoted = re.match(r"'([^']*)'" if quote == "'" else r'"((?:[^"\\]|\\.)*)"', text)
    if quoted is None or not re.fullmatch(r"\s*(#.*)?", text[quoted.end() :]):
        raise ValueError("the quotes do not end, or something follows them")
    if quote == "'":
        return quoted[1]
    return re.sub(r"\\(.)", lambda escape: ESCAPES.get(escape[1], escape[1]), quoted[1])
