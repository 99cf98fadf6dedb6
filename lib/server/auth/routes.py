"""How people sign in and out: the routes that viewers use, and a page for browsers."""

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

from lib.server.auth.authority import Authority, wrong_password
from lib.server.auth.denied import Denied
from lib.server.auth.gate import COOKIE, FORM_COOKIE, cookie_of, form_seed, identify
from lib.server.auth.roles import Identity, Role
from lib.server.auth.sessions import form_is_ours, form_token

HOME = "/ohif/"
MAX_FORM = 16 * 1024
MAX_NAME = 200
PAGES = Path(__file__).with_name("pages")

POLICY = "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

T = TypeVar("T")
Field = Annotated[str, Form()]
router = APIRouter(tags=["Auth"])
templates = Jinja2Templates(PAGES)


@router.get("/auth/", summary="Say whether people sign in")
async def described(request: Request) -> dict[str, Any]:
    """Answer as MONAI Label does: ``enabled``, ``client_id``, ``realm``."""
    return _authority(request).describe()


@router.post("/auth/token", summary="Get a token for a name and password", max_body_size=MAX_FORM)
async def token(request: Request, username: Field, password: Field) -> Response:
    """Answer ``{access_token, token_type}``, to be sent as Authorization."""
    granted = await _admitted(request, _authority(request).grant, username, password)
    return JSONResponse(granted, headers={"Cache-Control": "no-store"})


@router.get("/auth/token/valid", summary="Say who a token is of")
async def valid(request: Request) -> dict[str, Any]:
    """Answer MONAI Label's user; a token that is not valid does not come here."""
    return (await current_user(request)).model_dump()


@router.get("/login", include_in_schema=False)
async def login_page(request: Request, next: str = HOME) -> Response:
    """Show the form, or who is signed in."""
    return await _page(request, next)


@router.get("/login/style.css", include_in_schema=False)
async def login_style() -> Response:
    """Return the page's style."""
    return FileResponse(PAGES / "style.css", media_type="text/css")


async def checked_form(request: Request, csrf_token: Field = "") -> None:
    """Refuse a form whose ``csrf_token`` is not ``form_token(form_seed(request))``; a dependency of its route."""
    # A bearer token is sent by no browser on its own.
    if "authorization" not in request.headers and not form_is_ours(form_seed(request), csrf_token):
        raise Denied(403, "BAD_FORM", "The form is not of this page, or too old.", "Load the page again.")


@router.post("/login", include_in_schema=False, max_body_size=MAX_FORM, dependencies=[Depends(checked_form)])
async def login(request: Request, name: Field = "", password: Field = "", next: Field = HOME) -> Response:
    """Begin a browser's session and go on to the page that was wanted."""
    try:
        secret = await _admitted(request, _authority(request).open, name.strip(), password)
    except Denied as denied:
        denied.log(request, "nobody")
        return await _page(request, next, denied)
    answer = RedirectResponse(_within(next), 303)
    answer.set_cookie(COOKIE, secret, httponly=True, samesite="strict", secure=request.url.scheme == "https")
    return answer


@router.post("/logout", include_in_schema=False, max_body_size=MAX_FORM, dependencies=[Depends(checked_form)])
async def logout(request: Request) -> Response:
    """End the session that the request was sent with."""
    bearer = request.headers.get("authorization", "").partition(" ")[2].strip()
    _authority(request).sign_out(bearer or cookie_of(request.headers))
    if bearer:
        return JSONResponse({"signed_out": True})
    answer = RedirectResponse("/login", 303)
    answer.delete_cookie(COOKIE, httponly=True, samesite="strict")
    return answer


async def current_user(request: Request) -> User:
    """Return who the gate let pass, as MONAI Label's handlers know users: with their role and those below it."""
    who: Identity = request.scope["user"]
    names = role_names()
    return User(username=who.name, roles=[name for name, role in names.items() if role <= who.role])


def role_names() -> dict[str, Role]:
    """Return what this server's provider calls each role."""
    return {
        settings.MONAI_LABEL_AUTH_ROLE_USER: Role.USER,
        settings.MONAI_LABEL_AUTH_ROLE_ANNOTATOR: Role.ANNOTATOR,
        settings.MONAI_LABEL_AUTH_ROLE_REVIEWER: Role.REVIEWER,
        settings.MONAI_LABEL_AUTH_ROLE_ADMIN: Role.ADMIN,
    }


async def _admitted(request: Request, enter: Callable[[str, str], Awaitable[T]], name: str, password: str) -> T:
    """Return what a name and password give, if they are right and not guessed."""
    address = request.client.host if request.client else ""
    if len(name) > MAX_NAME:
        raise wrong_password()
    request.app.state.throttle.begin(name, address)
    given = await enter(name, password)
    request.app.state.throttle.succeeded(name, address)
    return given


async def denied_page(request: Request, denied: Denied) -> Response:
    """Show who is signed in, and why that is not enough for the page that was asked for."""
    return await _page(request, HOME, denied)


async def _page(request: Request, wanted: str, denied: Denied | None = None) -> Response:
    try:
        who = await identify(_authority(request), request.headers)
    except Denied:
        who = None
    seed = form_seed(request) or secrets.token_urlsafe(16)
    told = {"who": who, "wanted": _within(wanted), "csrf": form_token(seed), "denied": denied}
    told["signs_in"] = _authority(request).enabled
    headers = {"Cache-Control": "no-store", "Content-Security-Policy": POLICY} | (denied.headers if denied else {})
    answer = templates.TemplateResponse(request, "login.html", told, denied.status if denied else 200, headers)
    if who is None:
        answer.set_cookie(FORM_COOKIE, seed, httponly=True, samesite="strict", secure=request.url.scheme == "https")
    return answer


def _within(wanted: str) -> str:
    """Return a page of this server, never an address that leads elsewhere."""
    parts = urlsplit(wanted)
    local = wanted.startswith("/") and not wanted.startswith(("//", "/\\")) and wanted.isprintable()
    return wanted if local and not parts.netloc and not parts.scheme else HOME


def _authority(request: Request) -> Authority:
    return request.app.state.authority
