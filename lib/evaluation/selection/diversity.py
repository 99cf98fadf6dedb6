"""Order cases by diversity: greedy k-centre on embeddings, over all cases or over the most uncertain ones."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float64]

UNCERTAIN_SHARE = 0.25
MIN_UNCERTAIN = 10


def k_centre(vectors: npt.ArrayLike, centres: npt.ArrayLike = ()) -> list[int]:
    """Return cases in greedy k-centre order: the next case is the farthest from the centres and all cases before it.

    The first n cases are a core-set: their covering radius is at most twice that of the best n cases.

    Args:
        vectors: Embeddings of the cases to order, ``(N, E)``.
        centres: Embeddings of the cases that are labelled or being labelled, ``(M, E)``. Without centres, the first
            case is the one nearest to the mean.
    Returns:
        Indices of the cases; of equally far cases, the one with the lower index comes first.
    Source:
        Sener & Savarese 2018, arXiv:1708.00489, algorithm 1.
    """
    if not len(np.asarray(vectors)):
        return []
    points, known = _standardised(vectors, centres)
    if len(known):
        nearest = np.min([np.linalg.norm(points - centre, axis=1) for centre in known], axis=0)
        order = []
    else:
        order = [int(np.argmin(np.linalg.norm(points - points.mean(axis=0), axis=1)))]
        nearest = np.linalg.norm(points - points[order[0]], axis=1)
    nearest[order] = -1.0
    while len(order) < len(points):
        # Rounded, so that rounding errors do not decide the order of equally far cases.
        farthest = int(np.argmax(np.round(nearest, 9)))
        order.append(farthest)
        nearest = np.minimum(nearest, np.linalg.norm(points - points[farthest], axis=1))
        nearest[order] = -1.0
    return order


def suggestive_annotation(scores: Sequence[float], vectors: npt.ArrayLike, centres: npt.ArrayLike = ()) -> list[int]:
    """Return the most uncertain quarter of the cases (at least ten) in k-centre order, then the others by uncertainty.

    Args:
        scores: Uncertainty of each case, ``(N,)``.
        vectors: Embeddings of the cases, ``(N, E)``.
        centres: As in `k_centre`.
    Source:
        Two steps as in suggestive annotation, Yang et al. 2017, arXiv:1706.04737, with k-centre as the second.
    """
    ranked = sorted(range(len(scores)), key=lambda index: -scores[index])
    if not ranked:
        return []
    count = max(MIN_UNCERTAIN, round(UNCERTAIN_SHARE * len(ranked)))
    first, points = ranked[:count], np.asarray(vectors, np.float64)
    return [first[index] for index in k_centre(points[first], centres)] + ranked[count:]


def _standardised(vectors: npt.ArrayLike, centres: npt.ArrayLike) -> tuple[Vectors, Vectors]:
    """Return both arrays with each dimension divided by its standard deviation, so that no unit dominates."""
    points = np.asarray(vectors, np.float64)
    known = np.asarray(centres, np.float64).reshape(-1, points.shape[1])
    spread = np.concatenate([points, known]).std(axis=0)
    spread[spread == 0] = 1.0
    return points / spread, known / spread
