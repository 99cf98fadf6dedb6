"""Judge a version that restores: what the gate compares is how near it comes to standard scans of held-out patients."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from lib.data.cases import Case
from lib.data.scintigraphy.pairs import read_pair
from lib.jobs.gate import Judged
from lib.jobs.judge import broken_weight
from lib.learning.scan_validation import nearness, pair_of
from lib.models.restoration import keep_counts, network_counts


def judge_scans(
    network: nn.Module, cases: Sequence[Case], metric: str, *, device: str | torch.device = "cpu"
) -> list[Judged]:
    """Return how a network does on pairs, by name.

    Args:
        network: f_IR1; left as it was.
        cases: Rapid scans, with their standard ones as labels.
        metric: "psnr" or "ssim".
        device: Where the network runs.
    """
    ordered = sorted(cases, key=lambda case: case.id)
    if broken_weight(network.state_dict()):
        return [Judged(case=c.id, patient=c.patient, scores={metric: 0.0}, finite=False) for c in ordered]
    training = network.training
    network.to(device).eval()
    try:
        return [_judge(network, case, metric) for case in ordered]
    finally:
        network.train(training)


def _judge(network: nn.Module, case: Case, metric: str) -> Judged:
    rapid, standard, fraction = read_pair(pair_of(case))
    began = time.perf_counter()
    try:
        counts = torch.from_numpy(rapid.counts)
        answer = network_counts(network, counts, fraction)
        restored = keep_counts(answer, counts, fraction).numpy()
    except (MemoryError, torch.cuda.OutOfMemoryError):
        raise  # the machine's fault and not the version's
    except Exception as error:
        fault = f"{type(error).__name__}: {error}"
        return Judged(case=case.id, patient=case.patient, scores={metric: 0.0}, fault=fault)
    seconds, finite = time.perf_counter() - began, bool(np.isfinite(restored).all())
    return Judged(
        case=case.id,
        patient=case.patient,
        scores={metric: nearness(restored, standard.counts, metric) if finite else 0.0},
        finite=finite,
        # The network's own answer: what is made of it keeps the counts of every region, whatever it says.
        constant=all(len(view[view > 0].unique()) <= 1 for view in answer) and bool(np.ptp(standard.counts)),
        seconds=seconds,
    )
