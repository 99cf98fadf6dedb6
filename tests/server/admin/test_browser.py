"""The admin pages in a real browser on a real server: live updates, keyboard, phone, no scripts, and axe checks."""

import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page

from lib.jobs.gate import HOLD, PUBLISH, REJECT
from lib.records.leases import Leases
from tests.server.screens import CHROMIUM, NARROW, PHONE, SERIOUS, SHOTS, WIDE

pytestmark = [
    pytest.mark.server,
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not here: apt-get install chromium"),
]
EPOCHS = 6
REMARKS = [
    {
        "code": "STRAY_PARTS",
        "reason": "3 parts of 0.02 ml lie apart from the tube.",
        "remedy": "Remove or join them.",
        "voxel": [18, 16, 12],
        "ras_mm": [36.0, 32.0, 24.0],
    },
    {"code": "BORDER", "reason": "The label touches the last slice.", "remedy": "See whether the scan ends too early."},
]
PAGES = {"queue": "", "versions": "/versions", "labels": "/labels", "annotators": "/annotators", "machine": "/machine"}
FOCUSED = """() => {
    const it = document.activeElement, style = getComputedStyle(it), box = it.getBoundingClientRect();
    const outline = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2;
    return {name: it.tagName, text: it.innerText, href: it.getAttribute("href"), outline, tall: box.height};
}"""


@pytest.fixture(scope="module")
def admin(
    tmp_path_factory: pytest.TempPathFactory,
    launch: Callable[..., Any],
    command: Callable,
    new_app: Callable,
    new_studies: Callable,
    add_version: Callable,
    add_label: Callable,
    make_ct: Callable,
    write_nifti: Callable,
    hostile: str,
) -> Any:
    """A server whose app has a history of two weeks, including a study and a person with hostile names."""
    where = tmp_path_factory.mktemp("admin")
    app, studies = new_app(where / "app"), new_studies(where / "studies", 4)
    (app / "app.toml").write_text((app / "app.toml").read_text().replace("max_epochs = 4", f"max_epochs = {EPOCHS}"))
    write_nifti(make_ct(7)[0], studies / f"{hostile}.nii.gz")
    words = ((PUBLISH, 3, 0.62), (PUBLISH, 6, 0.74), (REJECT, 9, 0.70), (PUBLISH, 14, 0.81), (HOLD, 20, 0.83))
    for number, (verdict, labels, dice) in enumerate(words):
        add_version(app, f"202611{labels + 1:02d}-100000-a{number}", verdict, labels=labels, dice=dice)
    add_label(app, studies, "ct_0", days_ago=15, user="Anna", seconds=655, changed=9)
    add_label(app, studies, "ct_0", days_ago=8, user="Bert", seconds=268, changed=4)
    add_label(app, studies, "ct_2", days_ago=7, user="Anna", seconds=95, changed=0)
    add_label(app, studies, "ct_1", days_ago=1, user="Anna", seconds=130, changed=2, findings=REMARKS)
    add_label(app, studies, hostile, days_ago=0, user=hostile, seconds=90, changed=1, findings=[hostile])
    for who, image in (("Anna", "ct_3"), (hostile, hostile)):
        Leases(app, 7200.0).lease_next(who, [image])
    return launch(command, app, studies, where)


@pytest.fixture
def page(browser: Browser, admin: Any) -> Iterator[Page]:
    """A page that may request this server only and whose script must not fail."""
    faults: list[str] = []
    page = browser.new_context(viewport={"width": WIDE, "height": 900}, color_scheme="dark").new_page()
    page.on("console", lambda message: faults.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("request", lambda request: faults.append(request.url) if not request.url.startswith(admin.url) else None)
    page.on("dialog", lambda dialog: faults.append(f"a script of a name ran: {dialog.message}"))
    yield page
    page.context.close()
    assert faults == []


REFRESH_MS = 2500
"""Time in which the page asks the server once."""


def looked_at(page: Page, name: str) -> None:
    """Scroll through a page, so that its pictures load, and take a screenshot of the whole page."""
    for image in page.locator("img").all():
        image.scroll_into_view_if_needed()
        image.evaluate("it => it.complete || new Promise(done => { it.onload = it.onerror = done })")
        assert image.evaluate("it => it.naturalWidth") > 0, image.get_attribute("src")
    page.evaluate("scrollTo(0, 0)")
    SHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SHOTS / f"admin-{name}.png", full_page=True)


def serious(page: Page) -> list[str]:
    found = Axe().run(page).response["violations"]
    return [f"{each['id']}: {node['html']}" for each in found if each["impact"] in SERIOUS for node in each["nodes"]]


def test_a_training_is_started_watched_and_stopped_without_a_reload(page: Page, admin: Any) -> None:
    page.goto(f"{admin.url}/admin")
    page.get_by_role("button", name="Train tubes").press("Enter")
    page.get_by_text("The training is in the queue.").wait_for()
    page.evaluate("window.kept = true")
    progress = page.get_by_role("progressbar", name="Progress of train tubes")
    progress.wait_for(timeout=60_000)
    for _ in range(5):  # a click is lost where the page replaces the part under it at that moment
        if page.locator("details[open]").count():
            break
        page.get_by_text("Last lines of the log").click()
        page.wait_for_timeout(REFRESH_MS)
    page.get_by_role("link", name="Stop… train tubes").focus()
    page.locator("progress:not([value='0'])").wait_for(timeout=90_000)
    assert page.evaluate("document.activeElement.id").startswith("stop-"), "the focus stays"
    assert page.locator("details[open]").count() == 1, "an opened log stays open"
    assert serious(page) == []
    looked_at(page, "running-1280")
    page.set_viewport_size({"width": PHONE, "height": 740})
    looked_at(page, "running-360")
    page.get_by_text("hold: ").first.wait_for(timeout=240_000)
    assert page.evaluate("window.kept"), "the page was never reloaded"
    assert "train tubes done" in page.locator("#announcement").inner_text()


@pytest.mark.parametrize("name", PAGES)
def test_axe_finds_no_serious_violation(page: Page, admin: Any, name: str) -> None:
    page.goto(f"{admin.url}/admin{PAGES[name]}")
    for summary in page.locator("summary").all():
        summary.click()
    for width, scheme in ((WIDE, "dark"), (WIDE, "light"), (PHONE, "dark")):
        # Without transitions between the colour schemes: axe would measure the colours in between.
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        page.set_viewport_size({"width": width, "height": 800})
        assert serious(page) == []
        looked_at(page, f"{name}-{width}-{scheme}")
    page.set_viewport_size({"width": NARROW, "height": 640})
    assert page.evaluate("document.documentElement.scrollWidth") <= NARROW, "no element is wider than a small phone"


def test_all_controls_are_reached_and_left_by_keyboard(page: Page, admin: Any) -> None:
    page.goto(f"{admin.url}/admin/versions")
    wanted = page.locator("a, button, summary, input:not([type=hidden])").count()
    page.keyboard.press("Tab")
    first = page.evaluate(FOCUSED)
    assert first["text"] == "Skip to the content" and first["outline"] and first["tall"] > 20
    reached = [first]
    for _ in range(wanted - 1):
        page.keyboard.press("Tab")
        reached.append(page.evaluate(FOCUSED))
        assert reached[-1]["name"] in ("A", "BUTTON", "SUMMARY", "PRE") and reached[-1]["outline"], reached[-1]
    assert len({json.dumps(each) for each in reached}) == wanted
    page.keyboard.press("Tab")
    assert page.evaluate(FOCUSED)["name"] == "BODY", "the focus can leave the page"
    page.goto(f"{admin.url}/admin/versions")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"


def test_a_version_is_promoted_and_rolled_back_by_keyboard(page: Page, admin: Any) -> None:
    page.goto(f"{admin.url}/admin")
    page.get_by_role("link", name="Compare and decide").focus()
    page.keyboard.press("Enter")
    page.get_by_role("link", name="Promote…").press("Enter")
    assert serious(page) == []
    looked_at(page, "promote-1280")
    page.set_viewport_size({"width": PHONE, "height": 740})
    looked_at(page, "promote-360")
    served = page.locator("input[name=served]").input_value()
    page.get_by_role("button").press("Enter")
    page.get_by_text("The version is served, starting with the next image.").wait_for(timeout=60_000)
    page.get_by_role("link", name=f"Roll back to {served}").click()
    page.get_by_role("button", name=f"Serve {served}").press("Enter")
    page.get_by_text("The previous version is served again").wait_for(timeout=60_000)
    assert page.locator("main p strong").first.inner_text() == served


def test_the_queue_is_shown_without_scripts(browser: Browser, admin: Any) -> None:
    page = browser.new_context(java_script_enabled=False).new_page()
    page.goto(f"{admin.url}/admin")
    assert page.get_by_role("heading", name="Running").is_visible()
    page.get_by_role("link", name="Refresh").click()
    assert page.url == f"{admin.url}/admin" and not page.locator("#pause").is_visible()
    page.context.close()


def test_a_server_that_does_not_answer_is_reported_and_retried(browser: Browser, admin: Any) -> None:
    page, silent = browser.new_context().new_page(), threading.Event()
    silent.set()
    page.goto(f"{admin.url}/admin")
    page.route("**/admin/live", lambda route: route.fulfill(status=503) if silent.is_set() else route.continue_())
    page.get_by_text("the server does not answer").wait_for(timeout=10_000)
    silent.clear()
    page.get_by_text("every 2 s").wait_for(timeout=20_000)
    page.context.close()
