"""Crops and their targets, seeds, epochs and sizes."""

import numpy as np
import pytest
import torch

from lib.data.scintigraphy.crops import CropDataset, TrainingCounts

COUNTS = np.random.default_rng(0).poisson(np.full((2, 60, 40), 30.0)).astype(np.int32)


def test_target_is_the_complement_of_the_thinned_crop() -> None:
    crops = CropDataset([TrainingCounts(COUNTS)], fractions=(0.25,), size=16, crops_per_epoch=200)
    items = [crops[i] for i in range(200)]
    rapid, target = (torch.stack([item[name] for item in items]) for name in ("rapid", "target"))
    assert rapid.shape == (200, 1, 16, 16) and rapid.dtype == torch.float32
    assert items[0]["fraction"].item() == 0.25 and items[0]["target_fraction"].item() == 0.75
    assert rapid.mean().item() == pytest.approx(7.5, rel=0.02) and target.mean().item() == pytest.approx(22.5, rel=0.02)
    whole = (rapid + target).flatten(1)
    assert {tuple(row.tolist()) for row in whole[:3]} <= set(_all_crops(COUNTS, 16)), "both crops have one place"


def _all_crops(counts: np.ndarray, size: int) -> list[tuple[float, ...]]:
    places = [(v, r, c) for v in range(2) for r in range(60 - size + 1) for c in range(40 - size + 1)]
    cuts = [counts[v, r : r + size, c : c + size] for v, r, c in places]
    return [tuple(part.ravel().tolist()) for cut in cuts for part in (cut, cut[:, ::-1])]


def test_sum_of_scans_is_thinned_to_a_fraction_of_one_scan() -> None:
    """A quarter of the 30 counts of one scan is drawn from 1.5 scans; the rest is 1.25 scans."""
    crops = CropDataset([TrainingCounts(COUNTS * 3 // 2, 1.5)], fractions=(0.25,), size=16, crops_per_epoch=200)
    items = [crops[i] for i in range(200)]
    rapid, target = (torch.stack([item[name] for item in items]) for name in ("rapid", "target"))
    assert items[0]["fraction"].item() == 0.25 and items[0]["target_fraction"].item() == 1.25
    assert rapid.mean().item() == pytest.approx(7.5, rel=0.03)
    assert target.mean().item() == pytest.approx(37.5, rel=0.03)


def test_crop_depends_only_on_seed_epoch_and_index() -> None:
    one, same, other = (CropDataset([TrainingCounts(COUNTS)], size=16, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(one[5]["rapid"], same[5]["rapid"])
    assert not torch.equal(one[5]["rapid"], one[6]["rapid"]) and not torch.equal(one[5]["rapid"], other[5]["rapid"])
    same.set_epoch(1)
    assert not torch.equal(one[5]["rapid"], same[5]["rapid"])


def test_all_fractions_are_drawn() -> None:
    crops = CropDataset([TrainingCounts(COUNTS)], fractions=(0.25, 0.5), size=16)
    assert {crops[i]["fraction"].item() for i in range(30)} == {0.25, 0.5}


def test_crops_are_centred_on_counts() -> None:
    counts = np.zeros((1, 200, 200), np.int32)
    counts[0, 150:, 150:] = 9
    crops = CropDataset([TrainingCounts(counts)], size=16, crops_per_epoch=100)
    assert np.mean([crops[i]["target"].any().item() for i in range(100)]) > 0.85


def test_scan_smaller_than_a_crop_is_padded_with_zeros() -> None:
    item = CropDataset([TrainingCounts(COUNTS)], size=64)[0]
    assert item["rapid"].shape == (1, 64, 64)
    assert not item["rapid"][:, 60:].any() and int((item["rapid"] + item["target"]).count_nonzero()) == 60 * 40


@pytest.mark.parametrize(
    ("scans", "fractions"), [([], (0.5,)), ([TrainingCounts(COUNTS)], (1.0,)), ([TrainingCounts(COUNTS)], ())]
)
def test_missing_scans_or_bad_fractions_are_refused(scans: list, fractions: tuple) -> None:
    with pytest.raises(ValueError, match=r"scan|fractions"):
        CropDataset(scans, fractions=fractions)
