"""Validate a restoration network: compare the restored rapid scans with the standard scans of the same patients."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from lib.data.cases import Case
from lib.data.scintigraphy.pairs import Pair, read_pair
from lib.evaluation.metrics.restoration import psnr, ssim
from lib.learning.loop.ranks import Ranks
from lib.learning.loop.validation import CaseScore
from lib.models.restoration import Cascade, restore_counts

METRICS = {"psnr": psnr, "ssim": ssim}
RANGE_PERCENTILE = 99.5
"""Percentile of a standard view that is its data range; the maximum lies in the bladder or the injection site."""
MAX_SCORE = 99.0
"""Upper limit of a score: the PSNR of two equal images is infinite."""


def pair_of(case: Case) -> Pair:
    """Return the pair of rapid scan (the image of `case`) and standard scan (its label).

    Raises:
        ValueError: If the case has no standard scan.
    """
    if case.label is None:
        raise ValueError(f"'{case.id}' has no standard scan: submit the standard scan as its label, or leave it out")
    return Pair(case.id, case.image, case.label)


def scan_similarity(restored: NDArray, standard: NDArray, metric: str) -> float:
    """Return the PSNR or SSIM of restored counts against the standard scan, the mean over the views.

    Args:
        restored: Restored counts, ``(V, H, W)``.
        standard: Counts of the standard scan, ``(V, H, W)``.
        metric: Metric, a key of `METRICS`.
    """
    ranges = [max(float(np.percentile(view, RANGE_PERCENTILE)), 1.0) for view in standard]
    scores = [METRICS[metric](a, b, data_range=r) for a, b, r in zip(restored, standard, ranges, strict=True)]
    return float(np.mean([min(score, MAX_SCORE) for score in scores]))


class ScanValidation:
    """Score the first stage of a cascade on pairs of scans, which are divided among the training processes.

    Args:
        cases: Rapid scans, with the standard scans as labels.
        metric: Metric, a key of `METRICS`.
    """

    def __init__(self, cases: Sequence[Case], metric: str) -> None:
        self.pairs, self.metric = [pair_of(case) for case in cases], metric

    def __call__(self, network: nn.Module, ranks: Ranks) -> list[CaseScore]:
        """Return the score of every case; every process returns the same list."""
        assert isinstance(network, Cascade), "scan validation needs a cascade"
        scores: list[CaseScore] = []
        for pair in self.pairs[ranks.rank :: ranks.world]:
            rapid, standard, fraction = read_pair(pair)
            restored = restore_counts(network.first, torch.from_numpy(rapid.counts), fraction).numpy()
            value = scan_similarity(restored, standard.counts, self.metric)
            scores.append({"case": pair.patient, "scores": {self.metric: value}})
        return sorted(ranks.gather(scores), key=lambda score: score["case"])
