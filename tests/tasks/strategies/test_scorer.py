"""One image through the real pipeline and a real network: numbers, embedding, and who made them."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from torch import nn

from lib.data.findings import InputRejected
from lib.data.phantom import make_case
from lib.data.pipeline import save_label
from lib.jobs.publish import register
from lib.models.inference.samples import Dropping, View
from lib.records.versions import find_version, write_version
from lib.tasks.serving.models import promote
from lib.tasks.serving.weights import NoWeights, build_network, shelf
from lib.tasks.spec import TaskSpec
from lib.tasks.spec.blocks import ScoreSpec
from lib.tasks.strategies import scorer as scorer_module
from lib.tasks.strategies.scorer import Scorer, maker_of


@pytest.fixture
def scored(task: TaskSpec) -> TaskSpec:
    return replace(task, scores=ScoreSpec(samples=3))


@pytest.mark.parametrize("by", ["tta", "dropout", "ensemble"])
def test_all_numbers_of_a_case_in_one_pass(
    app_dir: Path, scored: TaskSpec, starter: Path, write_ct: Callable[..., Path], by: str
) -> None:
    scorer = Scorer(app_dir, replace(scored, scores=ScoreSpec(by=by, samples=3)))
    seen: list[tuple[int, int]] = []
    score = scorer.score(write_ct(0), lambda done, of: seen.append((done, of)))
    assert score.numbers is not None and set(score.numbers["classes"]) == {"tube", "cavity"}
    every = score.numbers["all"]
    assert 0 < every["entropy_top"] <= np.log(3) + 1e-3 and every["information_top"] > 0
    assert seen[-1] == (20, 20), "slices, once each, however many samples"
    assert score.embedding and all(np.isfinite(score.embedding))
    assert scorer.score(write_ct(0)) == score, "the same again"
    assert scorer.embed(write_ct(0)).numbers is None


def test_the_members_are_what_app_toml_says(app_dir: Path, scored: TaskSpec, starter: Path) -> None:
    def members(by: str) -> list:
        scorer = Scorer(app_dir, replace(scored, scores=ScoreSpec(by=by, samples=3)))
        return list(scorer._all.network.members)

    assert all(isinstance(each, Dropping) for each in members("dropout"))
    plain = members("ensemble")
    assert len(plain) == 3 and len({id(each.network) for each in plain}) == 1, "one version: views of it"
    for name in ("v1", "v2", "v3"):
        write_version(shelf(app_dir, scored).root, build_network(scored).state_dict(), {}, name=name)
        register(shelf(app_dir, scored), find_version(shelf(app_dir, scored).root, name), {})
    promote(app_dir, "tubes", "v1")
    two = members("ensemble")
    assert len({id(each.network) for each in two}) == 2 and isinstance(two[2], View) and two[2].mirrored
    promote(app_dir, "tubes", "v2")
    three = members("ensemble")
    assert len({id(each.network) for each in three}) == 3, "v2, v1 and the starter; v3 was never served"
    assert not any(each.mirrored for each in three)


def test_who_made_a_score(app_dir: Path, scored: TaskSpec, starter: Path) -> None:
    maker = maker_of(app_dir, scored)
    assert (maker.task, maker.version) == ("tubes", "starter")
    same = [ScoreSpec(samples=3, pool=7), ScoreSpec(samples=3, over="roi")]
    other = [ScoreSpec(samples=4), ScoreSpec(samples=3, by="dropout"), ScoreSpec(samples=3, top_ml=2.0)]
    assert all(maker_of(app_dir, replace(scored, scores=each)) == maker for each in same)
    assert all(maker_of(app_dir, replace(scored, scores=each)).settings != maker.settings for each in other)
    image = replace(scored.image, window_hu=(-900.0, 400.0))
    assert maker_of(app_dir, replace(scored, image=image)).settings != maker.settings


def test_without_weights_nothing_scores(app_dir: Path, scored: TaskSpec) -> None:
    with pytest.raises(NoWeights):
        Scorer(app_dir, scored)


def test_what_the_gate_refuses_is_not_scored(app_dir: Path, scored: TaskSpec, starter: Path, tmp_path: Path) -> None:
    path = tmp_path / "empty.nii.gz"
    nib.save(nib.Nifti1Image(np.zeros((20, 20, 20), np.int16), np.eye(4)), path)  # type: ignore[attr-defined]
    with pytest.raises(InputRejected):
        Scorer(app_dir, scored).score(path)


class Local(nn.Module):
    """A threshold at -480 HU, soft: it sees one voxel at a time, so that a crop cannot change its answers."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Conv2d(3, 3, 1)
        self.weight.weight.data = torch.tensor([[0, 0, 0], [0, -12.0, 0], [0, 0, 0]]).view(3, 3, 1, 1)
        self.weight.bias.data = torch.tensor([0.0, 12 * 520 / 1400, -20.0])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.weight(x)


def test_one_ambiguous_region_in_a_crop_and_in_the_full_field_of_view(
    app_dir: Path, scored: TaskSpec, starter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A ball of fog in a procedural neck, read, windowed and sampled as any image: the same within 2 %.

    The network is local on purpose. Those of the project see the whole slice, in their norms and scans, so what they
    answer, and how sure they are, depends a little on what else is in it.
    """
    monkeypatch.setattr(scorer_module, "build_network", lambda *_: Local().eval())
    scorer = Scorer(app_dir, scored)
    case = make_case(5, fov="neck", pixel_mm=2.0, slice_mm=2.0, grid_mm=2.0)
    hu, (x, y, z) = fogged(case.image, case.label)
    found, means = [], []
    for number, (a, b) in enumerate(((44, 16), (12, 10))):
        box = np.s_[max(0, x - a) : x + a, max(0, y - a) : y + a, z - b : z + b]
        affine = case.affine.copy()
        affine[:3, 3] = (case.affine @ [*(side.start for side in box), 1])[:3]
        path = save_label(hu[box], affine, tmp_path / f"{number}.nii.gz", np.int16)
        score = scorer.score(path)
        assert score.numbers is not None
        found.append(score.numbers["all"]["entropy_top"])
        means.append(float(scorer.maps(scorer._read(path)).entropy.astype(np.float32).mean()))
    assert found[1] == pytest.approx(found[0], rel=0.02)
    assert means[1] > 1.5 * means[0], "what the mean over all voxels would make of the same region"


def fogged(hu: np.ndarray, label: np.ndarray) -> tuple[np.ndarray, tuple[int, int, int]]:
    """Return the scan with a ball of half air, half tissue around the airway's middle, and where that is."""
    z = hu.shape[2] // 2
    x, y = (int(axis.mean()) for axis in np.nonzero((label[:, :, z] > 0) & (label[:, :, z] < 255)))
    i, j, k = np.ogrid[tuple(slice(size) for size in hu.shape)]
    ball = (i - x) ** 2 + (j - y) ** 2 + (k - z) ** 2 < 6**2
    noise = np.random.default_rng(0).normal(-480, 60, hu.shape)
    return np.where(ball, noise, hu).astype(np.int16), (x, y, z)
