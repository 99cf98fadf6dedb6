"""Judging by clicks: scores worked by hand, and detection of broken versions."""

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from lib.data.cases import Case
from lib.data.pipeline import IGNORE, ImageSpec
from lib.jobs.gate import PUBLISH, REJECT, GateSpec, JudgedCase, decide
from lib.jobs.judge_clicks import judge_clicks
from lib.models.sam.network import PromptedNetwork, Prompts
from tests.models.sam.toys import Bright, toy_network

SPEC = ImageSpec((1.0, 1.0, 1.0), (0.0, -1000.0), (64, 64))
LABELS = ("low", "high")


class Constant(Bright):
    """Network whose logits have one value everywhere."""

    level = 0.0

    def decode(self, embedding: torch.Tensor, prompts: Prompts, image_pe: torch.Tensor | None = None) -> torch.Tensor:
        return torch.full_like(embedding, self.level)


class Empty(Constant):
    level = -9.0


class Full(Constant):
    level = 9.0


class NotFinite(Constant):
    level = float("nan")


class Fails(Bright):
    error: Exception = IndexError("index out of range")

    def decode(self, embedding: torch.Tensor, prompts: Prompts, image_pe: torch.Tensor | None = None) -> torch.Tensor:
        raise self.error


@pytest.fixture
def make_case(tmp_path: Path) -> Callable[..., Case]:
    """Return a function that writes a dark bar in bright tissue, half label 1, half label 2 or IGNORE."""

    def make(name: str, ignore: bool = False, labelled: bool = True) -> Case:
        hu, label = np.zeros((40, 40, 6), np.int16), np.zeros((40, 40, 6), np.uint8)
        hu[8:32, 16:24] = -1000
        if labelled:
            label[8:20, 16:24], label[20:32, 16:24] = 1, IGNORE if ignore else 2
        paths = [tmp_path / f"{name}.nii.gz", tmp_path / f"{name}-label.nii.gz"]
        for voxels, path in zip((hu, label), paths, strict=True):
            nib.save(nib.Nifti1Image(voxels, np.eye(4)), path)
        return Case(name, paths[0], paths[1], f"patient {name}")

    return make


def judged(cases: list[Case], kind: type[PromptedNetwork] = Bright) -> list[JudgedCase]:
    return judge_clicks(toy_network(64, kind=kind, rank=0), cases, SPEC, LABELS, "airway", tubular=LABELS)


def test_scores_match_values_worked_by_hand(make_case: Callable[..., Case]) -> None:
    first, second = judged([make_case("b"), make_case("a")])
    assert (first.case, second.case, first.patient) == ("a", "b", "patient a")
    # The network finds the whole dark bar, twice the size of one label: Dice is 2 x 1 / (2 + 1).
    assert first.scores["airway"] is not None and first.scores["airway"] > 0.95
    assert first.scores["low"] == first.scores["high"] == pytest.approx(2 / 3, abs=0.05)
    assert first.cl_dice is not None and first.cl_dice > 0.9
    assert first.finite and not first.constant and not first.fault and first.seconds > 0
    assert first.scores == second.scores and first.cl_dice == second.cl_dice


def test_ignored_voxels_are_not_counted(make_case: Callable[..., Case]) -> None:
    (score,) = judged([make_case("a", ignore=True)])
    assert score.scores["airway"] is not None and score.scores["airway"] > 0.95 and score.cl_dice is not None
    assert score.scores["high"] is None and score.cl_dice > 0.9


def test_a_case_without_an_object_has_no_scores(make_case: Callable[..., Case]) -> None:
    (score,) = judged([make_case("a", labelled=False)])
    assert score.scores == {"airway": None, "low": None, "high": None} and score.cl_dice is None
    assert not score.constant and score.finite and not score.fault


@pytest.mark.parametrize("kind", [Empty, Full])
def test_a_constant_answer_is_detected(make_case: Callable[..., Case], kind: type[PromptedNetwork]) -> None:
    (score,) = judged([make_case("a")], kind)
    assert score.constant and score.finite and not score.fault


def test_a_nonfinite_answer_is_detected(make_case: Callable[..., Case]) -> None:
    (score,) = judged([make_case("a")], NotFinite)
    assert not score.finite and score.scores["airway"] == 0


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_network_with_nonfinite_weights_is_not_run(make_case: Callable[..., Case], value: float) -> None:
    network = toy_network(64, kind=Fails)
    with torch.no_grad():
        network.mask_decoder.mask_tokens.weight[0, 0] = value
    (score,) = judge_clicks(network, [make_case("a")], SPEC, LABELS, "airway", tubular=LABELS)
    assert not score.finite and not score.fault and score.cl_dice == 0
    assert score.scores == {"airway": 0.0, "low": 0.0, "high": 0.0}


def test_a_version_that_raises_has_a_fault_and_scores_of_0(make_case: Callable[..., Case]) -> None:
    (score,) = judged([make_case("a")], Fails)
    assert score.fault == "IndexError: index out of range" and set(score.scores.values()) == {0.0}


def test_an_error_of_memory_is_raised(make_case: Callable[..., Case], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Fails, "error", MemoryError("no room"))
    with pytest.raises(MemoryError):
        judged([make_case("a")], Fails)


def test_the_network_keeps_its_mode_and_weights(make_case: Callable[..., Case]) -> None:
    network = toy_network(64).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    scores = [judge_clicks(network, [make_case("a")], SPEC, LABELS, "airway", tubular=LABELS)[0] for _ in range(2)]
    assert network.training and all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert scores[0].scores == scores[1].scores and scores[0].cl_dice == scores[1].cl_dice


def test_the_gate_publishes_a_good_network_and_rejects_broken_ones(make_case: Callable[..., Case]) -> None:
    cases = [make_case(name) for name in "abc"]
    good, spec = judged(cases), GateSpec(floors={"low": 0.5})
    assert decide(good, good, spec, min_patients=2).verdict == PUBLISH
    for kind in (Empty, Full, NotFinite, Fails):
        assert decide(judged(cases, kind), good, spec, min_patients=2).verdict == REJECT


def test_the_cldice_is_that_of_the_tubular_labels(make_case: Callable[..., Case]) -> None:
    """Of all labels together only if all are tubular."""
    network = toy_network(64, kind=Bright, rank=0)

    def cl_dice(tubular: tuple[str, ...]) -> float | None:
        return judge_clicks(network, [make_case("a")], SPEC, LABELS, "airway", tubular=tubular)[0].cl_dice

    whole, part = cl_dice(LABELS), cl_dice(("low",))
    assert cl_dice(()) is None and whole is not None and whole > 0.9
    assert part is not None and part < whole, "the network draws the whole bar"
