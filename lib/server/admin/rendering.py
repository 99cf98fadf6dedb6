"""Render the admin pages: values are escaped, nothing is loaded from other sites, and refusals are pages too."""

import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

from fastapi import HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse
from fastapi.routing import APIRoute
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from lib.server.admin.access import TOKEN_FIELD, form_token
from lib.server.admin.formats import FILTERS
from lib.server.auth.access_denied import AccessDenied
from lib.server.auth.authority import NoAuthAuthority
from lib.server.auth.roles import Identity, Role
from lib.server.refusals import Refused, refusal

PREFIX = "/admin"
HERE = Path(__file__).parent
STATIC = HERE / "static"
PAGES = (
    ("", "Queue", Role.REVIEWER),
    ("/versions", "Versions", Role.REVIEWER),
    ("/labels", "Labels", Role.REVIEWER),
    ("/annotators", "Annotators", Role.ADMIN),
    ("/machine", "Machine", Role.ADMIN),
)
HEADERS = {
    # No scripts, styles or pictures of other sites, no forms sent to other sites, and no embedding in a frame.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
_TEMPLATES = Environment(
    loader=FileSystemLoader(HERE / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_TEMPLATES.filters |= FILTERS
_TEMPLATES.globals["stamp"] = sha256(b"".join(path.read_bytes() for path in sorted(STATIC.iterdir()))).hexdigest()[:12]


def render(request: Request, template: str, status: int = 200, **facts: Any) -> HTMLResponse:
    """Return a page.

    Args:
        request: The request.
        template: File name of the template in ``templates``.
        status: HTTP status.
        facts: Values for the template.
    """
    # Without the gate (in tests) there is no user; access control is the task of the gate.
    user: Identity | None = request.scope.get("user")
    role = user.role if user else Role.ADMIN
    requires_sign_in = getattr(request.app.state, "authority", NoAuthAuthority()).enabled
    common = {
        "base": request.scope.get("root_path", "").rstrip("/") + PREFIX,
        "pages": [(path, label) for path, label, needed in PAGES if role >= needed],
        "user": user.name if user and requires_sign_in else "",
        "login": request.scope.get("root_path", "").rstrip("/") + "/login",
        "is_admin": role >= Role.ADMIN,
        "now": time.time(),
        "token": form_token(request),
        "token_field": TOKEN_FIELD,
    }
    return HTMLResponse(_TEMPLATES.get_template(template).render(common | facts), status, HEADERS)


@contextmanager
def refusing(status: int, code: str) -> Iterator[None]:
    """Turn a `ValueError` of the block into a refusal with the same reason.

    Args:
        status: HTTP status of the refusal.
        code: Stable error code.
    Raises:
        Refused: If the block raises a `ValueError`.
    """
    try:
        yield
    except ValueError as error:
        text = str(error)
        raise Refused(status, code, f"{text[:1].upper()}{text[1:]}.", "Go back and reload the page.") from None


class PageRoute(APIRoute):
    """A route that answers refusals and faults with a page that names the next step."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the framework's handler; exceptions become pages."""
        handler = super().get_route_handler()

        async def answered(request: Request) -> Response:
            try:
                return await handler(request)
            except (HTTPException, RequestValidationError, AccessDenied):
                raise  # the gate and the framework answer these
            except Exception as error:
                refused = refusal(error, f"{request.method} {request.url.path}")
                return render(request, "refused.html", refused.status, refused=refused.body)

        return answered
