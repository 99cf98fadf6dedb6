"""Compute the ground truth of one case: topology of the label and centrelines of the airway."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.measure import euler_number

from lib.data.phantom.anatomy.canvas import IGNORE, PARTS
from lib.data.phantom.anatomy.nose import draw_passages
from lib.data.phantom.anatomy.streams import Streams
from lib.data.phantom.anatomy.throat import CARINA_Z, CRICOID_Z, draw_throat, trachea_axis
from lib.data.phantom.pose import Pose
from lib.data.phantom.view import View

_FULL = np.ones((3, 3, 3), bool)


def _count(mask: NDArray[np.bool_], structure: NDArray[np.bool_] | None = None) -> int:
    pieces = np.zeros(mask.shape, np.int32)
    ndimage.label(mask, structure, output=pieces)
    return int(pieces.max())


def count_betti(mask: NDArray[np.bool_]) -> dict[str, int]:
    """Return the numbers of components (26-connected), loops and enclosed cavities of a mask ``(X, Y, Z)``."""
    components = _count(mask, _FULL)
    cavities = _count(~np.pad(mask, 1)) - 1
    return {"components": components, "loops": components + cavities - int(euler_number(mask, 3)), "cavities": cavities}


def describe_topology(label: NDArray[np.uint8], spacing_mm: tuple[float, float, float]) -> dict[str, object]:
    """Return the Betti numbers of the whole airway, and Betti numbers and volume of each part in the label.

    Args:
        label: Part codes, ``(X, Y, Z)``; ignored voxels count as background.
        spacing_mm: Voxel spacing, ``(3,)`` in mm.
    """
    union = (label > 0) & (label != IGNORE)
    boxes = ndimage.find_objects(union.astype(np.uint8))
    cut = tuple(slice(max(b.start - 1, 0), b.stop + 1) for b in boxes[0]) if boxes else (slice(0, 1),) * 3
    small, voxel_ml = label[cut], float(np.prod(spacing_mm)) / 1000
    found = np.unique(small)
    parts = {
        name: {**count_betti(small == code), "volume_ml": round(float((small == code).sum()) * voxel_ml, 3)}
        for name, code in PARTS.items()
        if code in found
    }
    ignored = round(float((label == IGNORE).sum()) * voxel_ml, 3)
    whole: dict[str, object] = dict(count_betti(union[cut]))
    return whole | {"parts": parts, "branches": sorted(parts), "ignored_ml": ignored}


def canonical_centreline(streams: Streams) -> dict[str, NDArray[np.float64]]:
    """Return polylines through the airway from the nostrils to the carina, in canonical mm, ``(n, 3)`` each."""
    lines: dict[str, NDArray[np.float64]] = {}
    for name, passage in zip(("nasal_left", "nasal_right"), draw_passages(streams), strict=True):
        nose = [(passage.sign * 7.0, 108.0, -12.0), (passage.sign * 6.0, 104.0, -4.0)]
        nose += [passage.gap_centre(float(y), -8.0) for y in np.arange(96, 48, -3)]
        lines[name] = np.array([*nose, (0.0, 40.0, -4.0)])
    lines["pharynx"] = np.array(
        [(0, 40, -4), (0, 32, -10), (0, 27, -22), (0, 25, -40), (0, 27, -60), (0, 30, -74)], np.float64
    )
    lines["larynx"] = np.array([(0, 30, -74), (0, 38, -90), (0, 41, -104), (0, 41, -112), (0, 37, -124)], np.float64)
    z = np.append(np.arange(-124, CARINA_Z, -4.0), CARINA_Z)
    x, y = trachea_axis(draw_throat(streams), z.astype(np.float32))
    below = z <= CRICOID_Z
    lines["larynx"] = np.vstack([lines["larynx"], np.stack([x, y, z], -1)[~below]])
    lines["trachea"] = np.stack([x, y, z], -1)[below].astype(np.float64)
    return lines


def centreline(streams: Streams, pose: Pose, view: View) -> dict[str, list[list[float]]]:
    """Return the parts of the polylines inside the scan, in voxel coordinates (i, j, k)."""
    lines: dict[str, list[list[float]]] = {}
    for name, points in canonical_centreline(streams).items():
        voxels = (pose.to_world(points) - view.origin_mm) / view.spacing_mm
        inside = np.all((voxels >= -0.5) & (voxels <= np.array(view.shape) - 0.5), axis=1)
        if inside.sum() > 1:
            lines[name] = np.round(voxels[inside], 2).tolist()
    return lines
