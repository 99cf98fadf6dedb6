"""Anscombe's transform has constant noise, and its inverse has no bias."""

import math

import numpy as np
import pytest
import torch

from lib.ops.anscombe import SCALE, expected_counts, stabilise

RNG = np.random.default_rng(0)


def draw_counts(mean: float, count: int = 400_000) -> torch.Tensor:
    return torch.from_numpy(RNG.poisson(mean, count).astype(np.float32))


def test_stabilise_matches_values_worked_by_hand() -> None:
    """15 5/8 counts give 2 sqrt(15 5/8 + 3/8) / 16. 7 11/16 counts at f = 1/2 give 2 sqrt(15 3/8 + 1/8 + 1/2) / 16."""
    assert stabilise(torch.tensor(15.625)).item() == pytest.approx(0.5)
    assert stabilise(torch.tensor(7.6875), 0.5).item() == pytest.approx(0.5)
    assert stabilise(torch.tensor(-3.0)).item() == pytest.approx(2 * math.sqrt(3 / 8) / SCALE)


@pytest.mark.parametrize("mean", [8.0, 20.0, 200.0])
@pytest.mark.parametrize("fraction", [1.0, 0.25])
def test_noise_does_not_depend_on_the_mean(mean: float, fraction: float) -> None:
    spread = stabilise(draw_counts(mean), fraction).std().item()
    assert spread == pytest.approx(1 / (SCALE * math.sqrt(fraction)), rel=0.04)


@pytest.mark.parametrize("mean", [0.0, 0.1, 0.5, 1.0, 3.0, 10.0, 100.0])
def test_expected_counts_recovers_the_mean_without_bias(mean: float) -> None:
    found = expected_counts(stabilise(draw_counts(mean)).mean()).item()
    assert found == pytest.approx(mean, abs=0.05, rel=0.005)


def test_signed_expected_counts_are_linear_below_zero() -> None:
    stable = torch.linspace(0, 0.2, 201, requires_grad=True)
    signed, lowest = expected_counts(stable, signed=True), 2 * math.sqrt(3 / 8) / SCALE
    assert torch.equal(signed[stable >= lowest], expected_counts(stable)[stable >= lowest])
    (slope,) = torch.autograd.grad(signed.sum(), stable)
    assert signed[0] < 0 and slope.min() > 0 and slope[stable < lowest + 0.002].std() < 0.02 * SCALE


@pytest.mark.parametrize(("mean", "within"), [(2.0, 0.06), (5.0, 0.01), (30.0, 0.005)])
def test_a_fraction_of_the_counts_gives_the_mean_of_the_whole_scan(mean: float, within: float) -> None:
    half = stabilise(draw_counts(mean / 2), 0.5).mean()
    assert expected_counts(half).item() == pytest.approx(mean, rel=within)
    scaled = (2 / SCALE * ((draw_counts(mean / 2) + 3 / 8) / 0.5).sqrt()).mean()
    assert expected_counts(scaled).item() > mean + 0.1, "Anscombe's own offset, scaled, would be too high"


def test_the_algebraic_inverse_would_be_biased() -> None:
    stable = stabilise(draw_counts(3.0)).mean().item()
    assert (stable * SCALE / 2) ** 2 - 3 / 8 < 3.0 - 0.15


def test_expected_counts_are_never_negative() -> None:
    assert expected_counts(torch.tensor([-1.0, 0.0, 0.01])).tolist() == pytest.approx([0, 0, 0], abs=1e-6)
