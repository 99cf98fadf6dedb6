"""OHIF in a real browser on a real Orthanc: the viewer shows what the server sent, and all controls work."""

import re
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from archive import INSTALL, Archive, ct_series, installed, orthanc
from playwright.sync_api import Page, Response, sync_playwright

from lib.jobs.queue.broker import Queue
from lib.jobs.queue.job import UNFINISHED

ROOT = Path(__file__).resolve().parents[3]
SHOTS = ROOT / "build" / "screenshots"
CHROMIUM = shutil.which("chromium")
GRAPHICS = ["--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist"]
PATIENTS = ("Anna", "Bert")
SECONDS = 180
SETTLE_MS = 1500
"""The panel redraws its rows after a selection without any event that marks the end."""
PARTS = {"larynx": 4, "nasal_cavity": 1, "pharynx": 3, "sinuses": 2, "trachea": 5}
MASK = """() => {
    const volume = window.services.segmentationService.getLabelmapVolume("1"), labelled = [];
    volume.voxelManager.getCompleteScalarDataArray().forEach((value, place) => {
        if (value) labelled.push([place, value]);
    });
    return [volume.dimensions, labelled];
}"""
COUNT = """() => {
    window.shown = 0;
    const event = window.cornerstoneTools.Enums.Events.SEGMENTATION_DATA_MODIFIED;
    window.cornerstone.eventTarget.addEventListener(event, () => { window.shown += 1; });
}"""
SEGMENTS = """() => Object.values(window.services.segmentationService.getSegmentations()[0].segments)
    .filter(Boolean).map(each => [each.label, each.segmentIndex])"""
pytestmark = [
    pytest.mark.server,
    pytest.mark.browser,
    pytest.mark.skipif(not installed(), reason=f"Orthanc is not here: {INSTALL}"),
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not here: apt-get install chromium"),
]


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    """An Orthanc with the sample study stored for two patients."""
    image = min((ROOT / "sample-data" / "studies").glob("*.nii.gz"))
    with orthanc(tmp_path_factory.mktemp("orthanc")) as archive:
        for patient in PATIENTS:
            archive.store(ct_series(image, patient))
        yield archive


@pytest.fixture(scope="module")
def airway(archive: Archive, launch: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A server of the unmodified airway app on that archive."""
    where = tmp_path_factory.mktemp("ohif")
    made = shutil.ignore_patterns("model", "records", "logs", "bin", "lib", "__pycache__")
    shutil.copytree(ROOT / "apps" / "airway", where / "airway", ignore=made)

    def command(app: Path, studies: str, port: int) -> list[str]:
        return [sys.executable, "-m", "lib", "serve", str(app), "--studies", studies, "--port", str(port)]

    return launch(command, where / "airway", archive.dicomweb, where)


@pytest.fixture(scope="module")
def page(airway: Any) -> Iterator[Page]:
    """OHIF with the study that the server prints at its start, connected to the server."""
    found = re.search(r"OHIF: (\S+)", airway.log.read_text())
    assert found, airway.log.read_text()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", *GRAPHICS])
        page = browser.new_page(viewport={"width": 1600, "height": 1000})
        page.set_default_timeout(1000 * SECONDS)
        page.goto(found[1])
        page.locator("[data-cy=confirm-and-hide-button]").click()
        for view in range(3):  # every view shows a slice number when the volume is loaded
            page.locator("[data-cy=viewport-overlay-bottom-right]").nth(view).get_by_text(
                re.compile(r"\d/\d")
            ).wait_for()
        try:
            connect(page)
        finally:
            shoot(page, "ohif-connected")
        page.evaluate(COUNT)
        yield page
        browser.close()


def shoot(page: Page, name: str) -> None:
    SHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SHOTS / f"{name}.png")


def connect(page: Page) -> None:
    """Press the button beside the server's address and wait for the list of models."""
    with page.expect_response(lambda response: response.url.endswith("/info/")) as response:
        page.locator("#monailabelServerURL").locator("xpath=ancestor::tr").locator("button").click()
    assert response.value.ok
    page.get_by_role("button", name="Next Sample").wait_for(state="attached", timeout=60_000)


def run(page: Page, title: str) -> Response:
    """Press a Run button of the panel and return the server's answer after it is shown."""
    before = page.evaluate("() => window.shown")
    with page.expect_response(lambda response: "/infer/" in response.url) as answer:
        page.get_by_title(title, exact=True).click()
    assert answer.value.ok, answer.value.text()
    page.wait_for_function("before => window.shown > before", arg=before)
    return answer.value


def seen(page: Page) -> tuple[np.ndarray, dict[str, int]]:
    """Return the viewer's mask ``(X, Y, Z)`` with the viewer's label values, and the names of the values."""
    shape, labelled = page.evaluate(MASK)
    mask = np.zeros(int(np.prod(shape)), np.uint8)
    for place, value in labelled:
        mask[place] = value
    return mask.reshape(shape, order="F"), dict(page.evaluate(SEGMENTS))


def sent(response: Response) -> np.ndarray:
    """Return the mask ``(X, Y, Z)`` of a multipart answer, an uncompressed NRRD of uint8."""
    body = response.body()
    start = body.index(b"NRRD000")
    header, raw = body[start:].split(b"\n\n", 1)
    shape = [int(n) for n in re.search(rb"sizes: (\d+) (\d+) (\d+)", header).groups()]  # type: ignore[union-attr]
    assert b"encoding: raw" in header and re.search(rb"type: (uint8|unsigned char)", header)
    return np.frombuffer(raw[: int(np.prod(shape))], np.uint8).reshape(shape, order="F")


def choose(page: Page, model: str, label: str) -> None:
    """Open the point prompts, select a model and the row of a label."""
    page.locator("label[for=tab-3]").click()
    panel = page.locator("label[for=tab-3] + div")
    panel.locator("select").select_option(model)
    page.wait_for_timeout(SETTLE_MS)
    panel.get_by_role("cell", name=label).first.click()
    page.wait_for_timeout(SETTLE_MS)


def click(page: Page, across: float, down: float) -> None:
    """Click into the axial view, at fractions of its width and height."""
    box = page.locator("[data-cy=viewport-pane]").first.bounding_box()
    assert box
    page.mouse.click(box["x"] + across * box["width"], box["y"] + down * box["height"], delay=100)
    page.wait_for_function("() => window.cornerstoneTools.annotation.state.getAllAnnotations().length > 0")
    page.wait_for_timeout(SETTLE_MS)


def mended(before: np.ndarray, number: int, mask: np.ndarray) -> np.ndarray:
    """Return the mask that OHIF makes of an answer to points: other segments stay unchanged."""
    free = (before == 0) | (before == number)
    return np.where(free, np.where(mask, number, 0), before)


@pytest.mark.parametrize("model", ["sam_lora_2d", "sam_lora_3d"])
def test_points(page: Page, model: str) -> None:
    before, _ = seen(page)
    choose(page, model, "airway")
    click(page, 0.5, 0.405)
    answer = run(page, "Run PointPrompts")
    shown, numbers = seen(page)
    shoot(page, f"ohif-{model}")
    mask = sent(answer) > 0
    slices = np.flatnonzero(mask.any((0, 1)))
    assert len(slices) == 1 if model == "sam_lora_2d" else len(slices) > 3
    assert np.array_equal(shown, mended(before, numbers["airway"], mask))
    assert np.array_equal(shown == numbers["airway"], mask)
    page.get_by_text("Clear All Points").click()


def test_the_viewer_shows_the_proposal_that_was_sent(page: Page) -> None:
    page.locator("label[for=tab-2]").click()
    mask = sent(run(page, "Run Segmentation"))
    shown, numbers = seen(page)
    shoot(page, "ohif-proposal")
    assert set(np.unique(mask)) >= {0, PARTS["nasal_cavity"], PARTS["sinuses"], PARTS["pharynx"]}
    for name, value in PARTS.items():
        assert np.array_equal(shown == numbers[name], mask == value), name


def test_clicks_correct_a_part_of_the_proposal(page: Page) -> None:
    before, numbers = seen(page)
    choose(page, "sam_lora_labels", "sinuses")
    click(page, 0.5, 0.405)
    answer = run(page, "Run PointPrompts")
    shown, _ = seen(page)
    shoot(page, "ohif-mended")
    assert '"sinuses":[[' in (answer.request.post_data or "")
    mask = sent(answer) == PARTS["sinuses"]
    assert mask.any() and np.array_equal(shown, mended(before, numbers["sinuses"], mask))


def test_next_sample_is_the_unlabelled_study(page: Page, airway: Any, archive: Archive) -> None:
    first = re.search(r"StudyInstanceUIDs=([\d.]+)", page.url)
    assert first
    studies = requests.get(f"{archive.dicomweb}/series", timeout=30).json()
    series = {each["0020000D"]["Value"][0]: each["0020000E"]["Value"][0] for each in studies}
    label(airway.url, series[first[1]])
    page.locator("label[for=tab-1]").click()
    page.get_by_role("button", name="Next Sample").click()
    form = page.locator(".nextSampleForm")
    (other,) = set(series) - {first[1]}
    form.get_by_text(other).wait_for()
    shoot(page, "ohif-next-sample")
    page.once("dialog", lambda dialog: dialog.accept())
    form.get_by_role("button", name="OK").click()
    page.wait_for_url(f"**StudyInstanceUIDs={other}")


def test_update_model_queues_a_training_and_stops_it(page: Page, airway: Any) -> None:
    connect(page)
    page.locator("label[for=tab-1]").click()
    with page.expect_response(lambda response: response.url.rstrip("/").endswith("/train")) as response:
        page.get_by_role("button", name="Update Model").click()
    assert response.value.ok, response.value.text()
    page.get_by_text("Model update task STARTED").wait_for()
    going = [job for job in Queue(airway.app).jobs.list() if job.status in UNFINISHED]
    assert going
    shoot(page, "ohif-update-model")
    page.get_by_role("button", name="Stop Training").click()
    page.get_by_text("Model update task STOPPED").wait_for()


def label(url: str, series: str) -> None:
    """Save the server's own proposal as the final label of a series."""
    params = {"params": '{"result_extension": ".nii.gz"}'}
    answer = requests.post(f"{url}/infer/topowmamba?image={series}&output=image", data=params, timeout=SECONDS)
    assert answer.ok, answer.text
    sent = {"label": ("label.nii.gz", answer.content)}
    saved = requests.put(f"{url}/datastore/label?image={series}&tag=final", files=sent, timeout=SECONDS)
    assert saved.ok, saved.text
