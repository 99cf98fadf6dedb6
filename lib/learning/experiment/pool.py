"""The images of an experiment in memory: those that judge, those to learn from, and the slices that have a label."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock

from lib.data.cases import Case, find_cases
from lib.data.datasets import chaos, kidneyus
from lib.data.phantom import write_cohort
from lib.data.pipeline import IGNORE, Reading, read
from lib.data.split import divided
from lib.learning.experiment.plan import DataPlan, Plan

SMALLEST = 12
"""Samples of a slice that is worth a label."""
READERS = {"kidneyus": kidneyus.convert, "chaos": chaos.convert}


@dataclass(frozen=True, eq=False)
class Pool:
    """Cases, and what was read of them, in one order; patients apart.

    Args:
        cases: To learn from.
        readings: The same, with their whole labels, of which an arm gets some slices.
        judges: Readings that judge.
        judging: Their cases.
    """

    cases: list[Case]
    readings: list[Reading]
    judges: list[Reading]
    judging: list[Case]

    def bare(self) -> list[Reading]:
        """Return what is there without a label."""
        return [replace(reading, label=None) for reading in self.readings]

    def drawn(self, count: int, seed: int) -> tuple[list[Reading], list[Case]]:
        """Return readings with labels on so many slices in all, 255 elsewhere, and their cases.

        One slice of each patient, then another, in an order drawn by lot; more labels begin with the same ones.

        Raises:
            ValueError: If there are fewer slices with enough of a label.
        """
        rng = np.random.default_rng([seed, 17])
        left = [rng.permutation(_worthwhile(reading)).tolist() for reading in self.readings]
        order, chosen = rng.permutation(len(left)).tolist(), {}
        while sum(map(len, chosen.values())) < count:
            for index in order:
                if left[index] and sum(map(len, chosen.values())) < count:
                    chosen.setdefault(index, []).append(left[index].pop())
            if not any(left) and sum(map(len, chosen.values())) < count:
                raise ValueError(f"{count} labels are wanted, and fewer slices show anything")
        found = sorted(chosen)
        return [_only(self.readings[i], chosen[i]) for i in found], [self.cases[i] for i in found]


def load_pool(plan: Plan, folder: Path) -> Pool:
    """Return the cases of a plan, made or converted into a folder if they are not there yet.

    Raises:
        ValueError: If there are too few patients with labels.
    """
    learned, judging = divided(_cases(plan.data, folder), plan.data.test)

    def seen(case: Case) -> Reading:
        reading = read(case.image, plan.image, case.label)
        assert reading.label is not None, "divided leaves out cases without a label"
        if plan.data.united:
            label = reading.label
            reading = replace(reading, label=torch.where((label > 0) & (label != IGNORE), 1, label).to(torch.uint8))
        return reading

    return Pool(learned, [seen(case) for case in learned], [seen(case) for case in judging], judging)


def _cases(data: DataPlan, folder: Path) -> list[Case]:
    if data.layout == "folder":
        return find_cases(data.folder)
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / "made.lock"):
        if not (folder / "made").exists():
            if data.layout == "procedural":
                write_cohort(
                    folder / "cases",
                    count=data.count,
                    seed=data.seed,
                    pixel_mm=data.pixel_mm,
                    slice_mm=data.slice_mm,
                    grid_mm=max(1.35, 0.8 * data.pixel_mm),
                )
            else:
                READERS[data.layout](Path(data.folder), folder / "cases")
            (folder / "made").touch()
    return find_cases(folder / "cases")


def _worthwhile(reading: Reading) -> np.ndarray:
    assert reading.label is not None, "the pool has labels"
    marks = reading.label.numpy()
    return np.flatnonzero(((marks > 0) & (marks != IGNORE)).sum((0, 1)) >= SMALLEST)


def _only(reading: Reading, slices: list[int]) -> Reading:
    assert reading.label is not None, "the pool has labels"
    label = torch.full_like(reading.label, IGNORE)
    label[..., slices] = reading.label[..., slices]
    return replace(reading, label=label)
