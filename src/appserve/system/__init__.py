"""The operating system, one facility a file, each with a portable fallback."""
