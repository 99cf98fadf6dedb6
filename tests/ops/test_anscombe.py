"""Noise becomes even, the way back is without bias."""

import math

import numpy as np
import pytest
import torch

from lib.ops.anscombe import SCALE, expected_counts, stabilise

RNG = np.random.default_rng(0)


def drawn(mean: float, count: int = 400_000) -> torch.Tensor:
    return torch.from_numpy(RNG.poisson(mean, count).astype(np.float32))


def test_worked_by_hand() -> None:
    """Of 15 5/8 counts: 2 sqrt(16) / 16; half of 15 5/8 - 3/8 recorded in half the time is on the same level."""
    assert stabilise(torch.tensor(15.625)).item() == pytest.approx(0.5)
    assert stabilise(torch.tensor(7.625), 0.5).item() == pytest.approx(0.5)
    assert stabilise(torch.tensor(-3.0)).item() == pytest.approx(2 * math.sqrt(3 / 8) / SCALE)


@pytest.mark.parametrize("mean", [4.0, 20.0, 200.0])
@pytest.mark.parametrize("fraction", [1.0, 0.25])
def test_noise_does_not_depend_on_the_mean(mean: float, fraction: float) -> None:
    spread = stabilise(drawn(mean), fraction).std().item()
    assert spread == pytest.approx(1 / (SCALE * math.sqrt(fraction)), rel=0.04)


@pytest.mark.parametrize("mean", [0.0, 0.1, 0.5, 1.0, 3.0, 10.0, 100.0])
def test_the_mean_comes_back_unbiased(mean: float) -> None:
    found = expected_counts(stabilise(drawn(mean)).mean()).item()
    assert found == pytest.approx(mean, abs=0.05, rel=0.005)


def test_the_algebraic_inverse_would_be_biased() -> None:
    stable = stabilise(drawn(3.0)).mean().item()
    assert (stable * SCALE / 2) ** 2 - 3 / 8 < 3.0 - 0.15


def test_nothing_below_zero() -> None:
    assert expected_counts(torch.tensor([-1.0, 0.0, 0.01])).tolist() == pytest.approx([0, 0, 0], abs=1e-6)
