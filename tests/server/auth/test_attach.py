"""The authority follows from the environment and MONAI Label's settings."""

from pathlib import Path

import pytest
from fastapi import FastAPI
from monailabel.config import settings

from lib.server.auth.access import Access, BadAccess
from lib.server.auth.attach import attach, build_authority, configured_access
from lib.server.auth.authority import LocalUsersAuthority, NoAuthAuthority
from lib.server.auth.oidc import OidcAuthority
from lib.server.auth.roles import Role


def test_each_setting_has_its_authority(users_file: Path) -> None:
    assert isinstance(build_authority(Access()), NoAuthAuthority)
    assert isinstance(build_authority(Access(users=str(users_file))), LocalUsersAuthority)
    provider = build_authority(Access(realm="https://sso.example.org/realms/lab", audience="topolabel"))
    assert isinstance(provider, OidcAuthority) and provider.realm.audience == "topolabel"
    assert provider.realm.client == "monailabel-app" and provider.realm.roles["monailabel-admin"] is Role.ADMIN
    assert provider.realm.roles_path == "realm_access#roles"


def test_monai_labels_own_settings_enable_the_provider(monkeypatch: pytest.MonkeyPatch, users_file: Path) -> None:
    monkeypatch.setattr(settings, "MONAI_LABEL_AUTH_ENABLE", True)
    monkeypatch.setattr(settings, "MONAI_LABEL_AUTH_REALM_URI", "https://sso.example.org/realms/lab")
    assert configured_access() == Access(realm="https://sso.example.org/realms/lab")
    monkeypatch.setenv("TOPOLABEL_USERS", str(users_file))
    with pytest.raises(BadAccess):
        configured_access()


def test_attach_adds_the_routes_and_the_gate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOPOLABEL_OPEN", "true")
    app = FastAPI()
    gate = attach(app)
    assert gate.kwargs["is_open"] is True
    assert gate.kwargs["authority"] is app.state.authority
