"""Put the gate before an application, and whoever knows its users behind the gate."""

import os
from pathlib import Path

from fastapi import FastAPI
from monailabel.config import settings
from monailabel.endpoints.user.auth import get_current_user
from starlette.middleware import Middleware

from lib.server.auth.access import ENABLE_VARIABLE, REALM_VARIABLE, Access
from lib.server.auth.authority import Authority, Everybody, LocalUsers
from lib.server.auth.gate import Gate
from lib.server.auth.oidc import Provider, Realm
from lib.server.auth.routes import current_user, denied_page, role_names, router
from lib.server.auth.throttle import Throttle
from lib.server.auth.users import UsersFile


def attach(app: FastAPI) -> Middleware:
    """Give an application the routes to sign in, and its handlers the user that the gate let pass.

    Args:
        app: The application, the routes that the new ones come before not yet in it.
    Returns:
        The gate, to be put among the application's middleware.
    """
    access = chosen()
    app.state.authority, app.state.throttle = authority_of(access), Throttle()
    app.dependency_overrides[get_current_user] = current_user
    app.include_router(router)
    return Middleware(Gate, authority=app.state.authority, page=denied_page, is_open=access.open)


def chosen() -> Access:
    """Return what the environment says, and MONAI Label's settings, which a file may hold."""
    theirs = {REALM_VARIABLE: settings.MONAI_LABEL_AUTH_REALM_URI}
    theirs[ENABLE_VARIABLE] = str(settings.MONAI_LABEL_AUTH_ENABLE).lower()
    return Access.of(os.environ | theirs)


def authority_of(access: Access) -> Authority:
    """Return who knows the users of a server.

    Args:
        access: What was chosen.
    """
    if access.users:
        return LocalUsers(UsersFile(Path(access.users)))
    if not access.realm:
        return Everybody()
    realm = Realm(
        uri=access.realm,
        client=settings.MONAI_LABEL_AUTH_CLIENT_ID,
        audience=access.audience,
        name_claim=settings.MONAI_LABEL_AUTH_TOKEN_USERNAME,
        roles_path=settings.MONAI_LABEL_AUTH_TOKEN_ROLES,
        roles=role_names(),
        timeout_s=float(settings.MONAI_LABEL_AUTH_TIMEOUT),
    )
    return Provider(realm)
