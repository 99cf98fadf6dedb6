"""The routes to sign in and out: for viewers by token, for browsers by a page."""

import secrets
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar
from urllib.parse import urlsplit

from fastapi import APIRouter, Depends, Form, Request
from monailabel.config import settings
from monailabel.endpoints.user.auth import User
from starlette.responses import FileResponse, JSONResponse, RedirectResponse, Response
from starlette.templating import Jinja2Templates

from lib.server.auth.access_denied import AccessDenied
from lib.server.auth.authority import Authority, wrong_password
from lib.server.auth.gate import COOKIE, FORM_COOKIE, form_seed, identify, session_cookie
from lib.server.auth.roles import Identity, Role
from lib.server.auth.sessions import form_token, is_valid_form_token

HOME = "/ohif/"
MAX_FORM = 16 * 1024
MAX_NAME = 200
PAGES = Path(__file__).with_name("pages")

POLICY = "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

T = TypeVar("T")
Field = Annotated[str, Form()]
router = APIRouter(tags=["Auth"])
templates = Jinja2Templates(PAGES)


@router.get("/auth/", summary="Return whether sign-in is required")
async def describe(request: Request) -> dict[str, Any]:
    """Return ``enabled``, ``client_id`` and ``realm``, as MONAI Label does."""
    return _authority(request).describe()


@router.post("/auth/token", summary="Get a token for a name and password", max_body_size=MAX_FORM)
async def token(request: Request, username: Field, password: Field) -> Response:
    """Return ``{access_token, token_type}``; send the token in the Authorization header."""
    answer = await _sign_in(request, _authority(request).issue_token, username, password)
    return JSONResponse(answer, headers={"Cache-Control": "no-store"})


@router.get("/auth/token/valid", summary="Return the user of a token")
async def valid(request: Request) -> dict[str, Any]:
    """Return the user of a token in MONAI Label's format; the gate refuses a request with an invalid token."""
    return (await current_user(request)).model_dump()


@router.get("/login", include_in_schema=False)
async def login_page(request: Request, next: str = HOME) -> Response:
    """Show the sign-in form, or the name of the signed-in user."""
    return await _login_page(request, next)


@router.get("/login/style.css", include_in_schema=False)
async def login_style() -> Response:
    """Return the style sheet of the login page."""
    return FileResponse(PAGES / "style.css", media_type="text/css")


async def checked_form(request: Request, csrf_token: Field = "") -> None:
    """Refuse a form whose ``csrf_token`` is not ``form_token(form_seed(request))``; used as a route dependency."""
    # A browser never sends a bearer token on its own, so such a request needs no form token.
    if "authorization" not in request.headers and not is_valid_form_token(form_seed(request), csrf_token):
        raise AccessDenied(
            403, "BAD_FORM", "The form's token is missing or outdated.", "Reload the page and try again."
        )


@router.post("/login", include_in_schema=False, max_body_size=MAX_FORM, dependencies=[Depends(checked_form)])
async def login(request: Request, name: Field = "", password: Field = "", next: Field = HOME) -> Response:
    """Open a browser session and redirect to the page that was requested first."""
    try:
        secret = await _sign_in(request, _authority(request).open_session, name.strip(), password)
    except AccessDenied as error:
        error.log(request, "anonymous")
        return await _login_page(request, next, error)
    answer = RedirectResponse(_local_path(next), 303)
    answer.set_cookie(COOKIE, secret, httponly=True, samesite="strict", secure=request.url.scheme == "https")
    return answer


@router.post("/logout", include_in_schema=False, max_body_size=MAX_FORM, dependencies=[Depends(checked_form)])
async def logout(request: Request) -> Response:
    """End the session of the request."""
    bearer = request.headers.get("authorization", "").partition(" ")[2].strip()
    _authority(request).sign_out(bearer or session_cookie(request.headers))
    if bearer:
        return JSONResponse({"signed_out": True})
    answer = RedirectResponse("/login", 303)
    answer.delete_cookie(COOKIE, httponly=True, samesite="strict")
    return answer


async def current_user(request: Request) -> User:
    """Return the authenticated user for MONAI Label's handlers, with the user's role and all lower roles."""
    user: Identity = request.scope["user"]
    names = role_names()
    return User(username=user.name, roles=[name for name, role in names.items() if role <= user.role])


def role_names() -> dict[str, Role]:
    """Return the roles by the names that MONAI Label's settings give them."""
    return {
        settings.MONAI_LABEL_AUTH_ROLE_USER: Role.USER,
        settings.MONAI_LABEL_AUTH_ROLE_ANNOTATOR: Role.ANNOTATOR,
        settings.MONAI_LABEL_AUTH_ROLE_REVIEWER: Role.REVIEWER,
        settings.MONAI_LABEL_AUTH_ROLE_ADMIN: Role.ADMIN,
    }


async def _sign_in(request: Request, method: Callable[[str, str], Awaitable[T]], name: str, password: str) -> T:
    """Return the result of a sign-in method of the authority; too many attempts are refused."""
    address = request.client.host if request.client else ""
    if len(name) > MAX_NAME:
        raise wrong_password()
    request.app.state.throttle.record_attempt(name, address)
    result = await method(name, password)
    request.app.state.throttle.record_success(name, address)
    return result


async def show_access_denied(request: Request, error: AccessDenied) -> Response:
    """Show the signed-in user and why the requested page is refused."""
    return await _login_page(request, HOME, error)


async def _login_page(request: Request, next_page: str, error: AccessDenied | None = None) -> Response:
    try:
        user = await identify(_authority(request), request.headers)
    except AccessDenied:
        user = None
    seed = form_seed(request) or secrets.token_urlsafe(16)
    values = {"user": user, "next_page": _local_path(next_page), "csrf": form_token(seed), "error": error}
    values["requires_sign_in"] = _authority(request).enabled
    headers = {"Cache-Control": "no-store", "Content-Security-Policy": POLICY} | (error.headers if error else {})
    answer = templates.TemplateResponse(request, "login.html", values, error.status if error else 200, headers)
    if user is None:
        answer.set_cookie(FORM_COOKIE, seed, httponly=True, samesite="strict", secure=request.url.scheme == "https")
    return answer


def _local_path(address: str) -> str:
    """Return `address` if it is a path on this server, else the home page: no redirect to another server."""
    parts = urlsplit(address)
    local = address.startswith("/") and not address.startswith(("//", "/\\")) and address.isprintable()
    return address if local and not parts.netloc and not parts.scheme else HOME


def _authority(request: Request) -> Authority:
    return request.app.state.authority
