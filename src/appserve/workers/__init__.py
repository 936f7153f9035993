"""One worker process: how it loads its application, and the loop that serves it."""
