"""Sign-in with a real browser: the form, its error messages, the redirect, and sign-out."""

from collections.abc import Iterator
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from tests.server.auth.conftest import PASSWORD
from tests.server.screens import CHROMIUM, NARROW, PHONE, SERIOUS, SHOTS, WIDE

pytestmark = [
    pytest.mark.server,
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not here: apt-get install chromium"),
]


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    page = browser.new_context(viewport={"width": WIDE, "height": 700}, color_scheme="dark").new_page()
    yield page
    page.context.close()


def sign_in(page: Page, name: str, password: str) -> None:
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(password)
    page.keyboard.press("Enter")


def checked(page: Page, name: str) -> None:
    """Run the axe checks and take screenshots."""
    for width in (WIDE, PHONE):
        page.set_viewport_size({"width": width, "height": 700})
        violations = Axe().run(page).response["violations"]
        assert [each for each in violations if each["impact"] in SERIOUS] == []
        SHOTS.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=SHOTS / f"login-{name}-{width}.png")
    page.set_viewport_size({"width": NARROW, "height": 640})
    assert page.evaluate("document.documentElement.scrollWidth") <= NARROW
    page.set_viewport_size({"width": WIDE, "height": 700})


def test_an_admin_signs_in_and_out(guarded: Any, page: Page) -> None:
    page.goto(f"{guarded.url}/admin/versions")
    expect(page.get_by_label("Name")).to_be_focused()
    checked(page, "asked")
    sign_in(page, "admin", "a wrong password")
    expect(page.get_by_role("alert")).to_contain_text("password")
    checked(page, "wrong")
    sign_in(page, "admin", PASSWORD)
    page.wait_for_url(f"{guarded.url}/admin/versions")
    page.get_by_role("link", name="Sign out").click()
    expect(page.get_by_text("You are signed in as admin.")).to_be_visible()
    checked(page, "signed-in")
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_label("Name")).to_be_visible()
    page.goto(f"{guarded.url}/admin")
    assert "/login" in page.url


def test_a_reviewer_sees_which_role_a_page_needs(guarded: Any, page: Page) -> None:
    page.goto(f"{guarded.url}/admin")
    sign_in(page, "reviewer", PASSWORD)
    page.wait_for_url(f"{guarded.url}/admin")
    assert page.get_by_role("link", name="Machine").count() == 0 and page.get_by_role("button").count() <= 1
    SHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SHOTS / "admin-reviewer.png", full_page=True)
    answer = page.goto(f"{guarded.url}/admin/machine")
    assert answer is not None and answer.status == 403
    expect(page.get_by_role("alert")).to_contain_text("needs the role admin")
    checked(page, "refused")
