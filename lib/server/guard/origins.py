"""From where a request may come: under which name of this server, and from whose pages."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.types import Scope

from lib.server.refusals import Refused

HOSTS_VARIABLE = "TOPOLABEL_HOSTS"
"""Names, separated by commas, under which the server is asked; not set, any, or on loopback those of loopback."""
ORIGINS_VARIABLE = "TOPOLABEL_CORS_ORIGINS"
"""Origins, separated by commas, whose pages may use this server; with MONAI Label's own variable it cannot start."""
_READING = ("GET", "HEAD", "OPTIONS")
_HOST = re.compile(r"(?P<name>[A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\])(?::(?P<port>\d{1,5}))?")


@dataclass(frozen=True)
class Origins:
    """Who may ask.

    Args:
        hosts: Names under which this server is asked; empty for any. A foreign page cannot name one of them, so it
            cannot let its own name point to this machine and read the answers.
        pages: Origins, such as ``https://viewer.example``, whose pages may read and change things here.
    Raises:
        ValueError: If a page is no origin: a wildcard is none.
    """

    hosts: tuple[str, ...] = ()
    pages: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for page in self.pages:
            parts = urlsplit(page)
            if parts.scheme not in ("http", "https") or not parts.netloc or "*" in page or page.count("/") > 2:
                raise ValueError(f"{ORIGINS_VARIABLE}: {page!r} is no origin such as https://viewer.example")

    @classmethod
    def of(cls, environment: Mapping[str, str] = os.environ) -> "Origins":
        """Return what the environment says."""
        hosts, pages = (environment.get(name, "").split(",") for name in (HOSTS_VARIABLE, ORIGINS_VARIABLE))
        return cls(
            tuple(host.strip().lower() for host in hosts if host.strip()),
            tuple(page.strip().lower() for page in pages if page.strip()),
        )

    def check(self, scope: Scope) -> None:
        """Refuse a request under a foreign name, and one that changes things for a foreign page.

        Raises:
            Refused: UNKNOWN_HOST or FOREIGN_PAGE.
        """
        named = [value.decode("latin-1").lower() for name, value in scope["headers"] if name == b"host"]
        host = _HOST.fullmatch(named[0]) if len(named) == 1 else None
        if host is None or (self.hosts and host["name"] not in self.hosts):
            reason = f"This server is not called {', '.join(named)[:80]!r}."
            raise Refused(421, "UNKNOWN_HOST", reason, f"Ask under its own name, or add the name to {HOSTS_VARIABLE}.")
        if scope["method"] not in _READING and self._is_foreign(scope, host.group()):
            reason = "A page of another site asked for this."
            raise Refused(403, "FOREIGN_PAGE", reason, f"Open the viewer from here, or add it to {ORIGINS_VARIABLE}.")

    def _is_foreign(self, scope: Scope, host: str) -> bool:
        headers = {name: value.decode("latin-1").lower() for name, value in scope["headers"]}
        origin = headers.get(b"origin")
        if origin is None:
            # Browsers that send no origin say here what they mean; other clients say nothing at all.
            return headers.get(b"sec-fetch-site", "none") not in ("none", "same-origin")
        return origin not in self.pages and origin.partition("://")[2] != host
