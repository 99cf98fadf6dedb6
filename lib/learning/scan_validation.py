"""Judge a restorer on pairs: how near its answer to the rapid scan comes to the standard one."""

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

SCORES = {"psnr": psnr, "ssim": ssim}
RANGE_PERCENTILE = 99.5
"""Of a view of the standard scan, what counts as full scale: its maximum is a bladder's or an injection's."""
MOST = 99.0
"""PSNR of an image that is its reference, which is infinite."""


def pair_of(case: Case) -> Pair:
    """Return a case, whose label is the standard scan, as a pair.

    Raises:
        ValueError: If it has none.
    """
    if case.label is None:
        raise ValueError(f"'{case.id}' has no standard scan to compare with")
    return Pair(case.id, case.image, case.label)


def nearness(restored: NDArray, standard: NDArray, metric: str) -> float:
    """Return PSNR or SSIM of restored counts, the mean over their views.

    Args:
        restored: ``(V, H, W)``.
        standard: The same.
        metric: A key of `SCORES`.
    """
    ranges = [max(float(np.percentile(view, RANGE_PERCENTILE)), 1.0) for view in standard]
    found = [SCORES[metric](a, b, data_range=r) for a, b, r in zip(restored, standard, ranges, strict=True)]
    return float(np.mean([min(each, MOST) for each in found]))


class ScanValidation:
    """Judge the first stage of a cascade on pairs, shared out among the processes.

    Args:
        cases: Rapid scans with their standard ones as labels.
        metric: A key of `SCORES`.
    """

    def __init__(self, cases: Sequence[Case], metric: str) -> None:
        self.pairs, self.metric = [pair_of(case) for case in cases], metric

    def __call__(self, network: nn.Module, ranks: Ranks) -> list[CaseScore]:
        """Return the metric of every case, the same list in every process."""
        assert isinstance(network, Cascade), "a restorer learns in a cascade"
        scores: list[CaseScore] = []
        for pair in self.pairs[ranks.rank :: ranks.world]:
            rapid, standard, fraction = read_pair(pair)
            restored = restore_counts(network.first, torch.from_numpy(rapid.counts), fraction).numpy()
            value = nearness(restored, standard.counts, self.metric)
            scores.append({"case": pair.patient, "scores": {self.metric: value}})
        return sorted(ranks.gather(scores), key=lambda score: score["case"])
