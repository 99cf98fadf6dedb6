"""Scans side by side, dark where counts are many, on one scale."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

FULL_PERCENTILE = 99.5
GAMMA = 0.6
"""Soft tissue is seen beside bone."""


def side_by_side(scans: Sequence[NDArray[Any]]) -> Image.Image:
    """Return all views of scans next to each other, as grey values.

    Args:
        scans: ``(V, H, W)`` each, on one level of counts and of one height; the last sets the scale.
    """
    full = max(float(np.percentile(scans[-1], FULL_PERCENTILE)), 1.0)
    views = [255 * (1 - np.clip(view / full, 0, 1) ** GAMMA) for scan in scans for view in scan]
    return Image.fromarray(np.concatenate(views, 1).astype(np.uint8))
