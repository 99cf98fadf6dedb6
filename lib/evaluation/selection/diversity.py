"""Which cases stand for the others: greedy k-centre on embeddings, alone and inside the most uncertain ones."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float64]

UNCERTAIN_SHARE = 0.25
LEAST_UNCERTAIN = 10


def k_centre(vectors: npt.ArrayLike, centres: npt.ArrayLike = ()) -> list[int]:
    """Return cases in the order of the greedy k-centre: each is the farthest from all before it and from the centres.

    Any beginning of the order is a core-set, at most twice as far from some case as the best of its size.

    Args:
        vectors: Embeddings of the cases to order, ``(N, E)``.
        centres: Of those that are labelled or about to be, ``(M, E)``. Without any, the first case is the one nearest
            to the middle of all.
    Returns:
        The indices of the cases; of equals, the first comes first.
    Source:
        Sener & Savarese 2018, arXiv:1708.00489, algorithm 1.
    """
    if not len(np.asarray(vectors)):
        return []
    points, known = _standardised(vectors, centres)
    if len(known):
        nearest = np.min([np.linalg.norm(points - each, axis=1) for each in known], axis=0)
        order = []
    else:
        order = [int(np.argmin(np.linalg.norm(points - points.mean(axis=0), axis=1)))]
        nearest = np.linalg.norm(points - points[order[0]], axis=1)
    nearest[order] = -1.0
    while len(order) < len(points):
        # Rounded, so that the order of equals is that of the cases and not of their last bits.
        farthest = int(np.argmax(np.round(nearest, 9)))
        order.append(farthest)
        nearest = np.minimum(nearest, np.linalg.norm(points - points[farthest], axis=1))
        nearest[order] = -1.0
    return order


def suggestive(scores: Sequence[float], vectors: npt.ArrayLike, centres: npt.ArrayLike = ()) -> list[int]:
    """Return cases in the order of the greedy k-centre inside the most uncertain quarter, ten at least, then the rest.

    Args:
        scores: Uncertainty of each case, ``(N,)``.
        vectors: Their embeddings, ``(N, E)``.
        centres: As `k_centre`.
    Source:
        Two steps as in suggestive annotation, Yang et al. 2017, arXiv:1706.04737, with k-centre as the second.
    """
    ranked = sorted(range(len(scores)), key=lambda index: -scores[index])
    if not ranked:
        return []
    count = max(LEAST_UNCERTAIN, round(UNCERTAIN_SHARE * len(ranked)))
    first, points = ranked[:count], np.asarray(vectors, np.float64)
    return [first[index] for index in k_centre(points[first], centres)] + ranked[count:]


def _standardised(vectors: npt.ArrayLike, centres: npt.ArrayLike) -> tuple[Vectors, Vectors]:
    """Return both with every dimension as wide as the others, so that none decides by its unit."""
    points = np.asarray(vectors, np.float64)
    known = np.asarray(centres, np.float64).reshape(-1, points.shape[1])
    spread = np.concatenate([points, known]).std(axis=0)
    spread[spread == 0] = 1.0
    return points / spread, known / spread
