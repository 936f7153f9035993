"""The character classes of HTTP that more than one reader needs."""

import re

TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
"""A method, a field name, an option (RFC 9110 §5.6.2)."""

LEGAL = bytes(byte == 9 or (byte >= 32 and byte != 127) for byte in range(256))
"""A table for bytes.translate(): 0 for each byte that no field value holds, 1 for the others."""

FORBIDDEN = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
"""What a field value never holds (RFC 9110 §5.5); bytes from 0x80 on are opaque and let through."""

QUERY_BYTES = bytes(0x21 <= byte <= 0x7E and byte != 0x23 for byte in range(256))
"""The same for the query of a request target: visible ASCII without `#` (RFC 9112 §3.2)."""
