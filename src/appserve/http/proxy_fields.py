"""The fields in which a proxy tells what it knows of a client, by name; http/forwarded.py reads them."""

from collections.abc import Iterable

USUAL_HEADERS = ("x-forwarded-for", "x-forwarded-proto")
ALL_HEADERS = (
    *USUAL_HEADERS,
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-prefix",
    "forwarded",
)


def check_headers(headers: Iterable[str]) -> None:
    """Raise ValueError if these fields cannot be heeded together, or one is unknown."""
    chosen = set(headers)
    if not chosen <= set(ALL_HEADERS):
        raise ValueError(f"expected {', '.join(ALL_HEADERS[:-1])} or {ALL_HEADERS[-1]}")
    if "forwarded" in chosen and len(chosen) > 1:
        raise ValueError(
            "expected either forwarded or fields of the x-forwarded- family: a proxy that sets the one "
            "passes on what a client wrote into the other"
        )
