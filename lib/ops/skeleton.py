"""Skeleton of a mask: a centreline one voxel wide with the components, tunnels and cavities of the mask."""

import itertools

import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.bool_]
Voxels = npt.NDArray[np.intp]
Patterns = npt.NDArray[np.bool_]

STEPS = np.array([step for step in itertools.product((-1, 0, 1), repeat=3) if any(step)])
"""Steps to the 26 neighbours of a voxel, ``(26, 3)``."""
FACES = np.flatnonzero(np.abs(STEPS).sum(1) == 1)
NEAR = np.flatnonzero(np.abs(STEPS).sum(1) <= 2)
"""Neighbours over a face, ``(6,)``, and over a face or an edge, ``(18,)``, as rows of `STEPS`."""
AT_FACE = np.isin(NEAR, FACES)
_DISTANCES = np.abs(STEPS[:, None] - STEPS[None])
TOUCHING = (_DISTANCES.max(-1) <= 1).astype(np.float32)
"""Whether two of the 26 neighbours touch over a face, an edge or a corner, ``(26, 26)``."""
FACE_TO_FACE = (_DISTANCES.sum(-1) <= 1).astype(np.float32)[np.ix_(NEAR, NEAR)]
"""Whether two of the 18 neighbours over faces and edges touch over a face, ``(18, 18)``."""


def skeleton(mask: Mask) -> Mask:
    """Return the centreline of `mask`.

    In 2-D by scikit-image, with Lee's method, because Zhang's leaves thick parts. In 3-D by the same method, written
    here, because scikit-image (0.26) erases straight tubes of even width (its issue 3757).

    Args:
        mask: Boolean mask, ``(X, Y, Z)`` or ``(X, Y)``; the outside of the array is outside the mask.
    Returns:
        Boolean mask of the same shape: a subset of `mask` with its Betti numbers.
    Raises:
        ValueError: If `mask` has not two or three axes.
    Source:
        Lee, Kashyap & Chu 1994, Graphical Models and Image Processing 56(6).
    """
    if mask.ndim not in (2, 3):
        raise ValueError(f"a skeleton needs a mask with two or three axes, got shape {mask.shape}")
    places = np.argwhere(mask)
    if not len(places):
        return np.zeros_like(mask)
    start = places.min(0)
    box = tuple(slice(low, high + 1) for low, high in zip(start, places.max(0), strict=True))
    out = np.zeros_like(mask)
    out[box] = _thin_slice(mask[box]) if mask.ndim == 2 else _thin_volume(mask[box])
    return out


def _thin_slice(mask: Mask) -> Mask:
    # Imported at the first use: a server starts without scikit-image.
    from skimage.morphology import skeletonize

    return skeletonize(np.pad(mask, 1), method="lee")[1:-1, 1:-1]


def _thin_volume(mask: Mask) -> Mask:
    """Return the centreline of a mask ``(X, Y, Z)``.

    Layers of voxels are removed from the six sides in turn: the voxels whose removal changes no topology and that are
    no end of a line. Before a voxel is removed, its neighbours may have been, so the topology is checked again.
    scikit-image checks it one voxel after the other: a layer that is two voxels wide becomes a line, and each of its
    voxels is an end when its turn comes. Here a layer is checked in eight parts in which no two voxels are neighbours,
    so a line loses a few voxels at most. The last voxel of a component stays.
    """
    places, inside = np.argwhere(mask) + 1, np.pad(mask, 1)
    _, height, depth = inside.shape
    strides = (height * depth, depth, 1)
    kept = _thin(inside.ravel(), places @ strides, (places & 1) @ (1, 2, 4), STEPS @ strides)
    out = np.zeros_like(mask)
    out[tuple(places[kept].T - 1)] = True
    return out


def _thin(inside: Mask, voxels: Voxels, subfields: Voxels, steps: Voxels) -> Mask:
    """Remove voxels until none can be removed.

    Args:
        inside: The mask with an empty rim, flat; changed in place.
        voxels: Indices of the mask's voxels in `inside`, ``(N,)``.
        subfields: Number of each voxel's subfield, 0 to 7, ``(N,)``.
        steps: Distances to the 26 neighbours in `inside`, ``(26,)``.
    Returns:
        Whether a voxel is kept, ``(N,)``.
    """
    left, count = np.arange(len(voxels)), -1
    while len(left) != count:
        count = len(left)
        for face in FACES:
            layer = left[~inside[voxels[left] + steps[face]]]
            layer = layer[_is_simple(inside, voxels[layer], steps, fewest_neighbours=2)]
            parts = subfields[layer]
            for part in np.flatnonzero(np.bincount(parts)):
                chosen = voxels[layer[parts == part]]
                inside[chosen[_is_simple(inside, chosen, steps)]] = False
            left = left[inside[voxels[left]]]
    return inside[voxels]


def _is_simple(inside: Mask, voxels: Voxels, steps: Voxels, *, fewest_neighbours: int = 1) -> Mask:
    """Return for each voxel of a mask, ``(N,)``, whether its removal changes no topology.

    Args:
        inside: The mask with an empty rim, flat.
        voxels: Indices in `inside`, ``(N,)``; each has a background voxel at a face.
        steps: Distances to the 26 neighbours in `inside`, ``(26,)``.
        fewest_neighbours: Voxels with fewer neighbours in the mask are not simple; 2 keeps the ends of lines.
    Source:
        Bertrand & Malandain 1994, Pattern Recognition Letters 15(2): one component of the mask among the 26 neighbours,
        and one of the background among the 18, seen from the faces.
    """
    if not len(voxels):
        return np.zeros(0, bool)
    # Few patterns occur, each many times.
    bits = np.packbits(inside[voxels[:, None] + steps], axis=1).view(np.uint32)[:, 0]
    codes, places = np.unique(bits, return_inverse=True)
    patterns = np.unpackbits(codes[:, None].view(np.uint8), axis=1, count=len(STEPS)).astype(bool)
    background = ~patterns[:, NEAR]
    simple = _is_connected(patterns, patterns, TOUCHING)
    simple &= _is_connected(background, background & AT_FACE, FACE_TO_FACE)
    return (simple & (patterns.sum(1) >= fewest_neighbours))[places]


def _is_connected(members: Patterns, seeds: Patterns, touching: npt.NDArray[np.float32]) -> Mask:
    """Return for each row whether it has `seeds`, and all of them are in one component of its `members`."""
    reached = np.zeros_like(members)
    reached[np.arange(len(seeds)), seeds.argmax(1)] = True
    reached &= seeds
    count = -1
    while (total := int(reached.sum())) != count:
        count = total
        reached = (reached.astype(np.float32) @ touching > 0) & members
    return seeds.any(1) & ~(seeds & ~reached).any(1)
