"""Entropy and mutual information agree with values by hand; the case means do not depend on the field of view."""

import math

import numpy as np
import pytest
import torch

from lib.evaluation.selection.uncertainty import region, summarise_samples, top_mean


def logits(*samples: list[float]) -> torch.Tensor:
    """Return the logits ``(T, K, 1)`` of one voxel, from the probabilities of each prediction."""
    return torch.tensor(samples).clamp(min=1e-12).log()[..., None]


@pytest.mark.parametrize(
    ("samples", "entropy", "information", "foreground"),
    [
        (([0.5, 0.5], [0.5, 0.5]), math.log(2), 0.0, 0.5),  # all predictions uncertain and in agreement
        (([1.0, 0.0], [0.0, 1.0]), math.log(2), math.log(2), 0.5),  # two certain predictions that disagree
        (([1.0, 0.0], [1.0, 0.0]), 0.0, 0.0, 0.0),
        (([0.25, 0.25, 0.25, 0.25],) * 3, math.log(4), 0.0, 0.75),
        # The mean is (3/4, 1/4); one prediction is certain, the other has probability 1/2.
        (
            ([1.0, 0.0], [0.5, 0.5]),
            2 * math.log(2) - 0.75 * math.log(3),
            1.5 * math.log(2) - 0.75 * math.log(3),
            0.25,
        ),
    ],
)
def test_entropy_and_information_by_hand(
    samples: tuple[list[float], ...], entropy: float, information: float, foreground: float
) -> None:
    found = summarise_samples(logits(*samples))
    values = found.entropy.item(), found.information.item(), found.foreground.item()
    assert values == pytest.approx((entropy, information, foreground), abs=1e-6)


def test_labels_of_the_mean_and_of_each_prediction() -> None:
    found = summarise_samples(logits([0.6, 0.4, 0.0], [0.0, 0.3, 0.7], [0.0, 0.8, 0.2]))
    assert found.label.tolist() == [1] and found.labels.tolist() == [[0], [2], [1]]


def test_large_logits_give_finite_numbers() -> None:
    found = summarise_samples(torch.tensor([[1e4, -1e4], [-1e4, 1e4]])[..., None])
    assert found.entropy.item() == pytest.approx(math.log(2)) and found.information.item() == pytest.approx(math.log(2))


@pytest.mark.parametrize(
    ("top_ml", "mean"),
    [(0.001, 6.0), (0.003, 5.0), (0.006, 3.5), (1.0, 3.5)],  # one voxel, three, all six, more than there are
)
def test_top_mean_of_the_most_uncertain_volume(top_ml: float, mean: float) -> None:
    assert top_mean(np.array([1.0, 6, 3, 2, 5, 4]).reshape(1, 2, 3), (1, 1, 1), top_ml) == mean


def test_the_top_volume_is_physical() -> None:
    coarse = np.array([4.0, 2.0, 0.0])
    assert top_mean(coarse, (2, 2, 2), 0.016) == top_mean(np.repeat(coarse, 8), (1, 1, 1), 0.016) == 3.0
    assert math.isnan(top_mean(np.zeros(0), (1, 1, 1), 1.0))


def test_more_air_in_the_scan_does_not_change_the_means() -> None:
    """One uncertain ball in three fields of view of different size."""
    rng = np.random.default_rng(0)
    full = rng.uniform(0, 0.01, (90, 90, 60)).astype(np.float16)
    x, y, z = np.ogrid[:90, :90, :60]
    ball = (x - 45) ** 2 + (y - 45) ** 2 + (2 * (z - 30)) ** 2 < 12**2
    full[ball] = rng.uniform(0.3, 0.69, full.shape)[ball]
    crop = full[30:60, 30:60, 20:40]
    over = [top_mean(view, (1, 1, 2), 1.0) for view in (full, full[:, :, 20:40], crop)]
    assert max(over) / min(over) < 1.001
    within = []
    for view, mask in ((full, ball), (crop, ball[30:60, 30:60, 20:40])):
        box, near = region(mask, (1, 1, 2), 2.0)
        within.append(float(view[box][near].astype(np.float32).mean()))
    assert within[0] == pytest.approx(within[1], rel=1e-6)
    means = [float(view.astype(np.float32).mean()) for view in (full, crop)]
    assert means[1] / means[0] > 5, "the mean over the whole volume depends on the field of view"


@pytest.mark.parametrize(("margin_mm", "voxels"), [(0.0, 1), (1.0, 5), (1.5, 9), (2.0, 15)])
def test_the_region_has_the_margin_in_mm(margin_mm: float, voxels: int) -> None:
    mask = np.zeros((9, 9, 9), bool)
    mask[4, 4, 4] = True
    box, near = region(mask, (1.0, 1.0, 2.0), margin_mm)
    assert near.sum() == voxels and near.shape == tuple(side.stop - side.start for side in box)


def test_an_empty_mask_has_an_empty_region() -> None:
    box, near = region(np.zeros((3, 3, 3), bool), (1, 1, 1), 5.0)
    assert near.size == 0 and np.zeros((3, 3, 3))[box][near].size == 0
