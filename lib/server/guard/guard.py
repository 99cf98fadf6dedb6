"""The guard itself: every check before a route, every exception an answer."""

import logging

from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lib.server.guard.limits import MAX_UPLOAD_BYTES, Body, check_headers
from lib.server.guard.names import check_address, check_query
from lib.server.guard.origins import Origins
from lib.server.guard.rates import Rates
from lib.server.log import asked
from lib.server.refusals import Refused, refusal

logger = logging.getLogger(__name__)


class Guard:
    """ASGI middleware around MONAI Label's application.

    Args:
        app: What it guards.
        max_bytes: Largest body that brings a file.
        origins: Who may ask; anyone by any name, but no foreign page, if not given.
        rates: How often; as `Rates` has it if not given.
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
        """Answer one request, whatever happens behind."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started, body = False, Body(scope, receive, self.max_bytes)

        async def watched(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                # Most answers before the end of a body are refusals, and the connection closes after them.
                await body.drain()
            await send(message)

        try:
            check_headers(scope)
            self.rates.check(scope)
            self.origins.check(scope)
            check_address(scope)
            check_query(scope)
            body.check_length()
            await self.app(scope, body.receive, watched)
        except ClientDisconnect:
            logger.info("%s %s: the client left before it had sent all", scope["method"], scope["path"])
        except Exception as error:
            if started:
                raise
            refused = refusal(error, f"{scope['method']} {scope['path']}")
            await answer(refused)(scope, receive, watched)


def answer(refused: Refused) -> JSONResponse:
    """Return a refusal as an answer, and remember its code for the log.

    Args:
        refused: Why.
    """
    request = asked()
    request.code = refused.body["code"]
    body = {**refused.body, "request_id": request.id}
    return JSONResponse(body, refused.status, refused.headers)
