"""Scan validation: similarity of restored and standard scans, with values computed by hand."""

from pathlib import Path

import numpy as np
import pytest
import torch

from lib.data.cases import Case
from lib.data.scintigraphy.pairs import read_pair
from lib.data.scintigraphy.skeleton import write_pairs
from lib.evaluation.metrics.restoration import psnr
from lib.learning.loop.ranks import Ranks
from lib.learning.scan_validation import MAX_SCORE, ScanValidation, pair_of, scan_similarity
from lib.models.restoration import build_cascade, nafnet_tiny, restore_counts


@pytest.fixture
def cases(tmp_path: Path) -> list[Case]:
    paths = write_pairs(tmp_path, count=2, seed=1, pixel_mm=12.0)
    return [Case(path.name, path, tmp_path / "labels" / "final" / path.name, path.name) for path in paths]


def test_every_view_has_its_own_data_range() -> None:
    standard = np.random.default_rng(0).poisson(20, (2, 20, 20)).astype(float)
    standard[1] *= 10
    restored = standard + 1
    ranges = [np.percentile(view, 99.5) for view in standard]
    expected = np.mean([psnr(a, b, data_range=r) for a, b, r in zip(restored, standard, ranges, strict=True)])
    assert scan_similarity(restored, standard, "psnr") == pytest.approx(expected)
    assert scan_similarity(standard, standard, "psnr") == MAX_SCORE and scan_similarity(
        standard, standard, "ssim"
    ) == pytest.approx(1)


def test_validation_scores_the_first_stage(cases: list[Case]) -> None:
    cascade = build_cascade(nafnet_tiny, second=True).eval()
    scores = ScanValidation(cases[::-1], "psnr")(cascade, Ranks(0, 1, torch.device("cpu")))
    assert [score["case"] for score in scores] == sorted(case.id for case in cases)
    rapid, standard, fraction = read_pair(pair_of(cases[0]))
    restored = restore_counts(cascade.first, torch.from_numpy(rapid.counts), fraction).numpy()
    assert scores[0]["scores"] == {"psnr": pytest.approx(scan_similarity(restored, standard.counts, "psnr"))}


def test_a_case_without_a_standard_scan_is_refused(cases: list[Case]) -> None:
    with pytest.raises(ValueError, match="has no standard scan"):
        ScanValidation([Case("unpaired", cases[0].image, None, "p")], "psnr")
