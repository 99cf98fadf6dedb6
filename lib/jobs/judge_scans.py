"""Judge a restoration network: compute its PSNR or SSIM against standard scans of held-out patients for the gate."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from lib.data.cases import Case
from lib.data.scintigraphy.pairs import read_pair
from lib.jobs.gate import JudgedCase
from lib.learning.scan_validation import pair_of, scan_similarity
from lib.models.restoration import match_recorded_counts, predict_counts
from lib.models.weights import find_nonfinite_weight


def judge_scans(
    network: nn.Module, cases: Sequence[Case], metric: str, *, device: str | torch.device = "cpu"
) -> list[JudgedCase]:
    """Return the scores of a network on pairs of scans, sorted by case name.

    Args:
        network: Restoration network f_IR1; its mode is kept.
        cases: Rapid scans, with their standard scans as labels.
        metric: "psnr" or "ssim".
        device: Device that the network runs on.
    """
    ordered = sorted(cases, key=lambda case: case.id)
    if find_nonfinite_weight(network.state_dict()):
        return [JudgedCase(case=c.id, patient=c.patient, scores={metric: 0.0}, finite=False) for c in ordered]
    training = network.training
    network.to(device).eval()
    try:
        return [_judge(network, case, metric) for case in ordered]
    finally:
        network.train(training)


def _judge(network: nn.Module, case: Case, metric: str) -> JudgedCase:
    rapid, standard, fraction = read_pair(pair_of(case))
    began = time.perf_counter()
    try:
        counts = torch.from_numpy(rapid.counts)
        answer = predict_counts(network, counts, fraction)
        restored = match_recorded_counts(answer, counts, fraction).numpy()
    except (MemoryError, torch.cuda.OutOfMemoryError):
        raise  # the fault of the machine, not of the version
    except Exception as error:
        fault = f"{type(error).__name__}: {error}"
        return JudgedCase(case=case.id, patient=case.patient, scores={metric: 0.0}, fault=fault)
    seconds, finite = time.perf_counter() - began, bool(np.isfinite(restored).all())
    return JudgedCase(
        case=case.id,
        patient=case.patient,
        scores={metric: scan_similarity(restored, standard.counts, metric) if finite else 0.0},
        finite=finite,
        # Checked on the network's output: `match_recorded_counts` restores the counts of every region, so `restored`
        # varies even if the output is constant.
        constant=all(len(view[view > 0].unique()) <= 1 for view in answer) and bool(np.ptp(standard.counts)),
        seconds=seconds,
    )
