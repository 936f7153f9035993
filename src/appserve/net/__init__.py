"""Addresses, listening sockets and readiness: the machine floor's network half."""
