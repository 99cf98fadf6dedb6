"""Arms of the restoration benchmark: parts of the cascade, training, and restoration of a scan."""

from __future__ import annotations

import argparse
import dataclasses
import itertools
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import nn

from benchmarks.scintigraphy.scans import Counts, Restorer
from lib.data.scintigraphy.crops import CropDataset, TrainingCounts
from lib.data.scintigraphy.skeleton import ScanCase
from lib.data.scintigraphy.thinning import thin
from lib.learning.loop import fit
from lib.learning.recipes.restore import Restore
from lib.models import PROMPTED, RESTORERS
from lib.models.restoration import Cascade, build_cascade, restore_counts
from lib.models.restoration.semantics import RandomSemantics, SamSemantics

PLAIN, FULL, CONTROL = "plain NAFNet", "SPI + SKD + SCM", "the same, random masks"
AS_SERVED = "taught as the starter is"


@dataclasses.dataclass(frozen=True)
class Arm:
    """Parts of the cascade in one arm, and its training data.

    Args:
        second: Whether there is a second stage.
        semantics: Source of the masks: ``sam``, ``random``, or empty for none.
        guided: Whether masks guide the second stage (SPI).
        distillation: Weight of the distillation loss (SKD).
        consistency: Weight of the consistency loss (SCM).
        halves: Whether to train on halves of rapid scans only (noise2noise), without standard scans.
        pairs: Whether to train on the sum of both scans of a pair, as the recipe does; otherwise on standard scans.
        norm: Norm of the fidelity loss; empty for the norm of the command line.
    """

    second: bool = True
    semantics: str = ""
    guided: bool = False
    distillation: float = 0.0
    consistency: float = 0.0
    halves: bool = False
    pairs: bool = False
    norm: str = ""


ARMS = {
    PLAIN: Arm(second=False),
    "noise2noise on split counts": Arm(second=False, halves=True),
    "cascade": Arm(),
    "cascade + SKD on values": Arm(distillation=0.1),
    "SPI": Arm(semantics="sam", guided=True),
    "SPI + SKD": Arm(semantics="sam", guided=True, distillation=0.1),
    "SPI + SCM": Arm(semantics="sam", guided=True, consistency=0.1),
    "SKD + SCM": Arm(semantics="sam", distillation=0.1, consistency=0.1),
    FULL: Arm(semantics="sam", guided=True, distillation=0.1, consistency=0.1),
    CONTROL: Arm(semantics="random", guided=True, distillation=0.1, consistency=0.1),
    AS_SERVED: Arm(second=False, pairs=True, norm="counts"),
}


def build(arm: Arm, options: argparse.Namespace, seed: int) -> Cascade:
    """Return the cascade of an arm; its first stage has the same initial weights in all arms of a seed."""
    semantics = None
    if arm.semantics:
        kind = SamSemantics if arm.semantics == "sam" else RandomSemantics
        semantics = kind(PROMPTED["sam_tiny"](options.sam_size, rank=0), side=options.side)
    torch.manual_seed(seed)
    return build_cascade(RESTORERS[options.model], semantics, second=arm.second, guided=arm.guided)


def train_arm(arm: Arm, cases: list[ScanCase], options: argparse.Namespace, seed: int) -> nn.Module:
    """Train an arm and return its exported first stage."""
    cascade = build(arm, options, seed)
    recipe = Restore(
        norm=arm.norm or options.norm,
        distillation_weight=arm.distillation,
        consistency_weight=arm.consistency,
        max_epochs=max(options.steps // 100, 1),
        patches_per_epoch=min(options.steps, 100) * options.batch,
        batch_size=options.batch,
        max_minutes=options.minutes,
        clip_norm=1.0,
        ema_decay=0.995,
        seed=seed,
    )
    with TemporaryDirectory() as workdir:
        result = fit(
            recipe,
            cascade,
            training_crops(arm, cases, options, recipe),
            None,
            workdir=Path(workdir),
            device=options.device,
            progress=lambda _: None,
            track=False,
        )
    cascade.load_state_dict(result.state_dict)
    return cascade.export().cpu()


def training_crops(arm: Arm, cases: list[ScanCase], options: argparse.Namespace, recipe: Restore) -> CropDataset:
    """Return the training crops of an arm: thinned standard scans, pairs, or rapid scans split in halves."""
    if arm.halves:
        scans = [
            TrainingCounts(case.scan(f, np.random.default_rng(case.seed))) for case in cases for f in options.fractions
        ]
    elif arm.pairs:
        shares = list(itertools.islice(itertools.cycle(options.fractions), len(cases)))
        rapid = [case.scan(f, np.random.default_rng(case.seed)) for case, f in zip(cases, shares, strict=True)]
        scans = [TrainingCounts(case.counts + r, 1 + f) for case, r, f in zip(cases, rapid, shares, strict=True)]
    else:
        scans = [TrainingCounts(case.counts) for case in cases]
    fractions = (0.5,) if arm.halves else tuple(options.fractions)
    return CropDataset(
        scans, fractions=fractions, size=options.size, crops_per_epoch=recipe.patches_per_epoch, seed=recipe.seed
    )


def restorer(network: nn.Module, arm: Arm) -> Restorer:
    """Return the restorer of a trained network; an arm of halves restores both halves and returns their mean."""
    if not arm.halves:
        return lambda counts, fraction: restore_counts(network, torch.from_numpy(counts), fraction).numpy()

    def restore_halves(counts: Counts, fraction: float) -> Counts:
        parts = thin(counts, 0.5, np.random.default_rng(0))
        restored = [restore_counts(network, torch.from_numpy(part), 0.5).numpy() for part in parts]
        return (restored[0] + restored[1]) / 2 / fraction

    return restore_halves
