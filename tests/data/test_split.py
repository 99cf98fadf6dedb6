"""All cases of a patient are in one part, and patients do not move when cases are added."""

from pathlib import Path

import pytest

from lib.data.cases import Case
from lib.data.split import patient_of, split_by_patient, split_pool_and_test

FRACTIONS = {"train": 0.7, "val": 0.2, "test": 0.1}


def make(count: int, per_patient: int = 2) -> list[Case]:
    return [
        Case(f"p{i}_{j}", Path(f"p{i}_{j}.nii.gz"), None, f"p{i}") for i in range(count) for j in range(per_patient)
    ]


def parts(cases: list[Case], **options: object) -> dict[str, str]:
    split = split_by_patient(cases, fractions=FRACTIONS, **options)  # type: ignore[arg-type]
    return {case.id: part for part, group in split.items() for case in group}


@pytest.mark.parametrize("count", [3, 4, 10, 200])
def test_patients_stay_together_and_no_case_is_lost(count: int) -> None:
    cases = make(count)
    split = split_by_patient(cases, fractions=FRACTIONS, seed=1)
    owners = [{patient_of(case) for case in group} for group in split.values()]
    assert sum(map(len, owners)) == len(set().union(*owners)) == count
    assert sorted(case.id for group in split.values() for case in group) == sorted(case.id for case in cases)
    assert all(owners)


def test_shares_are_near_the_fractions() -> None:
    split = split_by_patient(make(2000, 1), fractions=FRACTIONS)
    for part, share in FRACTIONS.items():
        assert abs(len(split[part]) / 2000 - share) < 0.04


@pytest.mark.parametrize("seed", range(5))
def test_adding_cases_moves_no_patient(seed: int) -> None:
    before, after = parts(make(60), seed=seed), parts(make(300), seed=seed)
    assert before == {name: after[name] for name in before}


def test_few_patients_stay_where_they_were_assigned() -> None:
    cases = make(3)
    first = parts(cases)
    known = {case.patient: first[case.id] for case in cases}
    later = parts(make(40), assigned=known)
    assert first == {name: later[name] for name in first}


def test_order_does_not_matter_and_the_seed_does() -> None:
    cases = make(40)
    assert parts(cases) == parts(cases[::-1])
    assert parts(cases, seed=1) != parts(cases, seed=2)


@pytest.mark.parametrize("minimum", [1, 3])
def test_each_part_gets_its_minimum(minimum: int) -> None:
    cases = make(3 * minimum, 1)
    split = split_by_patient(cases, fractions=FRACTIONS, minimum=minimum)
    assert [len(group) for group in split.values()] == [minimum] * 3
    with pytest.raises(ValueError, match="too few"):
        split_by_patient(cases[1:], fractions=FRACTIONS, minimum=minimum)


def test_each_part_may_have_its_own_minimum() -> None:
    split = split_by_patient(make(8, 1), fractions=FRACTIONS, minimum={"train": 1, "test": 5})
    assert len(split["test"]) == 5 and len(split["train"]) >= 1
    with pytest.raises(ValueError, match="too few for 1 in train and 8 in test"):
        split_by_patient(make(8, 1), fractions=FRACTIONS, minimum={"train": 1, "test": 8})


def test_part_without_a_share_stays_empty() -> None:
    assert split_by_patient(make(9), fractions={"train": 1.0, "val": 0.0})["val"] == []


@pytest.mark.parametrize("fractions", [{"train": 0.5}, {"train": 1.5, "val": -0.5}])
def test_bad_fractions_are_refused(fractions: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="sum to 1"):
        split_by_patient(make(9), fractions=fractions)


def test_unknown_assignment_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown parts"):
        split_by_patient(make(9), fractions=FRACTIONS, assigned={"p0": "hold-out"})


def test_patient_function_may_be_given() -> None:
    split = split_by_patient(["a1", "a2", "b1"], fractions={"x": 0.5, "y": 0.5}, patient_of=lambda name: name[0])
    assert sorted(split.values()) in ([["a1", "a2"], ["b1"]],)


def make_case(name: str, patient: str = "", label: bool = True) -> Case:
    return Case(name, Path(f"{name}.nii"), Path(f"label_{name}.nii") if label else None, patient or name)


def test_pool_and_test_set_share_no_patient() -> None:
    cases = [make_case(f"p{n}_{scan}", f"p{n}") for n in range(12) for scan in "ab"]
    pool, test = split_pool_and_test(cases, 4)
    assert len(pool) == 16 and len(test) == 8
    assert not {case.patient for case in pool} & {case.patient for case in test}
    assert split_pool_and_test([make_case("p3_c", "p3"), *cases[::-1]], 4)[1] != []


def test_case_without_a_label_is_in_neither_pool_nor_test_set() -> None:
    cases = [make_case(f"p{n}", label=n != 3) for n in range(8)]
    assert "p3" not in {case.id for part in split_pool_and_test(cases, 2) for case in part}


def test_too_few_patients_are_refused() -> None:
    with pytest.raises(ValueError, match="3 patients with labels are too few: 2 are for the test set"):
        split_pool_and_test([make_case(f"p{n}") for n in range(3)], 2)


def test_shares_are_exact_among_many_new_patients() -> None:
    names = [f"hippocampus_{number:03d}" for number in range(160)]
    fractions = {"train": 0.7, "val": 0.1, "held_out": 0.2}
    first = split_by_patient(names, fractions=fractions, patient_of=str, even=True)
    assert {part: len(some) for part, some in first.items()} == {"train": 112, "val": 16, "held_out": 32}
    assigned = {name: part for part, some in first.items() for name in some}
    more = [*names, *(f"p{number}" for number in range(40))]
    second = split_by_patient(more, fractions=fractions, patient_of=str, assigned=assigned, even=True)
    assert {part: len(some) for part, some in second.items()} == {"train": 140, "val": 20, "held_out": 40}
    assert all(name in second[part] for name, part in assigned.items())
    few = split_by_patient(names[:19], fractions=fractions, patient_of=str, even=True)
    assert few == split_by_patient(names[:19], fractions=fractions, patient_of=str)
