"""The guard: middleware that runs all checks before a route and turns every exception into an answer."""

import logging

from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lib.server.guard.limits import MAX_UPLOAD_BYTES, Body, check_headers
from lib.server.guard.names import check_address, check_query
from lib.server.guard.origins import Origins
from lib.server.guard.rates import Rates
from lib.server.log import current_request
from lib.server.refusals import Refused, refusal

logger = logging.getLogger(__name__)


class Guard:
    """ASGI middleware around MONAI Label's application.

    Args:
        app: The application behind the guard.
        max_bytes: Largest body of a file upload, in bytes.
        origins: Allowed host names and pages; if not given, any host name and no foreign page.
        rates: Allowed rates of requests; the defaults of `Rates` if not given.
    """

    def __init__(
        self,
        app: ASGIApp,
        max_bytes: int = MAX_UPLOAD_BYTES,
        origins: Origins | None = None,
        rates: Rates | None = None,
    ) -> None:
        self.app, self.max_bytes = app, max_bytes
        self.origins, self.rates = origins or Origins(), rates or Rates()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, also if the application raises an exception."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started, body = False, Body(scope, receive, self.max_bytes)

        async def send_after_drain(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                # An answer before the end of the body is mostly a refusal, and the connection closes after it.
                await body.drain()
            await send(message)

        try:
            check_headers(scope)
            self.rates.check(scope)
            self.origins.check(scope)
            check_address(scope)
            check_query(scope)
            body.check_length()
            await self.app(scope, body.receive, send_after_drain)
        except ClientDisconnect:
            logger.info("%s %s: the client disconnected before the end of the body", scope["method"], scope["path"])
        except Exception as error:
            if started:
                raise
            refused = refusal(error, f"{scope['method']} {scope['path']}")
            await answer(refused)(scope, receive, send_after_drain)


def answer(refused: Refused) -> JSONResponse:
    """Return the HTTP answer of a refusal, and keep its code for the log.

    Args:
        refused: The refusal.
    """
    request = current_request()
    request.code = refused.body["code"]
    body = {**refused.body, "request_id": request.id}
    return JSONResponse(body, refused.status, refused.headers)
