"""The frozen split of patients into train, val and held-out: assigned once and recorded in the ledger.

A patient is recognised by name and by image: a copy of a known image under another name, or another series of a known
patient, gets the part of that patient. If records disagree, the part that is furthest from training counts.
"""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from lib.data.cases import Case
from lib.data.split import split_by_patient
from lib.records.card import hash_file
from lib.records.ledger import Ledger, Row, Writer

TRAIN, VAL, HELD_OUT = "train", "val", "held_out"
FRACTIONS = {TRAIN: 0.7, VAL: 0.1, HELD_OUT: 0.2}
"""Share of patients in each part. Val chooses the epoch and the background level; held-out only evaluates versions."""
_MOST_PROTECTED = (HELD_OUT, VAL, TRAIN)
HELD_OUT_PATIENTS = 5
PATIENTS_PER_HELD_OUT = 3
"""While there are too few patients, one of this many is held out."""


class FrozenSplit:
    """Split of the cases of one app.

    Args:
        ledger: Ledger of the app, with the assignments.
        held_out_patients: Number of held-out patients to reach, once there are enough patients.
        hash_image: Returns the SHA-256 of an image; a caller may pass a function with a cache.
    """

    def __init__(
        self,
        ledger: Ledger,
        *,
        held_out_patients: int = HELD_OUT_PATIENTS,
        hash_image: Callable[[Path], str] = hash_file,
    ) -> None:
        self._ledger, self._wanted, self._hash = ledger, held_out_patients, hash_image

    def assign(self, cases: Sequence[Case]) -> dict[str, list[Case]]:
        """Return the cases of each part; new patients are assigned now, and the assignment never changes.

        Args:
            cases: All cases, in any order, including those that were assigned before.
        Raises:
            ValueError: If no patient is left to train on.
        """
        images = {case.id: self._hash(case.image) for case in cases}
        with self._ledger.writing() as writer:
            rows = writer.rows("split")
            owners = _owners(rows, cases, images)
            split = self._split(cases, owners, _parts(rows, owners))
            _record_assignments(writer, rows, split, images)
        return split

    def parts(self, cases: Sequence[Case]) -> dict[str, str]:
        """Return the part of each case whose patient was assigned to one, by the name of the case."""
        images, rows = {case.id: self._hash(case.image) for case in cases}, self._ledger.rows("split")
        owners = _owners(rows, cases, images)
        parts = _parts(rows, owners)
        return {case.id: part for case in cases if (part := parts.get(owners[case.patient]))}

    def leaks(self, cases: Sequence[Case]) -> list[str]:
        """Return one sentence for each case that must not be trained on; empty if there is none.

        Args:
            cases: Cases of a training list.
        """
        images, rows = {case.id: self._hash(case.image) for case in cases}, self._ledger.rows("split")
        owners = _owners(rows, cases, images)
        parts = _parts(rows, owners)
        reasons = {VAL: "chooses models", HELD_OUT: "is held out", None: "was never assigned to a part"}
        return [
            f"{case.id}: its patient {case.patient} {reasons[part]}"
            for case in cases
            if (part := parts.get(owners[case.patient])) != TRAIN
        ]

    def _split(
        self, cases: Sequence[Case], owners: Mapping[str, str], assigned: Mapping[str, str]
    ) -> dict[str, list[Case]]:
        patients = len({owners[case.patient] for case in cases})
        enough = min(self._wanted, patients // PATIENTS_PER_HELD_OUT)
        # Assigned patients keep their part, so the held-out part may have to wait for new patients.
        for minimum in [*({TRAIN: 1, VAL: 1, HELD_OUT: least} for least in range(enough, -1, -1)), {TRAIN: 1}]:
            with contextlib.suppress(ValueError):
                return split_by_patient(
                    cases,
                    fractions=FRACTIONS,
                    patient_of=lambda case: owners[case.patient],
                    minimum=minimum,
                    assigned=assigned,
                    even=True,
                )
        raise ValueError("every labelled patient is held out: submit the label of another patient")


def _owners(rows: Sequence[Row], cases: Sequence[Case], images: Mapping[str, str]) -> dict[str, str]:
    """Return one identity for each patient name; names that share an image have the same identity."""
    pairs = [(row.subject, row.body["image"]) for row in rows] + [(case.patient, images[case.id]) for case in cases]
    owner: dict[str, str] = {}
    first: dict[str, str] = {}
    for patient, image in pairs:
        one, other = owner.setdefault(patient, patient), owner[first.setdefault(image, patient)]
        if one != other:
            owner.update({name: other for name, known in owner.items() if known == one})
    return owner


def _parts(rows: Sequence[Row], owners: Mapping[str, str]) -> dict[str, str]:
    found: dict[str, set[str]] = {}
    for row in rows:
        found.setdefault(owners[row.subject], set()).add(row.body["part"])
    return {owner: next(part for part in _MOST_PROTECTED if part in parts) for owner, parts in found.items()}


def _record_assignments(
    writer: Writer, rows: Sequence[Row], split: Mapping[str, Sequence[Case]], images: Mapping[str, str]
) -> None:
    """Add a row to the ledger for every new pair of patient and image."""
    known = {(row.subject, row.body["image"]) for row in rows}
    for part, cases in split.items():
        for case in cases:
            if (case.patient, images[case.id]) not in known:
                known.add((case.patient, images[case.id]))
                writer.append("split", case.patient, {"part": part, "case": case.id, "image": images[case.id]})
