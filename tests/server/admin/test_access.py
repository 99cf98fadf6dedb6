"""Actions need the role admin; pages that only show data need the role reviewer."""

import pytest
from fastapi import FastAPI, Request
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient
from monailabel.endpoints.user.auth import RBAC
from starlette.datastructures import State

from lib.server.admin import actions, pages, pictures
from lib.server.admin.access import form_token

ROUTES = [route for each in (pages, actions, pictures) for route in each.router.routes if isinstance(route, APIRoute)]

READING = [pages.show_queue, pages.show_live, pages.show_versions, pages.show_version, pages.show_labels]
READING += [pictures.plot, pictures.overlay_of]


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{min(route.methods)} {route.path}")
def test_every_route_requires_its_role(route: APIRoute) -> None:
    asked = [each.call.roles for each in route.dependant.dependencies if isinstance(each.call, RBAC)]
    reads = route.endpoint in READING
    assert asked == ["monailabel-reviewer" if reads else "monailabel-admin"]


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{min(route.methods)} {route.path}")
def test_routes_that_change_something_are_not_get(route: APIRoute) -> None:
    changes = route.endpoint in (actions.train, actions.stop, actions.do_promote, actions.do_rollback)
    assert ("POST" if changes else "GET") in route.methods and len(route.methods) == 1


def test_style_and_script_are_served_by_this_server() -> None:
    web = FastAPI()
    pages.install(web)
    client = TestClient(web)
    assert client.get("/admin/static/admin.css").headers["content-type"].startswith("text/css")
    assert client.get("/admin/static/admin.js").is_success and not client.get("/admin/static/..%2fpages.py").is_success


def test_the_form_token_is_that_of_the_session() -> None:
    request = Request({"type": "http", "headers": []})
    assert form_token(request) == ""
    request._state = State({"csrf": "abc"})
    assert form_token(request) == "abc"
