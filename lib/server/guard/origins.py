"""Check the origin of a request: the host name it uses for this server, and the page that sends it."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.types import Scope

from lib.server.refusals import Refused

HOSTS_VARIABLE = "TOPOLABEL_HOSTS"
"""Host names of this server, separated by commas. If not set: any name, or on loopback the names of loopback."""
ORIGINS_VARIABLE = "TOPOLABEL_CORS_ORIGINS"
"""Origins whose pages may use this server, separated by commas. MONAI Label's own variable prevents its start."""
_READING = ("GET", "HEAD", "OPTIONS")
_HOST = re.compile(r"(?P<name>[A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\])(?::(?P<port>\d{1,5}))?")


@dataclass(frozen=True)
class Origins:
    """The host names of this server and the foreign pages that may use it.

    Args:
        hosts: Host names of this server; empty for any. They protect against DNS rebinding, where a foreign page lets
            its own host name resolve to this machine to read the answers.
        pages: Origins, such as ``https://viewer.example``, whose pages may read and change data on this server.
    Raises:
        ValueError: If an entry of `pages` is not an origin; wildcards are not allowed.
    """

    hosts: tuple[str, ...] = ()
    pages: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for page in self.pages:
            parts = urlsplit(page)
            if parts.scheme not in ("http", "https") or not parts.netloc or "*" in page or page.count("/") > 2:
                raise ValueError(f"{ORIGINS_VARIABLE}: {page!r} is not an origin such as https://viewer.example")

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Origins":
        """Return the settings of the environment."""
        hosts, pages = (environment.get(name, "").split(",") for name in (HOSTS_VARIABLE, ORIGINS_VARIABLE))
        return cls(
            tuple(host.strip().lower() for host in hosts if host.strip()),
            tuple(page.strip().lower() for page in pages if page.strip()),
        )

    def check(self, scope: Scope) -> None:
        """Refuse a request with an unknown host name, and a change requested by a foreign page.

        Raises:
            Refused: UNKNOWN_HOST or FOREIGN_PAGE.
        """
        names = [value.decode("latin-1").lower() for name, value in scope["headers"] if name == b"host"]
        host = _HOST.fullmatch(names[0]) if len(names) == 1 else None
        if host is None or (self.hosts and host["name"] not in self.hosts):
            reason = f"The host name {', '.join(names)[:80]!r} does not belong to this server."
            remedy = f"Use the server's own host name, or add this name to {HOSTS_VARIABLE}."
            raise Refused(421, "UNKNOWN_HOST", reason, remedy)
        if scope["method"] not in _READING and self._is_foreign(scope, host.group()):
            reason = "The request was sent by a page of another site."
            remedy = f"Open the viewer from this server, or add the site to {ORIGINS_VARIABLE}."
            raise Refused(403, "FOREIGN_PAGE", reason, remedy)

    def _is_foreign(self, scope: Scope, host: str) -> bool:
        headers = {name: value.decode("latin-1").lower() for name, value in scope["headers"]}
        origin = headers.get(b"origin")
        if origin is None:
            # A browser that sends no Origin header sends this one; other clients send neither.
            return headers.get(b"sec-fetch-site", "none") not in ("none", "same-origin")
        return origin not in self.pages and origin.partition("://")[2] != host
