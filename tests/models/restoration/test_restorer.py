"""Restored counts are on the scale of the whole scan and agree with the recorded totals."""

import pytest
import torch
from torch import nn

from lib.models.restoration.build import nafnet_tiny
from lib.models.restoration.restorer import bootstrap_deviation, match_recorded_counts, restore_counts
from tests.models.restoration.conftest import randomise_zeros


class Identity(nn.Conv2d):
    """A network that returns its input."""

    def __init__(self) -> None:
        super().__init__(1, 1, 1)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return input


COUNTS = torch.poisson(torch.full((2, 24, 16), 12.0), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("fraction", [0.25, 0.5, 1.0])
def test_totals_are_the_recorded_totals_divided_by_the_fraction(fraction: float) -> None:
    counts = COUNTS.clone()
    counts[1] *= 3
    torch.manual_seed(0)
    restored = restore_counts(randomise_zeros(nafnet_tiny()).eval(), counts, fraction)
    assert restored.dtype == torch.float32 and restored.min() >= 0
    expected = (counts.sum((1, 2)) / fraction).tolist()
    assert restored.sum((1, 2)).tolist() == pytest.approx(expected, rel=1e-5)


def test_an_identity_network_scales_the_counts_to_the_whole_scan() -> None:
    restored = restore_counts(Identity(), COUNTS, 0.5)
    assert (restored - 2 * COUNTS).abs().max() < 0.05 * (2 * COUNTS).max()


def test_counts_outside_the_field_of_view_are_zero() -> None:
    counts = COUNTS.clone()
    counts[0, :5], counts[1, :, 12:], counts[0, 10, 3] = 0, 0, 0
    network = Identity()
    network.forward = lambda input: torch.full_like(input, 0.5)
    restored = restore_counts(network, counts, 0.5)
    assert restored[0, :5].max() == 0 and restored[1, :, 12:].max() == 0
    # A pixel without a count inside the field of view still belongs to it.
    assert restored[0, 10, 3] > 0 and restored.sum((1, 2)).tolist() == pytest.approx((2 * counts.sum((1, 2))).tolist())


def test_the_network_gets_the_field_of_view_only() -> None:
    counts, seen = COUNTS.clone(), []
    counts[0, :5], counts[1, :, 12:] = 0, 0

    class Recorder(Identity):
        def forward(self, input: torch.Tensor) -> torch.Tensor:
            seen.append(tuple(input.shape))
            return input

    restore_counts(Recorder(), counts, 0.5)
    assert seen == [(2, 1, 19, 16), (2, 1, 24, 12)]


def test_the_restoration_of_a_mirrored_scan_is_mirrored() -> None:
    torch.manual_seed(0)
    network = randomise_zeros(nafnet_tiny()).eval()
    restored, mirrored = (restore_counts(network, image, 0.5) for image in (COUNTS, COUNTS.flip(-1)))
    torch.testing.assert_close(mirrored.flip(-1), restored, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("mean", [400.0, 0.02])
def test_a_region_follows_its_recorded_counts_if_they_are_many(mean: float) -> None:
    """The network halves the left side. Many recorded counts correct that; a handful of counts does not."""
    counts = torch.poisson(torch.full((1, 80, 160), mean), generator=torch.Generator().manual_seed(0))
    expected = torch.full((1, 80, 160), 2 * mean, dtype=torch.float64)
    expected[..., :80] /= 2
    restored = match_recorded_counts(expected, counts, 0.5)[0]
    ratio = (restored[:, :64].sum() / restored[:, 96:].sum()).item()
    assert ratio == pytest.approx(1.0 if mean > 1 else 0.5, rel=0.05)
    assert restored.sum().item() == pytest.approx(2 * counts.sum().item(), rel=1e-5)


def test_an_empty_view_gives_no_counts() -> None:
    assert restore_counts(Identity(), torch.zeros(1, 4, 4), 0.5).abs().max() < 1e-6


@pytest.mark.parametrize("fraction", [0.0, -0.5, 1.5, float("nan")])
def test_bad_fractions_raise(fraction: float) -> None:
    with pytest.raises(ValueError, match="fraction"):
        restore_counts(Identity(), COUNTS, fraction)


def test_the_deviation_of_an_identity_network_is_that_of_the_counts() -> None:
    """At f = 1/2 the mean is 100 counts with SD 10, and doubling the counts gives SD 20."""
    mean = torch.full((1, 40, 40), 200.0)
    found = bootstrap_deviation(Identity(), mean, 0.5, samples=64)
    assert found.shape == mean.shape and found.mean().item() == pytest.approx(20, rel=0.05)
    assert torch.equal(bootstrap_deviation(Identity(), mean, 0.5), bootstrap_deviation(Identity(), mean, 0.5))


def test_the_deviation_without_counts_is_small() -> None:
    assert bootstrap_deviation(Identity(), torch.zeros(1, 8, 8), 0.5).max() < 0.5
