"""A label drawn over its image: in radiological orientation and in both sizes, or refused."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lib.server.admin.draw import draw
from tests.data.scintigraphy.conftest import make_counts, write_scan


def coloured(path: Path) -> np.ndarray:
    """Return a mask of the pixels that have a colour other than grey."""
    pixels = np.asarray(Image.open(path).convert("RGB")).astype(int)
    return pixels.max(-1) - pixels.min(-1) > 60


def test_the_picture_and_its_preview_are_drawn(tmp_path: Path, make_ct: Callable, write_nifti: Callable) -> None:
    hu, label = make_ct(0)
    files = write_nifti(hu, tmp_path / "ct.nii.gz"), write_nifti(label, tmp_path / "label.nii.gz")
    draw(*files, tmp_path / "made" / "it", labels={"tube": 1, "cavity": 2}, title="<ct_0> $x$")
    full, small = tmp_path / "made" / "it.png", tmp_path / "made" / "it-small.png"
    assert coloured(full).any() and coloured(small).any()
    assert Image.open(small).size[0] == 720 and small.stat().st_size < 200_000


def test_rings_are_drawn_at_the_positions_of_findings(
    tmp_path: Path, make_ct: Callable, write_nifti: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    hu, label = make_ct(0)
    affine = np.array([[-2.0, 0, 0, 70], [0, 2, 0, 0], [0, 0, 2, 5], [0, 0, 0, 1]])
    files = write_nifti(hu, tmp_path / "ct.nii.gz", affine), write_nifti(label, tmp_path / "label.nii.gz", affine)
    seen: list = []

    def write(path: Path, *_: object, spots: list, **__: object) -> None:
        seen.extend(spots)
        Image.new("RGB", (8, 8)).save(path)

    monkeypatch.setattr("lib.server.admin.draw.write_overlay", write)
    draw(*files, tmp_path / "it", labels={"tube": 1}, title="", spots=[{"ras_mm": [60, 20, 25], "text": "1 BREAK"}])
    # The file's first axis points to the left: its voxel 5 is the 31st from the patient's left.
    assert (seen[0].text, [round(each, 6) for each in seen[0].place]) == ("1 BREAK", [30, 10, 10])


def test_a_2d_image_and_an_empty_label_are_drawn(tmp_path: Path, make_ct: Callable, write_nifti: Callable) -> None:
    hu = make_ct(0)[0][..., 8]
    files = write_nifti(hu, tmp_path / "ct.nii.gz"), write_nifti(np.zeros_like(hu, np.uint8), tmp_path / "no.nii.gz")
    draw(*files, tmp_path / "it", labels={"tube": 1}, title="a plane")
    assert (tmp_path / "it.png").is_file()


def test_a_label_with_another_grid_is_refused(tmp_path: Path, make_ct: Callable, write_nifti: Callable) -> None:
    hu, label = make_ct(0)
    files = write_nifti(hu, tmp_path / "ct.nii.gz"), write_nifti(label[1:], tmp_path / "label.nii.gz")
    with pytest.raises(ValueError, match="both must be equal"):
        draw(*files, tmp_path / "it", labels={"tube": 1}, title="it")
    assert not list(tmp_path.glob("*it*.png"))


def test_a_standard_scan_is_drawn_beside_its_rapid_scan(tmp_path: Path) -> None:
    rapid = write_scan(tmp_path / "rapid.dcm", make_counts())
    standard = write_scan(tmp_path / "standard.dcm", make_counts(seed=1) + make_counts(seed=2), ScanVelocity=2.5)
    draw(rapid, standard, tmp_path / "it", labels={}, title="a child")
    assert Image.open(tmp_path / "it.png").size == (4 * 24, 48) and (tmp_path / "it-small.png").is_file()
    with pytest.raises(ValueError, match="PAIR_COUNTS"):
        draw(standard, rapid, tmp_path / "other", labels={}, title="")
