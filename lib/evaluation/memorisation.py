"""Whether made images are copies: how near they lie to the images that were learned from, and to others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors

SIDE = 32
SHARE = 0.01
"""Of real images, how many lie nearer to one of another patient than the bar: what is nearer still is a copy."""


@dataclass(frozen=True, eq=False)
class Likeness:
    """How near made images lie to real ones; distances run from 0, the same, to 2, the negative.

    Args:
        learned: From each made image to the nearest that was learned from.
        unseen: To the nearest that was not; empty if there is none.
        nearest: Which image that was learned from lies nearest.
        bar: What is nearer to an image that was learned from is a copy of it.
    """

    learned: NDArray[np.float64]
    unseen: NDArray[np.float64]
    nearest: NDArray[np.int64]
    bar: float

    @property
    def copies(self) -> NDArray[np.bool_]:
        """Which of the made images are copies."""
        return self.learned < self.bar


def likeness(
    made: NDArray[Any], learned: NDArray[Any], patients: Sequence[str], unseen: NDArray[Any] | None = None
) -> Likeness:
    """Return how near made images lie to those that were learned from.

    The bar is set by real images: how near two patients come to each other hardly ever. Level and contrast do not
    count, nor does which side is left.

    Args:
        made: ``(n, H, W)``.
        learned: What was learned from, ``(m, H', W')``.
        patients: Whose each of them is; at least two.
        unseen: Real images of other patients, ``(k, H'', W'')``.
    Raises:
        ValueError: If all that was learned from is one patient's, so that nothing sets the bar.
    """
    owners = np.array(patients)
    if len(set(patients)) < 2:
        raise ValueError("copies are told from chance by two patients at least, and all images are one patient's")
    real = signatures(learned)
    apart = [_nearest(real[owners == each], real[owners != each])[0] for each in sorted(set(patients))]
    distances, nearest = _nearest(signatures(made), real)
    other = np.zeros(0) if unseen is None else _nearest(signatures(made), signatures(unseen))[0]
    return Likeness(distances, other, nearest, float(np.quantile(np.concatenate(apart), SHARE)))


def signatures(images: NDArray[Any]) -> NDArray[np.float64]:
    """Return each image ``(n, H, W)`` at 32 x 32, its mean taken off and its length made 1, ``(n, 1024)``."""
    small = F.interpolate(torch.as_tensor(np.asarray(images, np.float32))[:, None], (SIDE, SIDE), mode="area")
    flat = small.flatten(1).double().numpy()
    flat = flat - flat.mean(1, keepdims=True)
    return flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-12)


def _nearest(ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return distance and number of the nearest of theirs, mirrored or not."""
    known = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(theirs)
    mirrored = ours.reshape(-1, SIDE, SIDE)[:, ::-1].reshape(len(ours), -1)
    found = [known.kneighbors(each) for each in (ours, mirrored)]
    distances, numbers = (np.stack([each[part][:, 0] for each in found]) for part in (0, 1))
    first = distances.argmin(0)
    rows = np.arange(len(ours))
    return distances[first, rows], numbers[first, rows]
