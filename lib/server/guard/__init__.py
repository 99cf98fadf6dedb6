"""What stands before every route: who may ask from where, how much and how often, and for what names."""

from lib.server.guard.guard import Guard
from lib.server.guard.names import check_name

__all__ = ["Guard", "check_name"]
