"""The character classes of HTTP that more than one reader needs."""

import re

TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
"""A method, a field name, an option (RFC 9110 §5.6.2)."""

LEGAL = bytes(byte for byte in range(256) if byte == 9 or (byte >= 32 and byte != 127))
"""What a field value may hold."""

FORBIDDEN = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
"""What a field value never holds (RFC 9110 §5.5); bytes from 0x80 on are opaque and let through."""
