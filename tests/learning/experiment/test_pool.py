"""Who judges is not learned from, and labels are drawn slice by slice."""

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


def slices(pool: Pool, count: int, seed: int = 0) -> set[tuple[str, int]]:
    """Return patient and number of every labelled slice."""
    readings, cases = pool.drawn(count, seed)
    found = set()
    for reading, case in zip(readings, cases, strict=True):
        assert reading.label is not None
        found |= {(case.id, z) for z in range(reading.label.shape[2]) if (reading.label[..., z] != 255).any()}
    return found


def test_patients_are_apart_and_values_united(pool: Pool) -> None:
    assert len(pool.cases) == 4 and len(pool.judging) == 2
    assert not {case.patient for case in pool.cases} & {case.patient for case in pool.judging}
    assert all(reading.label is not None and reading.label.max() == 1 for reading in (*pool.readings, *pool.judges))
    assert all(reading.label is None for reading in pool.bare())


def test_more_labels_begin_with_the_same_ones_and_patients_take_turns(pool: Pool) -> None:
    four, nine = slices(pool, 4), slices(pool, 9)
    assert len(four) == 4 and len(nine) == 9 and four < nine
    assert len({name for name, _ in four}) == 4
    assert slices(pool, 4) == four and slices(pool, 4, seed=1) != four


def test_a_labelled_slice_is_the_whole_slice(pool: Pool) -> None:
    readings, cases = pool.drawn(3, 0)
    whole = {case.id: reading.label for case, reading in zip(pool.cases, pool.readings, strict=True)}
    for reading, case in zip(readings, cases, strict=True):
        known = reading.label != 255
        assert (
            torch.equal(reading.label[known], whole[case.id][known])
            and known.any((0, 1)).sum() == known.all(0).all(0).sum()
        )


def test_more_labels_than_there_are(pool: Pool) -> None:
    with pytest.raises(ValueError, match="99 labels are wanted"):
        pool.drawn(99, 0)


def test_procedural_cases_are_made_once(make_plan: Callable[..., Plan], tmp_path: Path) -> None:
    plan = make_plan(
        data=DataPlan("procedural", ("airway",), 2, united=True, count=4, seed=1, pixel_mm=6.0, slice_mm=9.0)
    )
    plan = dataclasses.replace(plan, image=dataclasses.replace(plan.image, spacing_mm=(6.0, 6.0, 9.0)))
    first = load_pool(plan, tmp_path)
    stamps = [case.image.stat().st_mtime_ns for case in first.cases]
    again = load_pool(plan, tmp_path)
    assert [case.id for case in again.cases] == [case.id for case in first.cases] and len(first.cases) == 2
    assert [case.image.stat().st_mtime_ns for case in again.cases] == stamps
