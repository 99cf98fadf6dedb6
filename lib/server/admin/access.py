"""Dependencies of the admin pages: the required roles, the served app and the token of forms."""

from typing import Annotated, cast

from fastapi import Depends, Request
from monailabel.config import settings
from monailabel.endpoints.user.auth import RBAC, User
from monailabel.interfaces.utils.app import app_instance

from lib.tasks.app import TopoLabelApp

TOKEN_FIELD = "csrf_token"


def served_app() -> TopoLabelApp:
    """Return the app that this server serves."""
    return cast(TopoLabelApp, app_instance())


def form_token(request: Request) -> str:
    """Return the token for a form on the requested page; empty on a server without the gate."""
    return str(getattr(request.state, "csrf", "") or "")


Reviewer = Annotated[User, Depends(RBAC(settings.MONAI_LABEL_AUTH_ROLE_REVIEWER))]
Admin = Annotated[User, Depends(RBAC(settings.MONAI_LABEL_AUTH_ROLE_ADMIN))]
App = Annotated[TopoLabelApp, Depends(served_app)]
