"""The one place where every request shows who sends it, before any route of the application sees it."""

from collections.abc import Awaitable, Callable
from urllib.parse import quote

from starlette.datastructures import Headers
from starlette.requests import Request, cookie_parser
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from lib.server.auth.access import is_loopback
from lib.server.auth.authority import Authority
from lib.server.auth.denied import Denied, not_signed_in
from lib.server.auth.roles import NEARBY, TABLE, Identity, Role, row_of
from lib.server.auth.sessions import form_token

COOKIE = "topolabel-session"
FORM_COOKIE = "topolabel-form"
PROXIED = ("forwarded", "x-forwarded-for", "x-real-ip", "via")


class Gate:
    """ASGI middleware, behind the guard, that lets a request pass to the route whose role its sender has.

    Args:
        app: The application behind it.
        authority: Who knows the senders.
        page: Shows a browser why it may not see what it asked for.
        is_open: Whether others on the network may come in where nobody signs in.
    """

    def __init__(
        self,
        app: ASGIApp,
        authority: Authority,
        page: Callable[[Request, Denied], Awaitable[Response]],
        is_open: bool = False,
    ) -> None:
        self.app, self.authority, self.is_open, self.page = app, authority, is_open, page

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let one request pass, its sender in ``scope["user"]``, or refuse it and write that to the log."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        elif scope["type"] == "http":
            await self._http(scope, receive, send)
        else:
            # No route of the table is a websocket.
            await receive()
            await send({"type": "websocket.close", "code": 1008})

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["user"] = None
        try:
            self._check_address(scope)
            needed = role_for(scope)
            if needed > Role.ANYONE:
                scope["user"] = await identify(self.authority, Headers(scope=scope))
                _check_role(scope, needed)
            # For the forms of pages, as `checked_form` wants it back.
            scope.setdefault("state", {})["csrf"] = form_token(form_seed(Request(scope)))
            await self.app(scope, receive, send)
        except Denied as denied:
            request = Request(scope)
            denied.log(request, scope["user"].name if scope["user"] else "nobody")
            if not is_page(request):
                raise
            answer = to_login(request) if denied.status == 401 else await self.page(request, denied)
            await answer(scope, receive, send)

    def _check_address(self, scope: Scope) -> None:
        if self.authority.enabled or self.is_open or is_near(scope):
            return
        reason = "This server answers its own machine only: nobody signs in here, and everybody would be the admin."
        raise Denied(403, "NOT_OPEN", reason, "The admin starts it with --users FILE, --oidc URL or --open.")


def role_for(scope: Scope) -> Role:
    """Return the least role for a request.

    Raises:
        Denied: If its route is not in the table.
    """
    row = row_of(scope)
    if row is None:
        # What no route takes is answered with 404, to those who are known only.
        return Role.SIGNED_IN
    if row not in TABLE:
        raise Denied(403, "NO_ROLE_SET", f"{row} is not in the table of roles.", "Its maker adds it there.")
    return Role.ANYONE if row in NEARBY and is_near(scope) else TABLE[row]


def is_near(scope: Scope) -> bool:
    """Say whether a request comes from this machine, and for nobody elsewhere."""
    client, headers = scope.get("client"), Headers(scope=scope)
    # A proxy on this machine asks for the whole network.
    return (not client or is_loopback(client[0])) and not any(name in headers for name in PROXIED)


async def identify(authority: Authority, headers: Headers) -> Identity:
    """Return who sends a request, by its bearer token or else its cookie.

    Raises:
        Denied: If neither is there and somebody must sign in, or what is there is not good.
    """
    if not authority.enabled:
        return await authority.bearer("")
    sent = headers.getlist("authorization")
    if len(sent) > 1:
        raise not_signed_in("BAD_TOKEN", "The request has two Authorization headers.")
    if sent:
        scheme, _, token = sent[0].strip().partition(" ")
        if scheme.lower() != "bearer":
            raise not_signed_in("BAD_TOKEN", "Authorization is not a bearer token.")
        return await authority.bearer(token.strip())
    if secret := cookie_of(headers):
        return await authority.session(secret)
    raise not_signed_in("NOT_SIGNED_IN", "Nobody is signed in.")


def cookie_of(headers: Headers) -> str:
    """Return the secret of a browser's session, empty if none is sent."""
    return cookie_parser(headers.get("cookie", "")).get(COOKIE, "")


def form_seed(request: Request) -> str:
    """Return what only the browser that shows a page sends: its session's secret, or a cookie of the page."""
    return cookie_of(request.headers) or request.cookies.get(FORM_COOKIE, "")


def is_page(request: Request) -> bool:
    """Say whether a browser asks for a page to show, and not a viewer or a script for data."""
    asked = request.method == "GET" and "authorization" not in request.headers
    return asked and "text/html" in request.headers.get("accept", "")


def to_login(request: Request) -> RedirectResponse:
    """Return the way to the login page, and from there back."""
    wanted = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    return RedirectResponse(f"/login?next={quote(wanted)}", 303, {"Cache-Control": "no-store"})


def _check_role(scope: Scope, needed: Role) -> None:
    has: Role = scope["user"].role
    if has < needed:
        named = has.name.lower() if has >= Role.USER else "none"
        reason = f"{row_of(scope)} needs the role {needed.name.lower()}; yours is {named}."
        raise Denied(403, "ROLE_NEEDED", reason, "Ask an admin for that role.", needed=needed.name.lower())
