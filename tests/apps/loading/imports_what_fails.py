"""Fails because of a module that it imports."""

import fails_deep

app = fails_deep
