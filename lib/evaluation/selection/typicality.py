"""Choose the first cases to label, before any label exists: the most typical case of each cluster of embeddings."""

from collections.abc import Collection

import numpy as np
import numpy.typing as npt
from scipy.cluster.vq import kmeans2
from scipy.spatial.distance import cdist

ROUND = 8
"""Number of cases that are chosen from one clustering."""
NEIGHBOURS = 20
"""Largest number of neighbours that decide how typical a case is."""
ITERATIONS = 100


def typical_cases(vectors: npt.ArrayLike, taken: Collection[int] = ()) -> list[int]:
    """Return the most typical case of each cluster without a taken case, the largest cluster first.

    Cases are clustered for one round at a time: 8 clusters for the first 8 cases, 16 for the next 8. Cases that are
    requested one by one therefore form the same batch as cases that are requested at once.

    Args:
        vectors: Embeddings of all cases, taken ones included, ``(N, E)``.
        taken: Indices of the cases that are labelled or being labelled.
    Returns:
        Indices of cases that are not taken; the same in every call. Equally typical cases keep their order.
    Source:
        Hacohen et al. 2022, TypiClust, arXiv:2202.02794, algorithm 1, with k-means and up to 20 neighbours.
    """
    points = np.asarray(vectors, np.float64)
    if not len(points):
        return []
    labels = _clusters(points, min((len(taken) // ROUND + 1) * ROUND, len(points)))
    covered = {int(labels[index]) for index in taken}
    members = [np.flatnonzero(labels == label) for label in np.unique(labels) if int(label) not in covered]
    members.sort(key=lambda found: -len(found))
    return [int(found[np.argmax(typicality(points[found]))]) for found in members]


def typicality(points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return how typical each case of a cluster is: 1 / mean distance to its nearest neighbours.

    Args:
        points: Embeddings of the cluster's cases, ``(n, E)``.
    Returns:
        ``(n,)``; rounded to 9 digits, so that rounding errors do not decide between equally typical cases.
    """
    count = min(NEIGHBOURS, len(points) - 1)
    if count == 0:
        return np.ones(len(points))
    # The nearest point of each case is the case itself.
    nearest = np.sort(cdist(points, points), axis=1)[:, 1 : count + 1]
    return np.round(1 / np.maximum(nearest.mean(axis=1), 1e-12), 9)


def _clusters(points: npt.NDArray[np.float64], count: int) -> npt.NDArray[np.int_]:
    """Return the cluster of each point, ``(N,)``; copies of a point may leave a cluster empty."""
    distinct = np.unique(points, axis=0)
    if len(distinct) <= count:
        return np.argmin(cdist(points, distinct), axis=1)
    start = np.random.default_rng(0)
    return kmeans2(points, count, iter=ITERATIONS, minit="++", missing="warn", rng=start)[1]
