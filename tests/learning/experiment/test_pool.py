"""The pool separates training and test patients and samples labelled labelled_slices."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from lib.learning.experiment.plan import DataPlan, Plan
from lib.learning.experiment.pool import Pool, load_pool


@pytest.fixture
def pool(make_plan: Callable[..., Plan], tmp_path: Path) -> Pool:
    return load_pool(make_plan(), tmp_path)


def labelled_slices(pool: Pool, count: int, seed: int = 0) -> set[tuple[str, int]]:
    """Return case and index of every labelled slice."""
    readings, cases = pool.sample_labels(count, seed)
    labelled = set()
    for reading, case in zip(readings, cases, strict=True):
        assert reading.label is not None
        labelled |= {(case.id, z) for z in range(reading.label.shape[2]) if (reading.label[..., z] != 255).any()}
    return labelled


def test_patients_are_separated_and_label_values_are_merged(pool: Pool) -> None:
    assert len(pool.cases) == 4 and len(pool.test_cases) == 2
    assert not {case.patient for case in pool.cases} & {case.patient for case in pool.test_cases}
    assert all(
        reading.label is not None and reading.label.max() == 1 for reading in (*pool.readings, *pool.test_readings)
    )
    assert all(reading.label is None for reading in pool.unlabelled_readings())


def test_more_labels_include_the_fewer_ones_and_patients_alternate(pool: Pool) -> None:
    four, nine = labelled_slices(pool, 4), labelled_slices(pool, 9)
    assert len(four) == 4 and len(nine) == 9 and four < nine
    assert len({name for name, _ in four}) == 4
    assert labelled_slices(pool, 4) == four and labelled_slices(pool, 4, seed=1) != four


def test_a_labelled_slice_is_labelled_completely(pool: Pool) -> None:
    readings, cases = pool.sample_labels(3, 0)
    whole = {case.id: reading.label for case, reading in zip(pool.cases, pool.readings, strict=True)}
    for reading, case in zip(readings, cases, strict=True):
        known = reading.label != 255
        assert (
            torch.equal(reading.label[known], whole[case.id][known])
            and known.any((0, 1)).sum() == known.all(0).all(0).sum()
        )


def test_more_labels_than_the_cases_have_are_refused(pool: Pool) -> None:
    with pytest.raises(ValueError, match="99 labelled slices are wanted"):
        pool.sample_labels(99, 0)


def test_procedural_cases_are_generated_once(make_plan: Callable[..., Plan], tmp_path: Path) -> None:
    plan = make_plan(
        data=DataPlan("procedural", ("airway",), 2, united=True, count=4, seed=1, pixel_mm=6.0, slice_mm=9.0)
    )
    plan = dataclasses.replace(plan, image=dataclasses.replace(plan.image, spacing_mm=(6.0, 6.0, 9.0)))
    first = load_pool(plan, tmp_path)
    stamps = [case.image.stat().st_mtime_ns for case in first.cases]
    again = load_pool(plan, tmp_path)
    assert [case.id for case in again.cases] == [case.id for case in first.cases] and len(first.cases) == 2
    assert [case.image.stat().st_mtime_ns for case in again.cases] == stamps
