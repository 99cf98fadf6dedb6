"""Counts in, counts out: on the whole scan's level, no count made or lost."""

import pytest
import torch
from torch import nn

from lib.models.restoration.build import nafnet_tiny
from lib.models.restoration.restorer import keep_counts, restore_counts, restored_deviation
from tests.models.restoration.conftest import awake


class Nothing(nn.Conv2d):
    """Changes nothing."""

    def __init__(self) -> None:
        super().__init__(1, 1, 1)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return input


COUNTS = torch.poisson(torch.full((2, 24, 16), 12.0), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("fraction", [0.25, 0.5, 1.0])
def test_totals_are_the_recorded_ones_over_the_fraction(fraction: float) -> None:
    counts = COUNTS.clone()
    counts[1] *= 3
    torch.manual_seed(0)
    restored = restore_counts(awake(nafnet_tiny()).eval(), counts, fraction)
    assert restored.dtype == torch.float32 and restored.min() >= 0
    expected = (counts.sum((1, 2)) / fraction).tolist()
    assert restored.sum((1, 2)).tolist() == pytest.approx(expected, rel=1e-5)


def test_a_network_that_changes_nothing_gives_the_counts_on_the_whole_scans_level() -> None:
    restored = restore_counts(Nothing(), COUNTS, 0.5)
    assert (restored - 2 * COUNTS).abs().max() < 0.05 * (2 * COUNTS).max()


def test_beside_the_cameras_field_nothing_is_expected() -> None:
    counts = COUNTS.clone()
    counts[0, :5], counts[1, :, 12:], counts[0, 10, 3] = 0, 0, 0
    network = Nothing()
    network.forward = lambda input: torch.full_like(input, 0.5)
    restored = restore_counts(network, counts, 0.5)
    assert restored[0, :5].max() == 0 and restored[1, :, 12:].max() == 0
    # A pixel without a count within the field is no gap in the field.
    assert restored[0, 10, 3] > 0 and restored.sum((1, 2)).tolist() == pytest.approx((2 * counts.sum((1, 2))).tolist())


def test_a_network_sees_the_cameras_field_alone() -> None:
    counts, seen = COUNTS.clone(), []
    counts[0, :5], counts[1, :, 12:] = 0, 0

    class Looks(Nothing):
        def forward(self, input: torch.Tensor) -> torch.Tensor:
            seen.append(tuple(input.shape))
            return input

    restore_counts(Looks(), counts, 0.5)
    assert seen == [(2, 1, 19, 16), (2, 1, 24, 12)]


def test_a_mirrored_scan_is_restored_as_the_mirror_image() -> None:
    torch.manual_seed(0)
    network = awake(nafnet_tiny()).eval()
    restored, mirrored = (restore_counts(network, image, 0.5) for image in (COUNTS, COUNTS.flip(-1)))
    torch.testing.assert_close(mirrored.flip(-1), restored, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("mean", [400.0, 0.02])
def test_a_region_keeps_the_counts_recorded_there_where_they_are_many(mean: float) -> None:
    """A network halves the left side: outweighed by many counts, and believed where there are a handful."""
    counts = torch.poisson(torch.full((1, 80, 160), mean), generator=torch.Generator().manual_seed(0))
    expected = torch.full((1, 80, 160), 2 * mean, dtype=torch.float64)
    expected[..., :80] /= 2
    restored = keep_counts(expected, counts, 0.5)[0]
    share = (restored[:, :64].sum() / restored[:, 96:].sum()).item()
    assert share == pytest.approx(1.0 if mean > 1 else 0.5, rel=0.05)
    assert restored.sum().item() == pytest.approx(2 * counts.sum().item(), rel=1e-5)


def test_an_empty_view_stays_empty() -> None:
    assert restore_counts(Nothing(), torch.zeros(1, 4, 4), 0.5).abs().max() < 1e-6


@pytest.mark.parametrize("fraction", [0.0, -0.5, 1.5, float("nan")])
def test_fractions_that_cannot_be(fraction: float) -> None:
    with pytest.raises(ValueError, match="fraction"):
        restore_counts(Nothing(), COUNTS, fraction)


def test_the_deviation_of_what_changes_nothing_is_that_of_the_counts() -> None:
    """Half of 200 counts, doubled: 2 sqrt(100)."""
    mean = torch.full((1, 40, 40), 200.0)
    found = restored_deviation(Nothing(), mean, 0.5, samples=64)
    assert found.shape == mean.shape and found.mean().item() == pytest.approx(20, rel=0.05)
    assert torch.equal(restored_deviation(Nothing(), mean, 0.5), restored_deviation(Nothing(), mean, 0.5))


def test_where_nothing_is_expected_nothing_varies() -> None:
    assert restored_deviation(Nothing(), torch.zeros(1, 8, 8), 0.5).max() < 0.5
