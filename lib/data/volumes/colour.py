"""Bring the channels of an image to the number that a task takes."""

from dataclasses import replace

import numpy as np

from lib.data.formats.volume import Volume

COLOURS = 3
LUMINANCE = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in a grey image (ITU-R BT.601)."""


def with_channels(volume: Volume, count: int) -> Volume:
    """Return an image with as many channels as a task takes.

    A colour image becomes grey for a task of one channel, as scanners store grey ultrasound and X-ray images in colour.
    Any other image is returned unchanged; `lib.data.validate` refuses a wrong number.
    """
    if count != 1 or len(volume.others) != COLOURS - 1:
        return volume
    channels = (volume.voxels, *volume.others)
    if all(np.array_equal(channels[0], other) for other in channels[1:]):
        return replace(volume, others=())
    grey = np.einsum("c...,c", np.stack(channels).astype(np.float32), np.array(LUMINANCE, np.float32))
    voxels = np.rint(grey) if volume.voxels.dtype.kind in "iu" else grey
    return replace(volume, voxels=voxels.astype(volume.voxels.dtype), others=())


def wrong_channels(found: int, wanted: int) -> tuple[str, str, str]:
    """Return code, reason and remedy for an image with a wrong number of channels."""
    reason = f"Each voxel holds {found} value{'s' * (found > 1)}, and this task takes {wanted}."
    if wanted == 1:
        return "WRONG_DIMENSION", reason, "Send a greyscale image, without vectors or complex numbers."
    return "WRONG_DIMENSION", reason, "Send a colour image without transparency (red, green, blue)."
