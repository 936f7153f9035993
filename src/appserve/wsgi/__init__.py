"""One HTTP connection speaking with one WSGI application (PEP 3333)."""
