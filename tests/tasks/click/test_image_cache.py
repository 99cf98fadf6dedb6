"""Unchanged images are read once and identified by their content."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lib.data.findings import InputRejected
from lib.data.intensity import Scale
from lib.data.pipeline import ImageSpec
from lib.tasks.click import image_cache as module
from lib.tasks.click.image_cache import ImageCache
from tests.tasks.click.taught import write_scan

SPEC = ImageSpec((2.0, 2.0, 2.0), (200.0, -1000.0), (64, 64))


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    done: list[Path] = []
    real = module.check
    monkeypatch.setattr(module, "check", lambda path, **how: (done.append(path), real(path, **how))[1])
    return done


def test_a_file_is_read_and_checked_once(scans: list[Path], reads: list[Path]) -> None:
    volumes = ImageCache(SPEC)
    assert volumes.open(scans[0]) is volumes.open(str(scans[0])) and len(reads) == 1


def test_a_changed_file_is_read_again(tmp_path: Path, reads: list[Path]) -> None:
    volumes, path = ImageCache(SPEC), write_scan(0, tmp_path / "a.nii")
    before = volumes.open(path)
    write_scan(1, path)
    os.utime(path, ns=(1, 1))
    assert volumes.open(path).digest != before.digest and len(reads) == 2


def test_the_digest_depends_on_content_and_geometry_only(tmp_path: Path, scans: list[Path]) -> None:
    copy = Path(shutil.copy(scans[0], tmp_path / "upload.nii.gz"))
    turned = write_scan(0, tmp_path / "turned.nii.gz", np.diag([-2.0, 2, 2, 1]))
    volumes = ImageCache(SPEC)
    digests = [volumes.open(path).digest for path in (scans[0], copy, turned, scans[1])]
    assert digests[0] == digests[1] and len(set(digests)) == 3, "another geometry gives another digest"


def test_images_above_the_limit_are_evicted(scans: list[Path], reads: list[Path]) -> None:
    volumes = ImageCache(SPEC, max_bytes=ImageCache(SPEC).open(scans[0]).stack.nbytes * 3 // 2)
    for path in (scans[0], scans[1], scans[0]):
        volumes.open(path)
    assert len(reads) == 4


def test_images_that_the_input_gate_rejects_are_not_opened(tmp_path: Path) -> None:
    (tmp_path / "text.nii.gz").write_text("no image")
    for path in (tmp_path / "text.nii.gz", tmp_path / "nowhere.nii.gz"):
        with pytest.raises(InputRejected):
            ImageCache(SPEC).open(path)


def test_an_image_has_the_scale_of_the_task(scans: list[Path]) -> None:
    assert ImageCache(SPEC).open(scans[0]).scales == (Scale(200.0, -1000.0),)
    other = ImageSpec((2.0, 2.0, 2.0), (0.0, 1.0), (64, 64), intensity="percentile", modality="any")
    (scale,) = ImageCache(other).open(scans[0]).scales
    assert scale.low < scale.high and not scale.standardised


def test_a_colour_image_keeps_three_channels_which_the_digest_covers(tmp_path: Path) -> None:
    colours = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    other = colours.copy()
    other[0, 0, 2] ^= 1
    spec = ImageSpec((1.0, 1.0, 1.0), (0.0, 1.0), (64, 64), intensity="unit", modality="RGB")
    for name, pixels in (("a", colours), ("b", other)):
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    one, two = (ImageCache(spec).open(tmp_path / f"{name}.png") for name in "ab")
    assert one.digest != two.digest and one.scales == (Scale(0.0, 255.0),) * 3
    _, row, column = one.stack.plane_position((5, 7, 0))
    assert one.stack.plane(0)[:, row, column].tolist() == colours[7, 5].tolist()
