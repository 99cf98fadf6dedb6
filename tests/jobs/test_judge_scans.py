"""Judging restoration networks: scores for the gate, and detection of broken versions."""

import pytest
import torch
from torch import nn

from lib.data.cases import Case
from lib.data.scintigraphy.skeleton import write_pairs
from lib.jobs.gate import HOLD, PUBLISH, REJECT, GateSpec, decide
from lib.jobs.judge_scans import judge_scans


class Changes(nn.Module):
    """Network that applies a function to its input."""

    def __init__(self, change=lambda x: x) -> None:
        super().__init__()
        self.weight, self.change = nn.Parameter(torch.zeros(1)), change

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.change(x) + self.weight


def fails(x: torch.Tensor) -> torch.Tensor:
    raise IndexError("index out of range")


def blurred(x: torch.Tensor) -> torch.Tensor:
    return nn.functional.avg_pool2d(x, 3, 1, 1)


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> list[Case]:
    folder = tmp_path_factory.mktemp("pairs")
    paths = write_pairs(folder, count=6, seed=1, pixel_mm=12.0)
    return [Case(p.name, p, folder / "labels" / "final" / p.name, p.name) for p in paths]


@pytest.mark.parametrize("metric", ["psnr", "ssim"])
def test_the_version_nearer_to_the_standard_scan_is_published(cases: list[Case], metric: str) -> None:
    spec = GateSpec(metric=metric, tolerance=0.0)
    same, smooth = (judge_scans(Changes(change), cases, metric) for change in (lambda x: x, blurred))
    assert [judged.case for judged in same] == sorted(case.id for case in cases) and set(same[0].scores) == {metric}
    better, worse = sorted((same, smooth), key=lambda side: sum(case.scores[metric] for case in side), reverse=True)
    verdict = decide(better, worse, spec, min_patients=5)
    assert verdict.verdict == PUBLISH and ("PSNR" if metric == "psnr" else "SSIM") in verdict.reason
    assert decide(worse, better, spec, min_patients=5).verdict == REJECT
    assert decide(worse, None, spec, min_patients=7).verdict == HOLD
    assert set(verdict.figures["differences"]) == {verdict.reason.split(": ")[1].split(" ")[0]}, (
        "clDice is for masks only"
    )


def test_a_floor_applies_to_the_metric(cases: list[Case]) -> None:
    found = judge_scans(Changes(), cases, "psnr")
    decision = decide(found, None, GateSpec(metric="psnr", floors={"psnr": 60.0}), min_patients=5)
    assert decision.verdict == REJECT and "psnr has PSNR" in decision.reason


def test_a_broken_version_is_rejected(cases: list[Case]) -> None:
    spec = GateSpec(metric="psnr")
    for network, expected in (
        (Changes(lambda x: x * float("nan")), "no numbers"),
        (Changes(lambda x: 0 * x + 0.5), "the same value in every voxel"),
        (Changes(fails), "fails with IndexError"),
    ):
        decision = decide(judge_scans(network, cases[:3], "psnr"), None, spec, min_patients=2)
        assert decision.verdict == REJECT and expected in decision.reason
    broken = Changes()
    broken.weight.data += float("inf")
    assert not any(judged.finite for judged in judge_scans(broken, cases[:2], "psnr"))


def test_the_network_keeps_its_mode(cases: list[Case]) -> None:
    network = Changes().train()
    judge_scans(network, cases[:1], "psnr")
    assert network.training
