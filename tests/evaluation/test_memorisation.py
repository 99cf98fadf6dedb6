"""Copies are found whatever was done to their grey values, and others are left alone."""

import numpy as np
import pytest

from lib.evaluation.memorisation import likeness, signatures


def images(count: int, seed: int) -> np.ndarray:
    """Return smooth pictures that are all different."""
    rng = np.random.default_rng(seed)
    coarse = rng.random((count, 8, 8))
    return coarse.repeat(8, 1).repeat(8, 2).astype(np.float32)


LEARNED, PATIENTS = images(40, 0), [f"p{n // 2}" for n in range(40)]


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
def test_a_planted_copy_is_refused(change) -> None:
    made = images(10, 5)
    made[3] = change(LEARNED[17])
    found = likeness(made, LEARNED, PATIENTS, images(20, 9))
    assert found.copies.tolist() == [n == 3 for n in range(10)] and found.nearest[3] == 17
    assert found.learned[3] < 0.3 < found.bar and len(found.unseen) == 10


def test_the_bar_is_how_near_two_patients_come() -> None:
    """Two images of one patient may be the same; that says nothing of chance."""
    twins = LEARNED.copy()
    twins[1::2] = twins[::2]
    assert likeness(images(3, 5), twins, PATIENTS).bar > 0.5
    assert not len(likeness(images(3, 5), twins, PATIENTS).unseen)


def test_signatures_have_one_length_and_no_level() -> None:
    found = signatures(LEARNED)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1)
    np.testing.assert_allclose(found.mean(1), 0, atol=1e-12)
    assert np.isfinite(signatures(np.zeros((1, 40, 50)))).all()


def test_one_patient_sets_no_bar() -> None:
    with pytest.raises(ValueError, match="two patients"):
        likeness(LEARNED[:1], LEARNED, ["p"] * 40)
