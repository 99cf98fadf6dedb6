"""Pictures of labels and plots, only from data in the ledger and the store."""

from io import BytesIO
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from lib.server.admin.pictures import PLOTS, stamp

HOSTILE = "<img src=x onerror=alert(1)>"


def digest(history: Any, image: str) -> str:
    return history.app.ledger.rows("label", image)[-1].body["label"]


def test_a_label_is_drawn_over_its_image(lived: Any, browse: TestClient) -> None:
    sizes = []
    for small in ("false", "true"):
        address = {"image": HOSTILE, "label": digest(lived, HOSTILE), "small": small}
        answer = browse.get("/admin/overlay.png", params=address)
        assert answer.status_code == 200 and answer.headers["content-type"] == "image/png"
        assert "immutable" in answer.headers["cache-control"]
        sizes.append(Image.open(BytesIO(answer.content)).size[0])
    assert sizes == [1950, 720]


@pytest.mark.parametrize(
    ("image", "label", "status", "code"),
    [
        ("ct_0", "f" * 64, 404, "NO_SUCH_LABEL"),
        ("unknown", None, 404, "NO_SUCH_LABEL"),
        (HOSTILE, None, 404, "NO_SUCH_LABEL"),
        ("../ct_0", None, 400, "BAD_NAME"),
        ("/etc/hostname", None, 400, "BAD_NAME"),
        ("ct_0", "../../app.toml", 400, "BAD_NAME"),
    ],
)
def test_a_label_that_is_not_in_the_ledger_is_not_drawn(
    lived: Any, browse: TestClient, image: str, label: str | None, status: int, code: str
) -> None:
    params = {"image": image, "label": digest(lived, "ct_0") if label is None else label}
    answer = browse.get("/admin/overlay.png", params=params)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_a_label_is_not_drawn_over_a_changed_image(lived: Any, browse: TestClient) -> None:
    params = {"image": "ct_0", "label": digest(lived, "ct_0")}
    lived.write(lived.make_ct(9)[0], Path(lived.app.studies) / "ct_0.nii.gz")
    answer = browse.get("/admin/overlay.png", params=params)
    assert (answer.status_code, answer.json()["code"]) == (409, "OTHER_IMAGE")


def test_a_missing_label_file_is_refused(lived: Any, browse: TestClient) -> None:
    for name in lived.app.ledger.rows("label", "ct_0")[-1].body["files"]:
        (Path(lived.app.app_dir) / name).unlink()
    answer = browse.get("/admin/overlay.png", params={"image": "ct_0", "label": digest(lived, "ct_0")})
    assert (answer.status_code, answer.json()["code"]) == (404, "GONE")


@pytest.mark.parametrize("theme", ["dark", "light"])
@pytest.mark.parametrize("kind", PLOTS)
def test_plots_are_svg_also_without_history(history: Any, browse: TestClient, kind: str, theme: str) -> None:
    answer = browse.get(f"/admin/plots/{kind}/tubes.svg?theme={theme}")
    assert answer.status_code == 200 and answer.headers["content-type"] == "image/svg+xml"
    assert ElementTree.fromstring(answer.text).tag.endswith("svg")


@pytest.mark.parametrize("address", ["other/tubes.svg", "drift/other.svg", "drift/tubes.svg?theme=pink"])
def test_unknown_plots_are_refused(browse: TestClient, address: str) -> None:
    assert browse.get(f"/admin/plots/{address}").status_code == 404


def test_the_stamp_changes_with_the_data() -> None:
    assert stamp((1, 2)) == stamp((1, 2)) != stamp((1, 3))
