"""Split cases by patient, so that a patient is in one part only and stays there when cases are added."""

from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from typing import TypeVar

from lib.data.cases import Case

CaseT = TypeVar("CaseT")


def patient_of(case: Case) -> str:
    """Return whose case it is: the DICOM PatientID where known, else the patient part of its name."""
    return case.patient


def split_by_patient(
    cases: Sequence[CaseT],
    *,
    fractions: Mapping[str, float],
    seed: int = 0,
    patient_of: Callable[[CaseT], str] = patient_of,
    minimum: int | Mapping[str, int] = 1,
    assigned: Mapping[str, str] | None = None,
) -> dict[str, list[CaseT]]:
    """Return the cases of every part, in the order given.

    A patient's part follows from a hash of seed and patient alone, so other cases never move it. Only where a part
    has fewer than `minimum` patients does it take from the largest; hand those back as `assigned` next time and they
    never move either.

    Args:
        cases: What to split.
        fractions: Part to share, summing to 1; ``{"train": 0.8, "val": 0.2}``.
        seed: Another seed gives another split.
        patient_of: The patient of a case.
        minimum: Patients that every part with a share must have; per part, a part not named needs none.
        assigned: Patient to part, from an earlier split; these are kept.
    Raises:
        ValueError: If the fractions do not sum to 1, `assigned` names an unknown part, or patients are too few.
    """
    if abs(sum(fractions.values()) - 1) > 1e-6 or min(fractions.values()) < 0:
        raise ValueError(f"fractions must be positive and sum to 1, got {dict(fractions)}")
    kept = dict(assigned or {})
    if unknown := set(kept.values()) - set(fractions):
        raise ValueError(f"assigned names unknown parts {sorted(unknown)}; known are {sorted(fractions)}")
    patients = sorted({patient_of(case) for case in cases})
    part_of = {p: kept.get(p) or _part(_uniform(seed, p), fractions) for p in patients}
    least = {part: minimum if isinstance(minimum, int) else minimum.get(part, 0) for part in fractions}
    least = {part: least[part] if fractions[part] else 0 for part in fractions}
    _fill(part_of, fixed=set(kept), seed=seed, minimum=least)
    return {part: [case for case in cases if part_of[patient_of(case)] == part] for part in fractions}


def _uniform(*words: object) -> float:
    """Return a number in ``[0, 1)`` that is the same on every machine."""
    return int.from_bytes(sha256("\0".join(map(str, words)).encode()).digest()[:8], "big") / 2**64


def _part(position: float, fractions: Mapping[str, float]) -> str:
    end = 0.0
    for part, share in fractions.items():
        end += share
        if position < end:
            return part
    return max(fractions, key=lambda part: fractions[part])  # the sum fell short of 1 by rounding


def _fill(part_of: dict[str, str], *, fixed: set[str], seed: int, minimum: Mapping[str, int]) -> None:
    """Move patients into parts below their minimum, in place."""
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
                raise ValueError(f"{len(part_of)} patients are too few for {need}: add cases")
            _, other, free = max(donors, key=lambda donor: donor[:2])
            moved = min(free, key=lambda p: _uniform(seed, part, p))
            members[other].remove(moved)
            members[part].append(moved)
            part_of[moved] = part


def divided(cases: Sequence[Case], test: int) -> tuple[list[Case], list[Case]]:
    """Return cases to label and cases to test on, patients apart, by a lot that other cases do not change.

    Args:
        cases: With labels; those without are left out.
        test: Patients to test on.
    Raises:
        ValueError: If too few patients are left to label.
    """
    known = [case for case in cases if case.label is not None]
    patients = sorted({case.patient for case in known}, key=lambda name: sha256(name.encode()).hexdigest())
    if len(patients) < test + 2:
        raise ValueError(
            f"{len(patients)} patients with labels are too few: {test} test, and two at least are labelled"
        )
    chosen = set(patients[:test])
    return [case for case in known if case.patient not in chosen], [case for case in known if case.patient in chosen]
