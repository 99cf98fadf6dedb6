"""Colour images for tasks that take one channel, and the other way round."""

import numpy as np

from lib.data.formats.volume import Volume
from lib.data.volumes.colour import with_channels, wrong_channels

RNG = np.random.default_rng(0)


def photograph(equal: bool) -> Volume:
    first, *others = (RNG.integers(0, 255, (6, 5), np.uint8) for _ in range(3))
    return Volume(first, np.eye(4), None, (first, first) if equal else tuple(others))


def test_a_grey_image_stored_in_colour_keeps_its_values() -> None:
    image = photograph(equal=True)
    grey = with_channels(image, 1)
    assert not grey.others and grey.voxels is image.voxels


def test_a_colour_image_becomes_its_luminance() -> None:
    image = photograph(equal=False)
    grey = with_channels(image, 1)
    expected = 0.299 * image.voxels + 0.587 * image.others[0] + 0.114 * image.others[1]
    assert not grey.others and grey.voxels.dtype == np.uint8 and np.allclose(grey.voxels, expected, atol=0.51)


def test_other_images_are_returned_unchanged() -> None:
    colour, grey = photograph(equal=False), Volume(np.zeros((6, 5), np.uint8), np.eye(4))
    assert with_channels(colour, 3) is colour and with_channels(grey, 1) is grey and with_channels(grey, 3) is grey


def test_the_message_names_both_numbers() -> None:
    assert wrong_channels(4, 3)[1] == "Each voxel holds 4 values, and this task takes 3."
    assert wrong_channels(1, 3)[1] == "Each voxel holds 1 value, and this task takes 3."
