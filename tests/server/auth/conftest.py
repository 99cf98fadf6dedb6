"""Fixtures: a users file, an OIDC provider, and the gate around a small application."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from argon2 import PasswordHasher
from fastapi import FastAPI, Request
from starlette.middleware import Middleware
from starlette.testclient import TestClient

from lib.server.auth import users as users_module
from lib.server.auth.authority import Authority, LocalUsersAuthority
from lib.server.auth.gate import Gate
from lib.server.auth.routes import current_user, router, show_access_denied
from lib.server.auth.throttle import Throttle
from lib.server.auth.users import UsersFile, add_user
from lib.server.guard import Guard
from lib.server.guard.origins import Origins
from tests.server.auth.provider import LocalProvider

PASSWORD = "correct horse battery"
ROLES = ("user", "annotator", "reviewer", "admin")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use a cheap hash: argon2 itself is not under test."""
    monkeypatch.setattr(users_module, "_hasher", PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))


@pytest.fixture
def users_file(tmp_path: Path, quick: None) -> Path:
    """A users file with one user per role, named like the role."""
    path = tmp_path / "users.toml"
    for role in ROLES:
        add_user(path, role, PASSWORD, role)
    return path


@pytest.fixture
def provider() -> Iterator[LocalProvider]:
    local = LocalProvider()
    yield local
    local.close()


@pytest.fixture
def gated() -> Callable[..., TestClient]:
    """Return a factory of clients of a small application behind the gate, with paths from the table of roles."""

    def made(authority: Authority, address: str = "127.0.0.1", pages: tuple = (), **options: Any) -> TestClient:
        app = FastAPI(openapi_url=None)
        app.state.authority, app.state.throttle = authority, Throttle()
        app.include_router(router)
        guard = Middleware(Guard, origins=Origins(pages=pages))
        app.user_middleware[:] = [guard, Middleware(Gate, authority=authority, page=show_access_denied, **options)]

        async def who(request: Request) -> dict[str, Any]:
            return (await current_user(request)).model_dump()

        for method, path in (
            ("GET", "/info/"),
            ("PUT", "/datastore/label"),
            ("POST", "/train/"),
            ("POST", "/infer/{model}"),
            ("GET", "/ohif/{path:path}"),
            ("GET", "/forgotten"),
        ):
            app.add_api_route(path, who, methods=[method])
        # The client's host must be an IP address: the gate checks which machine sends a request.
        return TestClient(app, base_url="http://127.0.0.1:8000", client=(address, 50000), follow_redirects=False)

    return made


@pytest.fixture
def local(gated: Callable[..., TestClient], users_file: Path) -> TestClient:
    return gated(LocalUsersAuthority(UsersFile(users_file)))


def sign_in(client: TestClient, name: str, password: str = PASSWORD) -> dict[str, str]:
    """Sign in and return the headers with the token."""
    answer = client.post("/auth/token", data={"username": name, "password": password, "grant_type": "password"})
    assert answer.status_code == 200, answer.text
    return {"Authorization": f"{answer.json()['token_type']} {answer.json()['access_token']}"}


@pytest.fixture(scope="module")
def guarded(
    launch: Callable, new_app: Callable, new_studies: Callable, tmp_path_factory: pytest.TempPathFactory
) -> Any:
    """A server with one user per role, named like the role."""
    where = tmp_path_factory.mktemp("guarded")
    for role in ROLES:
        add_user(where / "users.toml", role, PASSWORD, role)

    def command(app: Path, studies: Path, port: int) -> list[str]:
        options = ["--studies", str(studies), "--port", str(port), "--users", str(where / "users.toml")]
        return [sys.executable, "-m", "lib", "serve", str(app), *options]

    return launch(command, new_app(where / "app"), new_studies(where / "studies", 2), where)
