"""HTTP/1.1 without I/O: bytes in, events out; responses in, bytes out (the bytes floor)."""
