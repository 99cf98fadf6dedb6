"""Fill the templates of the admin's pages: everything escaped, nothing from elsewhere, every refusal a page as well."""

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
from lib.server.auth.authority import Everybody
from lib.server.auth.denied import Denied
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
    # No script, style or picture from anywhere else, no form sent elsewhere, no frame around a button.
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
        request: Where it is shown.
        template: Its file in ``templates``.
        status: HTTP status.
        facts: What it shows.
    """
    # Before any gate there is nobody, and the page is the gate's to keep.
    who: Identity | None = request.scope.get("user")
    role, signs_in = who.role if who else Role.ADMIN, getattr(request.app.state, "authority", Everybody()).enabled
    common = {
        "base": request.scope.get("root_path", "").rstrip("/") + PREFIX,
        "pages": [(path, label) for path, label, needed in PAGES if role >= needed],
        "who": who.name if who and signs_in else "",
        "login": request.scope.get("root_path", "").rstrip("/") + "/login",
        "decides": role >= Role.ADMIN,
        "now": time.time(),
        "token": form_token(request),
        "token_field": TOKEN_FIELD,
    }
    return HTMLResponse(_TEMPLATES.get_template(template).render(common | facts), status, HEADERS)


@contextmanager
def refusing(status: int, code: str) -> Iterator[None]:
    """Answer a `ValueError` of the block, which says what is wrong, as a refusal.

    Args:
        status: HTTP status.
        code: Stable name of the reason.
    """
    try:
        yield
    except ValueError as error:
        text = str(error)
        raise Refused(status, code, f"{text[:1].upper()}{text[1:]}.", "Go back and look at what there is.") from None


class PageRoute(APIRoute):
    """A route whose refusals and faults are pages for people, with what to do."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the framework's handler, with its exceptions answered here."""
        handler = super().get_route_handler()

        async def answered(request: Request) -> Response:
            try:
                return await handler(request)
            except (HTTPException, RequestValidationError, Denied):
                raise  # who may not come in is answered where that is decided
            except Exception as error:
                refused = refusal(error, f"{request.method} {request.url.path}")
                return render(request, "refused.html", refused.status, refused=refused.body)

        return answered
