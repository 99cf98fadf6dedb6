"""Scores of one image from the real pipeline and a real network."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from torch import nn

from lib.data.findings import InputRejected
from lib.data.patches.sides import AugmentSpec
from lib.data.phantom import make_case
from lib.data.pipeline import write_label
from lib.jobs.publish import register
from lib.models.inference.samples import AugmentedView, MonteCarloDropout
from lib.ops.mirror import Mirroring
from lib.records.versions import find_version, write_version
from lib.tasks.serving.models import promote
from lib.tasks.serving.weights import NoWeights, build_network, open_task_versions
from lib.tasks.spec import TaskSpec
from lib.tasks.spec.blocks import ScoreSpec
from lib.tasks.strategies import scorer as scorer_module
from lib.tasks.strategies.scorer import Scorer, current_score_source


@pytest.fixture
def scored(task: TaskSpec) -> TaskSpec:
    return replace(task, scores=ScoreSpec(samples=3))


@pytest.mark.parametrize("by", ["tta", "dropout", "ensemble"])
def test_all_scores_of_a_case_are_computed_in_one_pass(
    app_dir: Path, scored: TaskSpec, starter: Path, write_ct: Callable[..., Path], by: str
) -> None:
    scorer = Scorer(app_dir, replace(scored, scores=ScoreSpec(by=by, samples=3)))
    seen: list[tuple[int, int]] = []
    score = scorer.score(write_ct(0), lambda done, of: seen.append((done, of)))
    assert score.numbers is not None and set(score.numbers["classes"]) == {"tube", "cavity"}
    overall = score.numbers["all"]
    assert 0 < overall["entropy_top"] <= np.log(3) + 1e-3 and overall["information_top"] > 0
    assert seen[-1] == (20, 20), "every slice is counted once, for any number of samples"
    assert score.embedding and all(np.isfinite(score.embedding))
    assert scorer.score(write_ct(0)) == score, "scores are reproducible"
    assert scorer.embed(write_ct(0)).numbers is None


def test_app_toml_selects_the_sampled_networks(app_dir: Path, scored: TaskSpec, starter: Path) -> None:
    def members(by: str) -> list:
        scorer = Scorer(app_dir, replace(scored, scores=ScoreSpec(by=by, samples=3)))
        return list(scorer._sampling.network.members)

    assert all(isinstance(member, MonteCarloDropout) for member in members("dropout"))
    plain = members("ensemble")
    assert len(plain) == 3 and len({id(member.network) for member in plain}) == 1, "one version gives three views of it"
    for name in ("v1", "v2", "v3"):
        write_version(open_task_versions(app_dir, scored).root, build_network(scored).state_dict(), {}, name=name)
        register(open_task_versions(app_dir, scored), find_version(open_task_versions(app_dir, scored).root, name), {})
    promote(app_dir, "tubes", "v1")
    two = members("ensemble")
    assert len({id(member.network) for member in two}) == 2 and isinstance(two[2], AugmentedView) and two[2].mirroring
    promote(app_dir, "tubes", "v2")
    three = members("ensemble")
    assert len({id(member.network) for member in three}) == 3, "v2, v1 and the starter; v3 was never served"
    assert not any(member.mirroring for member in three)


@pytest.mark.parametrize("by", ["tta", "ensemble"])
def test_views_are_mirrored_as_the_task_declares(scored: TaskSpec, by: str) -> None:
    sided, pairs = replace(scored, labels=("left", "right")), AugmentSpec(mirror_pairs=(("left", "right"),))
    for task, expected in ((scored, Mirroring()), (sided, None), (replace(sided, augment=pairs), Mirroring(((1, 2),)))):
        views = scorer_module._members([Local()], ScoreSpec(by=by, samples=3), task, "cpu")
        found = [view.mirroring for view in views if isinstance(view, AugmentedView)]
        assert found == [None, expected, None]


def test_the_source_of_scores_changes_with_the_settings_that_change_scores(
    app_dir: Path, scored: TaskSpec, starter: Path
) -> None:
    source = current_score_source(app_dir, scored)
    assert (source.task, source.version) == ("tubes", "starter")
    same = [ScoreSpec(samples=3, pool=7), ScoreSpec(samples=3, over="roi")]
    other = [ScoreSpec(samples=4), ScoreSpec(samples=3, by="dropout"), ScoreSpec(samples=3, top_ml=2.0)]
    assert all(current_score_source(app_dir, replace(scored, scores=spec)) == source for spec in same)
    assert all(
        current_score_source(app_dir, replace(scored, scores=spec)).settings != source.settings for spec in other
    )
    sided = replace(scored, labels=("left", "right"), augment=AugmentSpec(mirror_pairs=(("left", "right"),)))
    assert (
        len({current_score_source(app_dir, t).settings for t in (scored, sided, replace(sided, augment=AugmentSpec()))})
        == 3
    )
    image = replace(scored.image, window=(-900.0, 400.0))
    assert current_score_source(app_dir, replace(scored, image=image)).settings != source.settings


def test_without_weights_no_scorer_can_be_created(app_dir: Path, scored: TaskSpec) -> None:
    with pytest.raises(NoWeights):
        Scorer(app_dir, scored)


def test_an_image_that_the_input_gate_rejects_is_not_scored(
    app_dir: Path, scored: TaskSpec, starter: Path, tmp_path: Path
) -> None:
    path = tmp_path / "empty.nii.gz"
    nib.save(nib.Nifti1Image(np.zeros((20, 20, 20), np.int16), np.eye(4)), path)  # type: ignore[attr-defined]
    with pytest.raises(InputRejected):
        Scorer(app_dir, scored).score(path)


class Local(nn.Module):
    """A soft threshold at -480 HU; it sees one voxel at a time, so that a crop cannot change its output."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Conv2d(3, 3, 1)
        self.weight.weight.data = torch.tensor([[0, 0, 0], [0, -12.0, 0], [0, 0, 0]]).view(3, 3, 1, 1)
        self.weight.bias.data = torch.tensor([0.0, 12 * 520 / 1400, -20.0])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.weight(x)


def test_an_ambiguous_region_scores_the_same_in_a_crop_and_in_the_full_field_of_view(
    app_dir: Path, scored: TaskSpec, starter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A ball of intermediate intensity in a procedural neck scores the same within 2 %.

    The network is local on purpose: the networks of the project see the whole slice, through norms and scans, so their
    output depends slightly on the rest of the slice.
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
        path = write_label(hu[box], affine, tmp_path / f"{number}.nii.gz", np.int16)
        score = scorer.score(path)
        assert score.numbers is not None
        found.append(score.numbers["all"]["entropy_top"])
        means.append(float(scorer.maps(scorer._read(path)).entropy.astype(np.float32).mean()))
    assert found[1] == pytest.approx(found[0], rel=0.02)
    assert means[1] > 1.5 * means[0], "the mean over all voxels would depend on the field of view"


def fogged(hu: np.ndarray, label: np.ndarray) -> tuple[np.ndarray, tuple[int, int, int]]:
    """Return the scan with a ball of intensities between air and tissue at the airway's centre, and this centre."""
    z = hu.shape[2] // 2
    x, y = (int(axis.mean()) for axis in np.nonzero((label[:, :, z] > 0) & (label[:, :, z] < 255)))
    i, j, k = np.ogrid[tuple(slice(size) for size in hu.shape)]
    ball = (i - x) ** 2 + (j - y) ** 2 + (k - z) ** 2 < 6**2
    noise = np.random.default_rng(0).normal(-480, 60, hu.shape)
    return np.where(ball, noise, hu).astype(np.int16), (x, y, z)
