"""Disagreement about shapes whose components, loops and centrelines are counted by hand."""

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
    ("masks", "differ"),
    [
        ([bar(2, 20), bar(2, 20)], 0.0),
        ([bar(2, 20), bar(2, 9) | bar(12, 20)], 1.0),  # broken: one component more
        ([ring(), bar(2, 20)], 1.0),  # the ring has a tunnel
        ([ring(), bar(2, 20), bar(2, 20)], 2 / 3),  # two of three pairs
        ([blank(), ring()], 2.0),
    ],
)
def test_components_loops_and_cavities(masks: list[np.ndarray], differ: float) -> None:
    assert betti_disagreement(masks) == pytest.approx(differ)


def test_centrelines() -> None:
    assert centreline_disagreement([bar(2, 20)] * 3) == 0.0
    assert centreline_disagreement([bar(2, 20), bar(2, 20), blank()]) == pytest.approx(2 / 3)
    assert centreline_disagreement([blank(), blank()]) == 0.0
    # The half has all its line inside the whole, the whole about half of its line inside the half: 1 - 2/3.
    assert centreline_disagreement([bar(2, 22), bar(2, 12)]) == pytest.approx(1 / 3, abs=0.05)
    assert centreline_disagreement([bar(0, 9), bar(14, 23)]) == 1.0


def test_what_has_no_skeleton_is_its_own() -> None:
    """Thinning takes a block of two by two by two away altogether."""
    block = blank()
    block[4:6, 4:6, 4:6] = True
    assert centreline_disagreement([block, block]) == 0.0


def test_fragility_is_the_lifetime_of_what_comes_and_goes() -> None:
    sure = bar(2, 20).astype(np.float32)
    assert fragility(sure) == 0.0, "one component at every threshold"
    # A bridge of probability 0.75 breaks above it: at 2 of 9 thresholds (0.8 and 0.9) there is one component more.
    bridged = sure.copy()
    bridged[9:12] *= 0.75
    assert fragility(bridged) == pytest.approx(2 / 9)
    # A speck of 0.35 beside it lives at 0.1, 0.2 and 0.3.
    speck = bridged.copy()
    speck[22, 22, 7] = 0.35
    assert fragility(speck) == pytest.approx(5 / 9)
    assert fragility(np.rint(255 * speck).astype(np.uint8), full=255) == pytest.approx(5 / 9)
    assert fragility(np.zeros((4, 4, 4), np.float32)) == 0.0


def test_more_background_around_changes_nothing() -> None:
    padded = [np.pad(mask, 7) for mask in (bar(2, 20), ring())]
    assert betti_disagreement(padded) == betti_disagreement([bar(2, 20), ring()])
    assert centreline_disagreement(padded) == centreline_disagreement([bar(2, 20), ring()])
