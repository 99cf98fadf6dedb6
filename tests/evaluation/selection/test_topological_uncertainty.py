"""Disagreement between shapes whose components, loops and centrelines are counted by hand."""

import numpy as np
import pytest

from lib.evaluation.selection.topological_uncertainty import betti_disagreement, centreline_disagreement, fragility


def blank() -> np.ndarray:
    return np.zeros((24, 24, 9), bool)


def bar(start: int, stop: int) -> np.ndarray:
    mask = blank()
    mask[start:stop, 10:13, 3:6] = True
    return mask


def ring() -> np.ndarray:
    x, y, z = np.ogrid[:24, :24, :9]
    radius = np.sqrt((x - 12) ** 2 + (y - 12) ** 2)
    return (radius > 5) & (radius < 9) & (abs(z - 4) < 2)


@pytest.mark.parametrize(
    ("masks", "expected"),
    [
        ([bar(2, 20), bar(2, 20)], 0.0),
        ([bar(2, 20), bar(2, 9) | bar(12, 20)], 1.0),  # broken: one component more
        ([ring(), bar(2, 20)], 1.0),  # the ring has a tunnel
        ([ring(), bar(2, 20), bar(2, 20)], 2 / 3),  # two of three pairs
        ([blank(), ring()], 2.0),
    ],
)
def test_components_loops_and_cavities(masks: list[np.ndarray], expected: float) -> None:
    assert betti_disagreement(masks) == pytest.approx(expected)


def test_centrelines() -> None:
    assert centreline_disagreement([bar(2, 20)] * 3) == 0.0
    assert centreline_disagreement([bar(2, 20), bar(2, 20), blank()]) == pytest.approx(2 / 3)
    assert centreline_disagreement([blank(), blank()]) == 0.0
    # The whole line of the half lies inside the whole, half of the line of the whole inside the half: 1 - 2/3.
    assert centreline_disagreement([bar(2, 22), bar(2, 12)]) == pytest.approx(1 / 3, abs=0.05)
    assert centreline_disagreement([bar(0, 9), bar(14, 23)]) == 1.0


def test_a_small_block_has_a_centreline() -> None:
    """The thinning of scikit-image removes a block of 2 x 2 x 2 voxels completely."""
    block = blank()
    block[4:6, 4:6, 4:6] = True
    assert centreline_disagreement([block, block]) == 0.0


def test_fragility_is_the_lifetime_of_features_that_appear_or_vanish() -> None:
    certain = bar(2, 20).astype(np.float32)
    assert fragility(certain) == 0.0, "one component at every threshold"
    # A bridge of probability 0.75 breaks above it: at 2 of 9 thresholds (0.8 and 0.9) there is one component more.
    bridged = certain.copy()
    bridged[9:12] *= 0.75
    assert fragility(bridged) == pytest.approx(2 / 9)
    # A separate speck of probability 0.35 exists at the thresholds 0.1, 0.2 and 0.3.
    speck = bridged.copy()
    speck[22, 22, 7] = 0.35
    assert fragility(speck) == pytest.approx(5 / 9)
    assert fragility(np.rint(255 * speck).astype(np.uint8), full=255) == pytest.approx(5 / 9)
    assert fragility(np.zeros((4, 4, 4), np.float32)) == 0.0


def test_more_background_does_not_change_the_disagreement() -> None:
    padded = [np.pad(mask, 7) for mask in (bar(2, 20), ring())]
    assert betti_disagreement(padded) == betti_disagreement([bar(2, 20), ring()])
    assert centreline_disagreement(padded) == centreline_disagreement([bar(2, 20), ring()])
