"""Copies of training images are found after changes of brightness or contrast; other images are kept."""

import numpy as np
import pytest

from lib.evaluation.memorisation import measure_distances, signatures


def images(count: int, seed: int) -> np.ndarray:
    """Return ``count`` different smooth images, ``(count, 64, 64)``."""
    rng = np.random.default_rng(seed)
    coarse = rng.random((count, 8, 8))
    return coarse.repeat(8, 1).repeat(8, 2).astype(np.float32)


TRAINING, PATIENTS = images(40, 0), [f"p{n // 2}" for n in range(40)]


@pytest.mark.parametrize(
    "change",
    [
        lambda image: image,
        lambda image: 0.3 * image + 0.2,
        lambda image: image[::-1],
        lambda image: image + np.random.default_rng(1).normal(0, 0.05, image.shape),
    ],
    ids=["itself", "contrast", "mirrored", "noise"],
)
def test_a_planted_copy_is_found(change) -> None:
    generated = images(10, 5)
    generated[3] = change(TRAINING[17])
    found = measure_distances(generated, TRAINING, PATIENTS, images(20, 9))
    assert found.is_copy.tolist() == [n == 3 for n in range(10)] and found.nearest_training[3] == 17
    assert found.to_training[3] < 0.3 < found.copy_threshold and len(found.to_unseen) == 10


def test_the_threshold_depends_only_on_images_of_different_patients() -> None:
    """Identical images of one patient do not lower the threshold."""
    twins = TRAINING.copy()
    twins[1::2] = twins[::2]
    assert measure_distances(images(3, 5), twins, PATIENTS).copy_threshold > 0.5
    assert not len(measure_distances(images(3, 5), twins, PATIENTS).to_unseen)


def test_signatures_have_norm_one_and_mean_zero() -> None:
    found = signatures(TRAINING)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1)
    np.testing.assert_allclose(found.mean(1), 0, atol=1e-12)
    assert np.isfinite(signatures(np.zeros((1, 40, 50)))).all()


def test_images_of_one_patient_are_refused() -> None:
    with pytest.raises(ValueError, match="two patients"):
        measure_distances(TRAINING[:1], TRAINING, ["p"] * 40)
