"""Check every request before a route handles it: host, origin, rate, size, address and names."""

from lib.server.guard.guard import Guard
from lib.server.guard.names import check_name

__all__ = ["Guard", "check_name"]
