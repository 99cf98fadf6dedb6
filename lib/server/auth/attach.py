"""Add authentication to an application: the gate, the sign-in routes and the authority that knows the users."""

import os
from pathlib import Path

from fastapi import FastAPI
from monailabel.config import settings
from monailabel.endpoints.user.auth import get_current_user
from starlette.middleware import Middleware

from lib.server.auth.access import ENABLE_VARIABLE, REALM_VARIABLE, Access
from lib.server.auth.authority import Authority, LocalUsersAuthority, NoAuthAuthority
from lib.server.auth.gate import Gate
from lib.server.auth.oidc import OidcAuthority, Realm
from lib.server.auth.routes import current_user, role_names, router, show_access_denied
from lib.server.auth.throttle import Throttle
from lib.server.auth.users import UsersFile


def attach(app: FastAPI) -> Middleware:
    """Add the sign-in routes to an application and give its handlers the authenticated user.

    Args:
        app: The application; routes that must match after the sign-in routes are not yet added.
    Returns:
        The gate, for the application's list of middleware.
    """
    access = configured_access()
    app.state.authority, app.state.throttle = build_authority(access), Throttle()
    app.dependency_overrides[get_current_user] = current_user
    app.include_router(router)
    return Middleware(Gate, authority=app.state.authority, page=show_access_denied, is_open=access.open)


def configured_access() -> Access:
    """Return the access settings of the environment and of MONAI Label's settings, which may come from a file."""
    monailabel_variables = {REALM_VARIABLE: settings.MONAI_LABEL_AUTH_REALM_URI}
    monailabel_variables[ENABLE_VARIABLE] = str(settings.MONAI_LABEL_AUTH_ENABLE).lower()
    return Access.from_environment(os.environ | monailabel_variables)


def build_authority(access: Access) -> Authority:
    """Return the authority for the given access settings.

    Args:
        access: The access settings of the server.
    """
    if access.users:
        return LocalUsersAuthority(UsersFile(Path(access.users)))
    if not access.realm:
        return NoAuthAuthority()
    realm = Realm(
        uri=access.realm,
        client=settings.MONAI_LABEL_AUTH_CLIENT_ID,
        audience=access.audience,
        name_claim=settings.MONAI_LABEL_AUTH_TOKEN_USERNAME,
        roles_path=settings.MONAI_LABEL_AUTH_TOKEN_ROLES,
        roles=role_names(),
        timeout_s=float(settings.MONAI_LABEL_AUTH_TIMEOUT),
    )
    return OidcAuthority(realm)
