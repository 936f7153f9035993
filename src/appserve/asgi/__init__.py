"""One HTTP connection speaking with one ASGI application (ASGI 3.0)."""
