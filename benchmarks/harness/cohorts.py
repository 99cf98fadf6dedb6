"""Procedural cohorts of CT cases, written once under `build/`."""

from typing import Any

from benchmarks.harness.paths import BUILD
from lib.data.cases import Case, find_cases
from lib.data.phantom import write_cohort

HELD_OUT_SEED, HELD_OUT_COUNT = 9000, 20


def cohort(name: str, *, count: int, seed: int, **options: Any) -> list[Case]:
    """Return the labelled cases of a procedural cohort, which is written if it is missing.

    Args:
        name: Folder under `build/`.
        count: Number of cases.
        seed: Seed of the cohort.
        **options: Passed to `make_case`.
    """
    folder = BUILD / name
    if not (folder / "about" / "topology.json").exists():
        write_cohort(folder, count=count, seed=seed, **options)
    return [case for case in find_cases(folder) if case.label]


def held_out() -> list[Case]:
    """Return the 20 held-out cases; their seed differs from that of every training cohort."""
    return cohort("held-out", count=HELD_OUT_COUNT, seed=HELD_OUT_SEED)
