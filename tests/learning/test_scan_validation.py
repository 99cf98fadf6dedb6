"""How near a restored scan comes to the standard one, worked by hand."""

from pathlib import Path

import numpy as np
import pytest
import torch

from lib.data.cases import Case
from lib.data.scintigraphy.pairs import read_pair
from lib.data.scintigraphy.skeleton import write_pairs
from lib.evaluation.metrics.restoration import psnr
from lib.learning.loop.ranks import Ranks
from lib.learning.scan_validation import MOST, ScanValidation, nearness, pair_of
from lib.models.restoration import cascade_of, nafnet_tiny, restore_counts


@pytest.fixture
def cases(tmp_path: Path) -> list[Case]:
    paths = write_pairs(tmp_path, count=2, seed=1, pixel_mm=12.0)
    return [Case(path.name, path, tmp_path / "labels" / "final" / path.name, path.name) for path in paths]


def test_views_are_judged_each_on_its_own_scale() -> None:
    standard = np.random.default_rng(0).poisson(20, (2, 20, 20)).astype(float)
    standard[1] *= 10
    restored = standard + 1
    ranges = [np.percentile(view, 99.5) for view in standard]
    expected = np.mean([psnr(a, b, data_range=r) for a, b, r in zip(restored, standard, ranges, strict=True)])
    assert nearness(restored, standard, "psnr") == pytest.approx(expected)
    assert nearness(standard, standard, "psnr") == MOST and nearness(standard, standard, "ssim") == pytest.approx(1)


def test_the_first_stage_is_judged(cases: list[Case]) -> None:
    cascade = cascade_of(nafnet_tiny, second=True).eval()
    found = ScanValidation(cases[::-1], "psnr")(cascade, Ranks(0, 1, torch.device("cpu")))
    assert [each["case"] for each in found] == sorted(case.id for case in cases)
    rapid, standard, fraction = read_pair(pair_of(cases[0]))
    restored = restore_counts(cascade.first, torch.from_numpy(rapid.counts), fraction).numpy()
    assert found[0]["scores"] == {"psnr": pytest.approx(nearness(restored, standard.counts, "psnr"))}


def test_a_case_without_a_standard_scan_judges_nothing(cases: list[Case]) -> None:
    with pytest.raises(ValueError, match="has no standard scan"):
        ScanValidation([Case("bare", cases[0].image, None, "p")], "psnr")
