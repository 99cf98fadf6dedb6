"""Find generated images that are copies of training images, by their distance to training and to unseen images."""

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
COPY_QUANTILE = 0.01
"""Quantile, over real images, of the distance to the nearest image of another patient; it gives the copy threshold."""


@dataclass(frozen=True, eq=False)
class NearestDistances:
    """Distances of generated images to the nearest real ones, from 0 (identical) to 2 (negative image).

    Args:
        to_training: Distance of each generated image to the nearest training image, ``(n,)``.
        to_unseen: Distance to the nearest image outside the training set, ``(n,)``; empty without such images.
        nearest_training: Index of the nearest training image, ``(n,)``.
        copy_threshold: Distance to a training image below which a generated image is a copy.
    """

    to_training: NDArray[np.float64]
    to_unseen: NDArray[np.float64]
    nearest_training: NDArray[np.int64]
    copy_threshold: float

    @property
    def is_copy(self) -> NDArray[np.bool_]:
        """Whether each generated image is a copy, ``(n,)``."""
        return self.to_training < self.copy_threshold


def measure_distances(
    generated: NDArray[Any], training: NDArray[Any], patients: Sequence[str], unseen: NDArray[Any] | None = None
) -> NearestDistances:
    """Return the distances of generated images to training images and to unseen images.

    The copy threshold comes from real images: two images of different patients are nearer only in `COPY_QUANTILE` of
    the cases. Brightness, contrast and mirroring along the first image axis do not change a distance.

    Args:
        generated: Generated images, ``(n, H, W)``.
        training: Training images, ``(m, H', W')``.
        patients: Patient of each training image; at least two different patients.
        unseen: Real images of other patients, ``(k, H'', W'')``.
    Raises:
        ValueError: If all training images belong to one patient, so that no threshold can be set.
    """
    owners = np.array(patients)
    if len(set(patients)) < 2:
        raise ValueError("a copy threshold needs training images of at least two patients, got those of one")
    real = signatures(training)
    between = [_nearest(real[owners == owner], real[owners != owner])[0] for owner in sorted(set(patients))]
    distances, nearest = _nearest(signatures(generated), real)
    to_unseen = np.zeros(0) if unseen is None else _nearest(signatures(generated), signatures(unseen))[0]
    return NearestDistances(distances, to_unseen, nearest, float(np.quantile(np.concatenate(between), COPY_QUANTILE)))


def signatures(images: NDArray[Any]) -> NDArray[np.float64]:
    """Return each image ``(n, H, W)`` at 32 x 32 pixels, with mean 0 and norm 1, ``(n, 1024)``."""
    small = F.interpolate(torch.as_tensor(np.asarray(images, np.float32))[:, None], (SIDE, SIDE), mode="area")
    flat = small.flatten(1).double().numpy()
    flat = flat - flat.mean(1, keepdims=True)
    return flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-12)


def _nearest(
    queries: NDArray[np.float64], references: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return distance and index of the nearest reference to each query, mirrored or not, ``(n,)`` each."""
    neighbours = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(references)
    mirrored = queries.reshape(-1, SIDE, SIDE)[:, ::-1].reshape(len(queries), -1)
    found = [neighbours.kneighbors(images) for images in (queries, mirrored)]
    distances, indices = (np.stack([result[part][:, 0] for result in found]) for part in (0, 1))
    nearer = distances.argmin(0)
    rows = np.arange(len(queries))
    return distances[nearer, rows], indices[nearer, rows]
