"""The frozen split: the part of a patient never changes when cases are added, renamed or copied."""

import random
import threading
from pathlib import Path

import pytest

from lib.data.cases import Case
from lib.records.ledger import Ledger
from lib.records.split import HELD_OUT, TRAIN, VAL, FrozenSplit


class Studies:
    """Folder of images that are created on request."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()

    def case(self, name: str, patient: str, content: str = "") -> Case:
        path = self.folder / f"{name}.nii.gz"
        path.write_text(content or name)
        return Case(name, path, path, patient)

    def cases(self, count: int, start: int = 0) -> list[Case]:
        return [self.case(f"ct_{number}", f"p{number}") for number in range(start, start + count)]


@pytest.fixture
def studies(tmp_path: Path) -> Studies:
    return Studies(tmp_path / "studies")


def part_of(split: dict[str, list[Case]]) -> dict[str, str]:
    return {case.id: part for part, cases in split.items() for case in cases}


@pytest.mark.parametrize(("patients", "held_out"), [(2, 0), (3, 1), (5, 1), (6, 2), (9, 3), (15, 5)])
def test_the_held_out_part_grows_with_the_number_of_patients(
    ledger: Ledger, studies: Studies, patients: int, held_out: int
) -> None:
    split = FrozenSplit(ledger).assign(studies.cases(patients))
    assert len(split[HELD_OUT]) >= held_out and split[TRAIN] and split[VAL]
    assert sum(map(len, split.values())) == patients


def test_an_assignment_never_changes(ledger: Ledger, studies: Studies) -> None:
    before: dict[str, str] = {}
    for count in (2, 3, 4, 10, 40):
        after = part_of(FrozenSplit(ledger).assign(studies.cases(count)))
        assert before.items() <= after.items()
        before = after
    assert len(ledger.rows("split")) == 40 and ledger.verify() == []


def test_another_held_out_size_changes_no_assignment(ledger: Ledger, studies: Studies) -> None:
    cases = studies.cases(12)
    before = part_of(FrozenSplit(ledger, held_out_patients=1).assign(cases))
    assert part_of(FrozenSplit(ledger, held_out_patients=4).assign(cases)) == before
    more = FrozenSplit(ledger, held_out_patients=8).assign([*cases, *studies.cases(12, start=12)])
    assert len(more[HELD_OUT]) == 8 and before.items() <= part_of(more).items()


def test_another_series_and_a_copy_get_the_part_of_their_patient(ledger: Ledger, studies: Studies) -> None:
    split = FrozenSplit(ledger)
    (held, *_) = split.assign(studies.cases(9))[HELD_OUT]
    series = studies.case("another series", held.patient)
    copy = studies.case("a copy", "another patient name", held.id)
    second = studies.case("another series of the copy's patient", "another patient name")
    assert len(split.leaks([series, copy, second])) == 3
    after = part_of(split.assign([*studies.cases(9), series, copy, second]))
    assert {after[case.id] for case in (series, copy, second)} == {HELD_OUT}
    reread = FrozenSplit(ledger)
    assert len(reread.leaks([second])) == 1, "the ledger alone links the series to the held-out patient"


def test_a_training_patient_with_a_held_out_image_becomes_held_out(ledger: Ledger, studies: Studies) -> None:
    split = FrozenSplit(ledger)
    first = split.assign(studies.cases(9))
    trained, held = first[TRAIN][0], first[HELD_OUT][0]
    copy = studies.case("a copy", trained.patient, held.id)
    after = split.assign([*studies.cases(9), copy])
    assert part_of(after)[trained.id] == HELD_OUT and held in after[HELD_OUT]
    assert split.leaks([trained]) == [f"{trained.id}: its patient {trained.patient} is held out"]


def test_cases_that_must_not_be_trained_on_are_listed_with_reasons(ledger: Ledger, studies: Studies) -> None:
    split = FrozenSplit(ledger)
    parts = split.assign(studies.cases(9))
    assert split.leaks(parts[TRAIN]) == []
    stranger = studies.case("stranger", "unseen")
    reasons = split.leaks([parts[HELD_OUT][0], parts[VAL][0], stranger])
    assert [reason.split(" ", 4)[-1] for reason in reasons] == [
        "is held out",
        "chooses models",
        "was never assigned to a part",
    ]


def test_a_split_without_training_patients_is_refused(ledger: Ledger, studies: Studies) -> None:
    split = FrozenSplit(ledger)
    held = split.assign(studies.cases(9))[HELD_OUT]
    with pytest.raises(ValueError, match="another patient"):
        split.assign(held)
    assert len(ledger.rows("split")) == 9


def test_threads_that_assign_at_once_get_the_same_split(ledger: Ledger, studies: Studies) -> None:
    cases, found = studies.cases(30), []
    threads = [threading.Thread(target=lambda: found.append(FrozenSplit(ledger).assign(cases))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4 and all(split == found[0] for split in found) and len(ledger.rows("split")) == 30


@pytest.mark.parametrize("seed", range(3))
def test_fifty_rounds_of_labelling_never_leak_a_held_out_patient(ledger: Ledger, studies: Studies, seed: int) -> None:
    """Every round adds new patients, new series of known patients and sometimes a renamed copy."""
    rng = random.Random(seed)
    cases: list[Case] = []
    owner: dict[str, str] = {}
    trained: set[str] = set()
    held: set[str] = set()
    for number in range(50):
        for index in range(rng.randint(1, 3)):
            name, old = f"r{number}_{index}", rng.choice(cases) if cases and rng.random() < 0.4 else None
            copied = old is not None and rng.random() < 0.3
            patient = f"new {name}" if old is None or copied else old.patient
            owner[name] = owner[old.id] if old else name
            cases.append(studies.case(name, patient, old.image.read_text() if old and copied else ""))
        if len({case.patient for case in cases}) < 2:
            continue
        frozen = FrozenSplit(ledger)
        split = frozen.assign(cases)
        assert held <= {case.id for case in split[HELD_OUT]}, "a held-out patient stays held out"
        held = {case.id for case in split[HELD_OUT]}
        assert frozen.leaks(split[TRAIN]) == []
        # Checked against the true owners of the images that were trained on so far, not against the ledger.
        trained |= {owner[case.id] for case in split[TRAIN]}
        assert not trained & {owner[case.id] for case in split[HELD_OUT]}
    assert len(held) > 5 and len(trained) > 20


def test_the_parts_of_known_patients_are_known_without_an_assignment(ledger: Ledger, studies: Studies) -> None:
    cases, split = studies.cases(9), FrozenSplit(ledger)
    assert split.parts(cases) == {} and ledger.rows("split") == []
    assigned = part_of(split.assign(cases[:6]))
    assert split.parts(cases) == assigned and len(ledger.rows("split")) == 6
