"""Split cases by patient, so that all cases of a patient are in one part and stay there when cases are added."""

from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from typing import TypeVar

from lib.data.cases import Case

CaseT = TypeVar("CaseT")
EVEN_FROM = 20
"""Number of new patients from which shares are exact: by chance, 160 patients gave 56 % in place of 70 %."""


def patient_of(case: Case) -> str:
    """Return the patient of a case: the DICOM PatientID if there is one, else the patient part of its name."""
    return case.patient


def split_by_patient(
    cases: Sequence[CaseT],
    *,
    fractions: Mapping[str, float],
    seed: int = 0,
    patient_of: Callable[[CaseT], str] = patient_of,
    minimum: int | Mapping[str, int] = 1,
    assigned: Mapping[str, str] | None = None,
    even: bool = False,
) -> dict[str, list[CaseT]]:
    """Return the cases of each part, in the order of `cases`.

    The part of a patient depends only on a hash of the seed and the patient, so adding cases does not move a patient.
    A part with fewer than `minimum` patients takes patients from the largest part. Pass the earlier parts as `assigned`
    to keep these patients where they are as well.

    Args:
        cases: Cases to split.
        fractions: Share of each part, such as ``{"train": 0.8, "val": 0.2}``; the shares sum to 1.
        seed: Seed of the hash.
        patient_of: Function that returns the patient of a case.
        minimum: Smallest number of patients in each part whose share is above 0. A mapping gives a number per part,
            and a part that it does not name has no minimum.
        assigned: Part of each patient in an earlier split; these patients keep their part.
        even: Whether the shares are exact among `EVEN_FROM` or more patients without a part, in the order of their
            hashes; for a split that is recorded, because a patient's part then depends on the others.
    Raises:
        ValueError: If the fractions do not sum to 1, `assigned` names an unknown part, or there are too few patients.
    """
    if abs(sum(fractions.values()) - 1) > 1e-6 or min(fractions.values()) < 0:
        raise ValueError(f"fractions must be 0 or more and sum to 1, got {dict(fractions)}")
    fixed = dict(assigned or {})
    if unknown := set(fixed.values()) - set(fractions):
        raise ValueError(f"assigned names unknown parts {sorted(unknown)}; the parts are {sorted(fractions)}")
    patients = sorted({patient_of(case) for case in cases})
    positions = {p: _uniform(seed, p) for p in patients if p not in fixed}
    if even and len(positions) >= EVEN_FROM:
        ranked = sorted(positions, key=lambda p: positions[p])
        positions = {p: (rank + 0.5) / len(ranked) for rank, p in enumerate(ranked)}
    part_of = {p: fixed.get(p) or _part(positions[p], fractions) for p in patients}
    least = {part: minimum if isinstance(minimum, int) else minimum.get(part, 0) for part in fractions}
    least = {part: least[part] if fractions[part] else 0 for part in fractions}
    _fill_up(part_of, fixed=set(fixed), seed=seed, minimum=least)
    return {part: [case for case in cases if part_of[patient_of(case)] == part] for part in fractions}


def _uniform(*keys: object) -> float:
    """Return a number in ``[0, 1)`` from a hash of the keys; it is the same on all machines."""
    return int.from_bytes(sha256("\0".join(map(str, keys)).encode()).digest()[:8], "big") / 2**64


def _part(position: float, fractions: Mapping[str, float]) -> str:
    end = 0.0
    for part, share in fractions.items():
        end += share
        if position < end:
            return part
    return max(fractions, key=lambda part: fractions[part])  # rounding left the sum of the shares below 1


def _fill_up(part_of: dict[str, str], *, fixed: set[str], seed: int, minimum: Mapping[str, int]) -> None:
    """Move patients into parts that are below their minimum, in place."""
    members = {part: [p for p in part_of if part_of[p] == part] for part in minimum}
    for part, least in minimum.items():
        while len(members[part]) < least:
            donors = [
                (len(group), other, free)
                for other, group in members.items()
                if len(group) > minimum[other] and (free := [p for p in group if p not in fixed])
            ]
            if not donors:
                need = " and ".join(f"{count} in {name}" for name, count in minimum.items() if count)
                raise ValueError(f"{len(part_of)} patients are too few for {need}: add cases of other patients")
            _, other, free = max(donors, key=lambda donor: donor[:2])
            moved = min(free, key=lambda p: _uniform(seed, part, p))
            members[other].remove(moved)
            members[part].append(moved)
            part_of[moved] = part


def split_pool_and_test(cases: Sequence[Case], test: int) -> tuple[list[Case], list[Case]]:
    """Split labelled cases into a pool to label and a test set, with no patient in both.

    The order in which patients are taken for the test set depends on a hash of their names only.

    Args:
        cases: Cases; cases without a label are left out.
        test: Number of patients in the test set.
    Returns:
        The pool and the test set, both in the order of `cases`.
    Raises:
        ValueError: If fewer than two patients are left for the pool.
    """
    labelled = [case for case in cases if case.label is not None]
    patients = sorted({case.patient for case in labelled}, key=lambda name: sha256(name.encode()).hexdigest())
    if len(patients) < test + 2:
        raise ValueError(
            f"{len(patients)} patients with labels are too few: {test} are for the test set, at least two for the pool"
        )
    chosen = set(patients[:test])
    pool = [case for case in labelled if case.patient not in chosen]
    return pool, [case for case in labelled if case.patient in chosen]
