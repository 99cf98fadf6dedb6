"""Draw scans side by side on one grey scale; many counts are dark."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

FULL_PERCENTILE = 99.5
GAMMA = 0.6
"""Exponent of the grey scale, so that soft tissue is visible as well as bone."""


def side_by_side(scans: Sequence[NDArray[Any]]) -> Image.Image:
    """Return all views of the scans in one row.

    Args:
        scans: Scans ``(V, H, W)`` with one level of counts and the same height; the last scan sets the grey scale.
    """
    full = max(float(np.percentile(scans[-1], FULL_PERCENTILE)), 1.0)
    views = [255 * (1 - np.clip(view / full, 0, 1) ** GAMMA) for scan in scans for view in scan]
    return Image.fromarray(np.concatenate(views, 1).astype(np.uint8))
