"""The gate: middleware that authenticates every request and checks its role before a route handles it."""

from collections.abc import Awaitable, Callable
from urllib.parse import quote

from starlette.datastructures import Headers
from starlette.requests import Request, cookie_parser
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from lib.server.auth.access import is_loopback
from lib.server.auth.access_denied import AccessDenied, not_signed_in
from lib.server.auth.authority import Authority
from lib.server.auth.roles import LOCAL_WITHOUT_SIGN_IN, TABLE, Identity, Role, find_row
from lib.server.auth.sessions import form_token

COOKIE = "topolabel-session"
FORM_COOKIE = "topolabel-form"
PROXY_HEADERS = ("forwarded", "x-forwarded-for", "x-real-ip", "via")


class Gate:
    """ASGI middleware, behind the guard, that passes a request on only if its sender has the role of the route.

    Args:
        app: The application behind the gate.
        authority: Identifies the senders.
        page: Returns the page that explains a refusal to a browser.
        is_open: Whether a server without sign-in accepts requests from other machines.
    """

    def __init__(
        self,
        app: ASGIApp,
        authority: Authority,
        page: Callable[[Request, AccessDenied], Awaitable[Response]],
        is_open: bool = False,
    ) -> None:
        self.app, self.authority, self.is_open, self.page = app, authority, is_open, page

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on, with its sender in ``scope["user"]``, or refuse it and log the refusal."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        elif scope["type"] == "http":
            await self._http(scope, receive, send)
        else:
            # The table has no websocket routes.
            await receive()
            await send({"type": "websocket.close", "code": 1008})

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["user"] = None
        try:
            self._check_address(scope)
            needed = required_role(scope)
            if needed > Role.ANYONE:
                scope["user"] = await identify(self.authority, Headers(scope=scope))
                _check_role(scope, needed)
            # Pages put this token into their forms; `checked_form` verifies it.
            scope.setdefault("state", {})["csrf"] = form_token(form_seed(Request(scope)))
            await self.app(scope, receive, send)
        except AccessDenied as error:
            request = Request(scope)
            error.log(request, scope["user"].name if scope["user"] else "anonymous")
            if not wants_page(request):
                raise
            answer = redirect_to_login(request) if error.status == 401 else await self.page(request, error)
            await answer(scope, receive, send)

    def _check_address(self, scope: Scope) -> None:
        if self.authority.enabled or self.is_open or is_local_request(scope):
            return
        reason = "This server has no sign-in, so it accepts requests from its own machine only."
        remedy = "Ask the admin to start the server with --users FILE, --oidc URL or --open."
        raise AccessDenied(403, "NOT_OPEN", reason, remedy)


def required_role(scope: Scope) -> Role:
    """Return the lowest role that may send a request.

    Raises:
        AccessDenied: If the route of the request is not in the table.
    """
    row = find_row(scope)
    if row is None:
        # An address without a route is answered with 404, but only to signed-in users.
        return Role.SIGNED_IN
    if row not in TABLE:
        remedy = "Ask the developers to add the route to lib/server/auth/roles.py."
        raise AccessDenied(403, "NO_ROLE_SET", f"{row} is not in the table of roles.", remedy)
    return Role.ANYONE if row in LOCAL_WITHOUT_SIGN_IN and is_local_request(scope) else TABLE[row]


def is_local_request(scope: Scope) -> bool:
    """Return whether a request comes from this machine and was not forwarded by a proxy."""
    client, headers = scope.get("client"), Headers(scope=scope)
    # A proxy on this machine forwards requests of the whole network.
    return (not client or is_loopback(client[0])) and not any(name in headers for name in PROXY_HEADERS)


async def identify(authority: Authority, headers: Headers) -> Identity:
    """Return the sender of a request, by its bearer token or else its cookie.

    Raises:
        AccessDenied: If sign-in is required and the token or cookie is missing or invalid.
    """
    if not authority.enabled:
        return await authority.identify_bearer("")
    sent = headers.getlist("authorization")
    if len(sent) > 1:
        raise not_signed_in("BAD_TOKEN", "The request has two Authorization headers.")
    if sent:
        scheme, _, token = sent[0].strip().partition(" ")
        if scheme.lower() != "bearer":
            raise not_signed_in("BAD_TOKEN", "Authorization is not a bearer token.")
        return await authority.identify_bearer(token.strip())
    if secret := session_cookie(headers):
        return await authority.identify_session(secret)
    raise not_signed_in("NOT_SIGNED_IN", "The request has no token and no session cookie.")


def session_cookie(headers: Headers) -> str:
    """Return the secret in the session cookie; empty if the request has none."""
    return cookie_parser(headers.get("cookie", "")).get(COOKIE, "")


def form_seed(request: Request) -> str:
    """Return a value that only this browser sends: the session's secret, or else the form cookie."""
    return session_cookie(request.headers) or request.cookies.get(FORM_COOKIE, "")


def wants_page(request: Request) -> bool:
    """Return whether a browser requests a page, as opposed to a viewer or script that requests data."""
    from_browser = request.method == "GET" and "authorization" not in request.headers
    return from_browser and "text/html" in request.headers.get("accept", "")


def redirect_to_login(request: Request) -> RedirectResponse:
    """Return a redirect to the login page, which leads back to the requested page."""
    wanted = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    return RedirectResponse(f"/login?next={quote(wanted)}", 303, {"Cache-Control": "no-store"})


def _check_role(scope: Scope, needed: Role) -> None:
    has: Role = scope["user"].role
    if has < needed:
        named = has.name.lower() if has >= Role.USER else "none"
        reason = f"{find_row(scope)} needs the role {needed.name.lower()}; your role is {named}."
        raise AccessDenied(403, "ROLE_NEEDED", reason, "Ask an admin for that role.", needed=needed.name.lower())
