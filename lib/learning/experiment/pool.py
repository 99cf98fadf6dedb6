"""Hold the images of an experiment in memory: training cases, test cases, and the slices with a label."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock

from lib.data.cases import Case, find_cases, require_complete_labels
from lib.data.datasets import chaos, kidneyus
from lib.data.phantom import write_cohort
from lib.data.pipeline import IGNORE, Reading, read
from lib.data.split import split_pool_and_test
from lib.learning.experiment.plan import DataPlan, Plan

MIN_LABEL_PIXELS = 12
"""Fewest labelled pixels of a slice that may be drawn as a labelled slice."""
CONVERTERS = {"kidneyus": kidneyus.convert, "chaos": chaos.convert}


@dataclass(frozen=True, eq=False)
class Pool:
    """Training and test cases with their readings; no patient is in both parts.

    Args:
        cases: Training cases.
        readings: Readings of the training cases with complete labels; an arm sees the labels of some slices only.
        test_readings: Readings of the test cases.
        test_cases: Test cases.
    """

    cases: list[Case]
    readings: list[Reading]
    test_readings: list[Reading]
    test_cases: list[Case]

    def unlabelled_readings(self) -> list[Reading]:
        """Return the readings of the training cases without their labels."""
        return [replace(reading, label=None) for reading in self.readings]

    def sample_labels(self, count: int, seed: int) -> tuple[list[Reading], list[Case]]:
        """Return readings with labels on `count` slices in all and 255 elsewhere, and their cases.

        The slices are drawn at random, one per patient and round. For one seed, a larger `count` includes the slices of
        a smaller one.

        Raises:
            ValueError: If fewer slices have at least `MIN_LABEL_PIXELS` labelled pixels.
        """
        rng = np.random.default_rng([seed, 17])
        left = [rng.permutation(_labelled_slices(reading)).tolist() for reading in self.readings]
        order, chosen = rng.permutation(len(left)).tolist(), {}
        while sum(map(len, chosen.values())) < count:
            for index in order:
                if left[index] and sum(map(len, chosen.values())) < count:
                    chosen.setdefault(index, []).append(left[index].pop())
            if not any(left) and sum(map(len, chosen.values())) < count:
                raise ValueError(
                    f"{count} labelled slices are wanted, and the training cases have fewer: lower labels or add cases"
                )
        labelled = sorted(chosen)
        return [_keep_labels_of(self.readings[i], chosen[i]) for i in labelled], [self.cases[i] for i in labelled]


def load_pool(plan: Plan, folder: Path) -> Pool:
    """Return the cases of a plan; generate or convert them into `folder` if they are not there yet.

    Raises:
        ValueError: If there are too few patients with labels.
    """
    training, test = split_pool_and_test(_cases(plan.data, folder), plan.data.test)

    def read_case(case: Case) -> Reading:
        reading = read(case.image, plan.image, case.label)
        assert reading.label is not None, "divided leaves out cases without a label"
        if plan.data.united:
            label = reading.label
            reading = replace(reading, label=torch.where((label > 0) & (label != IGNORE), 1, label).to(torch.uint8))
        return reading

    return Pool(training, [read_case(case) for case in training], [read_case(case) for case in test], test)


def _cases(data: DataPlan, folder: Path) -> list[Case]:
    if data.layout == "folder":
        return list(require_complete_labels(find_cases(data.folder)))
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
                CONVERTERS[data.layout](Path(data.folder), folder / "cases")
            (folder / "made").touch()
    return find_cases(folder / "cases")


def _labelled_slices(reading: Reading) -> np.ndarray:
    assert reading.label is not None, "the pool has labels"
    marks = reading.label.numpy()
    return np.flatnonzero(((marks > 0) & (marks != IGNORE)).sum((0, 1)) >= MIN_LABEL_PIXELS)


def _keep_labels_of(reading: Reading, slices: list[int]) -> Reading:
    assert reading.label is not None, "the pool has labels"
    label = torch.full_like(reading.label, IGNORE)
    label[..., slices] = reading.label[..., slices]
    return replace(reading, label=label)
