"""The observer: its channels, and its detectability of signals for which a closed form exists."""

import numpy as np
import pytest
from scipy.stats import norm

from lib.evaluation.metrics.observer import HotellingObserver, area_under_roc, detectability, find_peaks, laguerre_gauss

SIZE = 33


def make_patches(signal: np.ndarray, count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return patches of white noise with and without a signal, ``(count, SIZE, SIZE)`` each."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(2, count, SIZE, SIZE))
    return noise[0] + signal, noise[1]


def test_channels_are_orthonormal() -> None:
    channels = laguerre_gauss(65, 12.0).reshape(5, -1)
    np.testing.assert_allclose(channels @ channels.T, np.eye(5), atol=0.02)


def test_the_first_channel_by_hand() -> None:
    """The value is sqrt 2 / a at the centre, and exp(-pi / 4) of that at half the width."""
    channel = laguerre_gauss(SIZE, 8.0)[0]
    assert channel[16, 16] == pytest.approx(np.sqrt(2) / 8)
    assert channel[16, 20] / channel[16, 16] == pytest.approx(np.exp(-np.pi / 4))


@pytest.mark.parametrize("strength", [0.0, 0.7, 1.5, 2.5])
def test_detectability_of_a_signal_in_white_noise(strength: float) -> None:
    """For a signal inside the channels d' is its norm over the SD of the noise, and the area is Phi(d' / sqrt 2)."""
    channels = laguerre_gauss(SIZE, 8.0)
    mixed = channels[0] + 0.5 * channels[1]
    signal = strength * mixed / np.linalg.norm(mixed)
    found = detectability(*make_patches(signal, 2500), channels)
    assert found == pytest.approx(norm.cdf(strength / np.sqrt(2)), abs=0.02)


def test_the_template_of_white_noise_is_the_signal() -> None:
    channels = laguerre_gauss(SIZE, 8.0)
    observer = HotellingObserver.fit(*make_patches(2 * channels[1], 4000), channels)
    template = observer.template / np.linalg.norm(observer.template)
    assert template[1] == pytest.approx(1, abs=0.01)


def test_correlated_noise_is_whitened() -> None:
    """A signal in two channels, one of them noisy: d' is 1.5 / sqrt 17 and 1.5, and 1.54 for both together.

    A template equal to the signal would reach only d' = 4.5 / (1.5 sqrt 18) = 0.71.
    """
    channels = laguerre_gauss(SIZE, 8.0)
    rng = np.random.default_rng(0)
    strong_noise = [4 * rng.normal(size=(2000, 1, 1)) * channels[0] for _ in range(2)]
    present, absent = make_patches(1.5 * (channels[0] + channels[1]), 2000)
    found = detectability(present + strong_noise[0], absent + strong_noise[1], channels)
    assert found == pytest.approx(norm.cdf(np.hypot(1.5, 1.5 / np.sqrt(17)) / np.sqrt(2)), abs=0.02)


def test_area_by_hand() -> None:
    """The pairs (1, 0), (1, 2), (2, 0), (2, 2) are right, wrong, right and a tie."""
    assert area_under_roc(np.array([1.0, 2.0]), np.array([0.0, 2.0])) == pytest.approx(2.5 / 4)


def test_identical_patches_raise_no_error() -> None:
    patches = np.ones((20, SIZE, SIZE))
    patches[0, 0, 0] = 2
    assert detectability(patches, patches, laguerre_gauss(SIZE, 8.0)) == pytest.approx(0.5, abs=0.1)


def test_too_few_patches_are_refused() -> None:
    with pytest.raises(ValueError, match="channels"):
        HotellingObserver.fit(*make_patches(np.zeros((SIZE, SIZE)), 5), laguerre_gauss(SIZE, 8.0))


def test_a_search_scores_each_place_like_the_patch_around_it() -> None:
    rng, channels = np.random.default_rng(0), laguerre_gauss(9, 4.0)
    present, absent = rng.poisson(9.0, (40, 9, 9)) + 4 * channels[0] / channels[0].max(), rng.poisson(9.0, (40, 9, 9))
    scaled = [patches / patches.mean((1, 2), keepdims=True) for patches in (present, absent)]
    observer = HotellingObserver.fit(*scaled, channels)
    image = rng.poisson(9.0, (30, 40)).astype(float)
    found, padded = observer.search(image), np.pad(image, 4)
    for row, column in ((0, 0), (12, 20), (29, 39)):
        patch = padded[row : row + 9, column : column + 9]
        assert found[row, column] == pytest.approx(observer.scores(patch[None] / patch.mean())[0])


def test_peaks_are_the_local_maxima_above_the_threshold() -> None:
    certainty = np.zeros((20, 20))
    certainty[3, 4], certainty[4, 4], certainty[15, 15], certainty[10, 1] = 5, 6, 2, 1
    assert find_peaks(certainty, 1.5, 3).tolist() == [[4, 4], [15, 15]]
