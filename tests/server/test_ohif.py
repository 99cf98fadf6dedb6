"""OHIF in a real browser on a real Orthanc: what is seen is what the server sent, and nothing on the screen is dead."""

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
from lib.jobs.queue.job import GOING

ROOT = Path(__file__).resolve().parents[2]
SHOTS = ROOT / "build" / "screenshots"
CHROMIUM = shutil.which("chromium")
GRAPHICS = ["--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist"]
PATIENTS = ("Anna", "Bert")
SECONDS = 180
PARTS = {"larynx": 4, "nasal_cavity": 1, "pharynx": 3, "sinuses": 2, "trachea": 5}
MASK = """() => {
    const {id} = window.services.segmentationService.getSegmentations()[0];
    const name = id ?? [...window.cornerstone.cache._volumeCache.keys()].find(key => !key.startsWith("corner"));
    const {volume} = window.cornerstone.cache._volumeCache.get(name);
    return [volume.dimensions, Array.from(volume.getScalarData().keys()).filter(n => volume.getScalarData()[n])
        .map(n => [n, volume.getScalarData()[n]])];
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
    """An Orthanc with the sample study as two patients'."""
    image = min((ROOT / "sample-data" / "studies").glob("*.nii.gz"))
    with orthanc(tmp_path_factory.mktemp("orthanc")) as archive:
        for patient in PATIENTS:
            archive.store(ct_series(image, patient))
        yield archive


@pytest.fixture(scope="module")
def airway(archive: Archive, launch: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The airway app as it is shipped, on that archive."""
    where = tmp_path_factory.mktemp("ohif")
    made = shutil.ignore_patterns("model", "records", "logs", "bin", "lib", "__pycache__")
    shutil.copytree(ROOT / "apps" / "airway", where / "airway", ignore=made)

    def command(app: Path, studies: str, port: int) -> list[str]:
        return [sys.executable, "-m", "lib", "serve", str(app), "--studies", studies, "--port", str(port)]

    return launch(command, where / "airway", archive.dicomweb, where)


@pytest.fixture(scope="module")
def page(airway: Any) -> Iterator[Page]:
    """OHIF with the study that the server prints at its start, connected."""
    found = re.search(r"OHIF: (\S+)", airway.log.read_text())
    assert found, airway.log.read_text()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", *GRAPHICS])
        page = browser.new_page(viewport={"width": 1600, "height": 1000})
        page.set_default_timeout(1000 * SECONDS)
        page.goto(found[1])
        page.locator("[data-cy=confirm-and-hide-button]").click()
        page.locator("[data-cy=viewport-overlay-bottom-right]").nth(2).get_by_text("/").wait_for()
        page.locator("#monailabelServerURL").locator("xpath=ancestor::tr").locator("button").click()
        page.get_by_title("Run Segmentation", exact=True).wait_for()
        yield page
        browser.close()


def shoot(page: Page, name: str) -> None:
    SHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SHOTS / f"{name}.png")


def run(page: Page, title: str) -> Response:
    """Press one of the panel's buttons called Run; return the server's answer, shown."""
    with page.expect_response(lambda response: "/infer/" in response.url) as answer:
        page.get_by_title(title, exact=True).click()
    assert answer.value.ok, answer.value.text()
    page.get_by_text(re.compile("Successful")).first.wait_for()
    return answer.value


def seen(page: Page) -> tuple[np.ndarray, dict[str, int]]:
    """Return the viewer's mask ``(X, Y, Z)``, in the viewer's numbers, and what they mean."""
    shape, labelled = page.evaluate(MASK)
    mask = np.zeros(int(np.prod(shape)), np.uint8)
    for place, value in labelled:
        mask[place] = value
    return mask.reshape(shape, order="F"), dict(page.evaluate(SEGMENTS))


def sent(response: Response) -> np.ndarray:
    """Return the mask ``(X, Y, Z)`` of a multipart answer: its NRRD is neither compressed nor anything but uint8."""
    body = response.body()
    start = body.index(b"NRRD000")
    header, raw = body[start:].split(b"\n\n", 1)
    shape = [int(n) for n in re.search(rb"sizes: (\d+) (\d+) (\d+)", header).groups()]  # type: ignore[union-attr]
    assert b"encoding: raw" in header and re.search(rb"type: (uint8|unsigned char)", header)
    return np.frombuffer(raw[: int(np.prod(shape))], np.uint8).reshape(shape, order="F")


def choose(page: Page, model: str, label: str) -> None:
    """Open the point prompts, choose a model and a label's row."""
    page.locator("label[for=tab-3]").click()
    panel = page.locator("label[for=tab-3] + div")
    panel.locator("select").select_option(model)
    panel.get_by_role("cell", name=label).first.click()


def click(page: Page, across: float, down: float) -> None:
    """Click into the axial view, at parts of its width and height."""
    box = page.locator("[data-cy=viewport-pane]").first.bounding_box()
    assert box
    page.mouse.click(box["x"] + across * box["width"], box["y"] + down * box["height"])


def test_the_proposal_is_seen_as_it_was_sent(page: Page, airway: Any) -> None:
    mask = sent(run(page, "Run Segmentation"))
    shown, numbers = seen(page)
    shoot(page, "ohif-proposal")
    assert set(np.unique(mask)) >= {0, PARTS["nasal_cavity"], PARTS["sinuses"], PARTS["pharynx"]}
    for name, value in PARTS.items():
        assert np.array_equal(shown == numbers[name], mask == value), name


def test_clicks_mend_a_part_of_the_proposal(page: Page) -> None:
    before, numbers = seen(page)
    choose(page, "sam_lora_labels", "sinuses")
    click(page, 0.5, 0.405)
    answer = run(page, "Run PointPrompts")
    shown, _ = seen(page)
    shoot(page, "ohif-mended")
    assert '"sinuses":[[' in (answer.request.post_data or "")
    new = sent(answer) == PARTS["sinuses"]
    assert new.any() and np.array_equal(shown == numbers["sinuses"], new), "the part that was clicked is the answer's"
    others = before != numbers["sinuses"]
    assert np.array_equal(shown[others & ~new], before[others & ~new]), "nothing else moved"


@pytest.mark.parametrize("model", ["sam_lora_2d", "sam_lora_3d"])
def test_points(page: Page, model: str) -> None:
    page.get_by_text("Clear All Points").click()
    choose(page, model, "airway")
    click(page, 0.5, 0.405)
    answer = run(page, "Run PointPrompts")
    shown, numbers = seen(page)
    shoot(page, f"ohif-{model}")
    mask = sent(answer) > 0
    slices = np.flatnonzero(mask.any((0, 1)))
    assert len(slices) == 1 if model == "sam_lora_2d" else len(slices) > 3
    assert np.array_equal(shown == numbers["airway"], mask)


def test_next_sample_is_the_study_without_a_label(page: Page, airway: Any, archive: Archive) -> None:
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


def test_update_model_queues_what_is_due_and_stops_it(page: Page, airway: Any) -> None:
    page.locator("#monailabelServerURL").locator("xpath=ancestor::tr").locator("button").click()
    page.locator("label[for=tab-1]").click()
    with page.expect_response(lambda response: response.url.rstrip("/").endswith("/train")) as told:
        page.get_by_role("button", name="Update Model").click()
    assert told.value.ok, told.value.text()
    page.get_by_text("Model update task STARTED").wait_for()
    going = [job for job in Queue(airway.app).jobs.list() if job.status in GOING]
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
