"""Importing this package fails, because it needs a part of its own that is not there."""

import selfish.part

app = selfish.part.app
