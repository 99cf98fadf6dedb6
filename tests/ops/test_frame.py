"""Frames contain their boxes, resample images and paste values back."""

import pytest
import torch

from lib.ops.frame import MIN_SIDE_MM, SIDE_RATIO, Box, Frame

BOXES: list[Box] = [(0, 0, 0, 0), (10, 20, 30, 25), (-5, 100, 90, 140), (12.3, 4.5, 67.8, 300.1)]


@pytest.mark.parametrize("box", BOXES)
@pytest.mark.parametrize("margin", [1.0, 1.3])
def test_a_frame_contains_its_box_with_a_margin_and_has_a_side_of_the_series(box: Box, margin: float) -> None:
    frame = Frame.enclosing(box, margin)
    assert frame.contains(box)
    extent = max(box[2] - box[0], box[3] - box[1])
    assert frame.side_mm >= margin * extent
    steps = torch.tensor(frame.side_mm / MIN_SIDE_MM).log() / torch.tensor(SIDE_RATIO).log()
    assert abs(float(steps) - round(float(steps))) < 1e-4


def test_a_small_change_of_the_box_keeps_the_frame() -> None:
    frames = {Frame.enclosing((42 + i / 4, 43, 82, 85 + i / 4), 1.3) for i in range(4)}
    assert len(frames) == 1


def test_resampling_at_the_pixels_returns_that_part_of_the_image() -> None:
    image = torch.rand(64, 64)
    frame = Frame(row_mm=31.5, column_mm=31.5, side_mm=32.0)  # pixels 16 to 47 of 1 mm
    assert torch.allclose(frame.resample(image, (1.0, 1.0), 32), image[16:48, 16:48], atol=1e-6)


def test_resample_and_paste_restore_a_linear_image() -> None:
    rows, columns = torch.meshgrid(torch.arange(90.0), torch.arange(70.0), indexing="ij")
    image, spacing = 2 * rows - columns, (0.8, 1.1)
    frame = Frame.enclosing((20, 20, 50, 60))
    back = frame.paste(frame.resample(image, spacing, 128), image.shape, spacing, outside=-999.0)
    inside = torch.zeros_like(image, dtype=torch.bool)
    top, left, bottom, right = (edge / mm for edge, mm in zip(frame.box, (*spacing, *spacing), strict=True))
    inside[int(top) + 2 : int(bottom) - 1, int(left) + 2 : int(right) - 1] = True
    assert torch.allclose(back[inside], image[inside], atol=1e-2)
    assert (back[:5] == -999).all() and (back[:, -1] == -999).all()


def test_resampling_averages_pixels_that_are_finer_than_the_samples() -> None:
    checkers = (torch.arange(256)[:, None] + torch.arange(256)) % 2
    frame = Frame(row_mm=127.5, column_mm=127.5, side_mm=128.0)
    assert (frame.resample(checkers.float(), (1.0, 1.0), 16) - 0.5).abs().max() < 0.02


def test_resampling_repeats_the_border_outside_the_image() -> None:
    frame = Frame(row_mm=0.0, column_mm=0.0, side_mm=40.0)
    shown = frame.resample(torch.full((30, 30), 0.7), (1.0, 1.0), 32)
    assert torch.allclose(shown, torch.tensor(0.7))


def test_converted_points_mark_the_same_pixel() -> None:
    image, spacing = torch.zeros(100, 120), (0.7, 0.9)
    image[33, 81] = 1
    frame = Frame.enclosing((10, 50, 40, 90))
    row, column = frame.to_samples(torch.tensor([33.0, 81.0]), spacing, 256).round().int().tolist()
    shown = frame.resample(image, spacing, 256)
    assert shown[row, column] > 0.9 * shown.max()


def test_pasting_a_frame_outside_the_image_changes_no_pixel() -> None:
    frame = Frame(row_mm=500.0, column_mm=0.0, side_mm=32.0)
    assert (frame.paste(torch.ones(8, 8), (50, 50), (1.0, 1.0), outside=-1.0) == -1).all()
