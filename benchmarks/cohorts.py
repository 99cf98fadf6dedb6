"""The procedural cohorts that the accuracy benchmarks train on and judge on; made once under `build/`."""

from pathlib import Path
from typing import Any

from lib.data.cases import Case, find_cases
from lib.data.phantom import write_cohort

BUILD = Path(__file__).resolve().parents[1] / "build"
HELD_OUT_SEED, HELD_OUT_COUNT = 9000, 20


def cohort(name: str, *, count: int, seed: int, **options: Any) -> list[Case]:
    """Return the labelled cases of a procedural cohort, made if it is not there yet.

    Args:
        name: Folder under `build/`.
        count: Cases.
        seed: Seed of the cohort.
        **options: Passed to `make_case`.
    """
    folder = BUILD / name
    if not (folder / "about" / "topology.json").exists():
        write_cohort(folder, count=count, seed=seed, **options)
    return [case for case in find_cases(folder) if case.label]


def held_out() -> list[Case]:
    """Return the 20 cases that nothing is trained on: another seed than any training cohort's."""
    return cohort("held-out", count=HELD_OUT_COUNT, seed=HELD_OUT_SEED)
