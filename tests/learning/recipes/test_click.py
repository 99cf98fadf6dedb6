"""Training by clicks: sampled objects, losses, and trainable parameters."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from lib.data.intensity import Scale
from lib.data.patches.dataset import PatchDataset
from lib.data.pipeline import IGNORE, ImageSpec, Reading
from lib.data.volumes.grid import Grid
from lib.evaluation.metrics.clicks import Click as SimulatedClick
from lib.learning.loop import fit
from lib.learning.recipes.click import (
    MIN_OBJECT_PIXELS,
    Click,
    sample_objects,
    simulate_neighbour_mask,
    to_point_prompts,
)
from lib.models.sam.network import PromptedNetwork
from tests.models.sam.toys import toy_network

ROOT = Path(__file__).resolve().parents[3]


def label(size: int = 32) -> np.ndarray:
    """Return two bars of label 1, one of label 2 that touches the second bar, and an ignored corner."""
    marks = np.zeros((size, size), np.int64)
    marks[2:6, 4:14] = marks[12:16, 4:14] = 1
    marks[16:22, 4:14] = 2
    marks[-6:, -6:] = IGNORE
    return marks


def batch(*labels: np.ndarray) -> dict[str, torch.Tensor]:
    stack = torch.from_numpy(np.stack(labels or [label(), label().T.copy()]))
    noise = torch.rand(stack.shape, generator=torch.Generator().manual_seed(0))
    return {"image": ((stack % IGNORE > 0) * 0.6 + 0.3 * noise)[:, None], "label": stack}


def patches(count: int = 8) -> PatchDataset:
    """Return patches of one tiny case: a bright tube with two labels on a dark background."""
    marks = torch.zeros(40, 40, 6, dtype=torch.uint8)
    marks[10:22, 12:24, :3], marks[10:22, 12:24, 3:] = 1, 2
    hu = torch.where(marks > 0, -1000.0, 40.0)[None]
    spec = ImageSpec((1.0, 1.0, 1.0), (200.0, -1000.0), (32, 32))
    grid = Grid.over(tuple(marks.shape), np.eye(4), spec.spacing_mm)
    return PatchDataset(
        [Reading(hu, marks, grid)], spec, classes=3, patches_per_epoch=count, augment=Click().augmentation(None)
    )


def trainable_names(network: nn.Module) -> set[str]:
    return {name for name, parameter in network.named_parameters() if parameter.requires_grad}


def prepared_network(**options) -> PromptedNetwork:
    network = toy_network()
    Click(**options).select_parameters(network)
    return network


def test_objects_are_all_labels_or_one_label_or_one_component() -> None:
    marks = label()
    union, parts = (marks == 1) | (marks == 2), (marks[:10] == 1, marks)
    first = np.zeros_like(union)
    first[:10] = parts[0]
    second = union & ~first
    rng = np.random.default_rng(0)
    assert all((mask == union).all() for mask in sample_objects(marks, 10, 1.0, rng))
    allowed = {mask.tobytes() for mask in (marks == 1, marks == 2, first, second)}
    assert {mask.tobytes() for mask in sample_objects(marks, 200, 0.0, rng)} == allowed
    mixed = [mask.tobytes() == union.tobytes() for mask in sample_objects(marks, 400, 0.6, rng)]
    assert 0.5 < np.mean(mixed) < 0.7


def test_small_objects_are_not_sampled() -> None:
    marks, rng = np.zeros((32, 32), np.int64), np.random.default_rng(0)
    marks[0, : MIN_OBJECT_PIXELS - 1] = 1
    assert sample_objects(marks, 3, 0.5, rng) == []
    marks[3, :MIN_OBJECT_PIXELS] = 2  # label 1 is too small, so all labels together replace it
    shapes = {mask.tobytes() for mask in sample_objects(marks, 100, 0.0, rng)}
    assert shapes == {(marks > 0).tobytes(), (marks == 2).tobytes()}


def test_a_simulated_neighbour_mask_is_near_the_mask_and_never_empty() -> None:
    mask = label() == 2
    near = np.zeros_like(mask)
    near[16 - 5 : 22 + 5, 4 - 4 : 14 + 5] = True
    simulated = [simulate_neighbour_mask(mask, np.random.default_rng(seed)) for seed in range(100)]
    assert all(other.dtype == bool and other.any() and not (other & ~near).any() for other in simulated)
    assert len({other.tobytes() for other in simulated}) > 50
    assert all((simulate_neighbour_mask(mask, np.random.default_rng(s)) == simulated[s]).all() for s in range(5))
    sizes = [other.sum() / mask.sum() for other in simulated]
    assert min(sizes) < 0.7 and max(sizes) > 1.3
    dot = np.zeros((32, 32), bool)
    dot[9, 9] = True
    assert all(simulate_neighbour_mask(dot, np.random.default_rng(seed)).any() for seed in range(50))


def test_a_simulated_neighbour_mask_does_not_wrap_around_the_edge() -> None:
    mask = np.zeros((32, 32), bool)
    mask[8:24, 28:] = True
    assert not any(simulate_neighbour_mask(mask, np.random.default_rng(seed))[:, :16].any() for seed in range(100))


def test_sessions_of_unequal_length_are_padded() -> None:
    points, kinds = to_point_prompts(
        [[SimulatedClick(3, 4, True)], [SimulatedClick(5, 6, False), SimulatedClick(7, 8, True)]]
    )
    assert points.tolist() == [[[3, 4], [0, 0]], [[5, 6], [7, 8]]] and kinds.tolist() == [[1, -1], [0, 1]]


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        ({}, {"image_encoder", "prompt_encoder", "mask_decoder"}),
        ({"train_decoder": False}, {"image_encoder", "prompt_encoder"}),
        ({"train_prompt_encoder": False}, {"image_encoder", "mask_decoder"}),
        ({"train_decoder": False, "train_prompt_encoder": False}, {"image_encoder"}),
    ],
)
def test_options_select_the_trainable_parts(options: dict, parts: set[str]) -> None:
    trainable = trainable_names(prepared_network(**options))
    assert {name.partition(".")[0] for name in trainable} == parts
    assert all(".lora_" in name for name in trainable if name.startswith("image_encoder"))
    assert {name for name in trainable if ".lora_" in name} == {
        f"image_encoder.block.attn.qkv.lora_{side}.default.weight" for side in "AB"
    }
    frozen = ("iou_prediction_head", "mlps.1", "mlps.2", "mlps.3", "point_embeddings.2", "point_embeddings.3")
    assert not any(part in name for name in trainable for part in frozen)


def test_a_network_without_trainable_parameters_is_refused() -> None:
    network = toy_network(rank=0)
    with pytest.raises(ValueError, match="no parameter is trainable"):
        Click(train_decoder=False, train_prompt_encoder=False).select_parameters(network)


@pytest.mark.parametrize(
    "options",
    [{"objects": 0}, {"rounds": 0}, {"zoom_in": 0.0}, {"zoom_out": -1.0}, {"union_prob": 1.1}, {"dice_weight": -0.1}],
)
def test_invalid_options_are_refused(options: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        Click(**options)


def test_zoom_options_set_the_range_of_the_augmentation() -> None:
    assert Click(zoom_out=2.0, zoom_in=3.0).augmentation(None).zoom == (0.5, 3.0)


def test_losses_are_finite_and_equal_seeds_give_equal_losses() -> None:
    network, recipe = prepared_network(), Click(free_prob=1.0, follow_prob=0.5)
    runs = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        losses = recipe.step(network, batch())
        assert set(losses) == {"loss", "click", "free"} and all(value.isfinite() for value in losses.values())
        runs.append({name: value.item() for name, value in losses.items()})
    assert runs[0] == runs[1] != runs[2]
    # Per image there are two objects with three rounds, which give three losses, and one loss without a prompt.
    assert runs[0]["loss"] == pytest.approx((3 * runs[0]["click"] + runs[0]["free"]) / 4, abs=1e-6)


def test_images_without_objects_are_segmented_without_a_prompt() -> None:
    network, empty, unknown = prepared_network(), np.zeros((32, 32), np.int64), np.full((32, 32), IGNORE)
    losses = Click(free_prob=0.0).step(network, batch(empty, unknown))
    assert set(losses) == {"loss", "free"} and losses["loss"].isfinite() and losses["loss"] > 0
    assert Click().step(network, batch(unknown))["loss"] == 0


@pytest.mark.parametrize("follow", [0.0, 1.0])
def test_masks_on_a_grid_coarser_than_the_image_give_a_loss(follow: float) -> None:
    """ViT-B has such masks: their grid has a quarter of the image's size."""
    network = toy_network(64, stride=16)
    Click().select_parameters(network)
    loss = Click(follow_prob=follow, objects=3).step(network, batch(label(64), label(64)))["loss"]
    loss.backward()
    assert loss.isfinite()


def test_further_clicks_lie_where_the_mask_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty mask gets foreground clicks on the object; a full mask gets background clicks outside it."""
    kinds = []
    network, shape = toy_network(), (1, 1, 32, 32)
    for level in (-9.0, 9.0):

        def decode(_, prompts, image_pe=None, level=level):
            kinds.append(prompts.point_labels[0].tolist())
            return torch.full(shape, level, requires_grad=True)

        monkeypatch.setattr(network, "decode", decode)
        Click(objects=1, rounds=3, follow_prob=0.0, free_prob=0.0, union_prob=1.0).step(network, batch(label()))
    assert kinds == [[1], [1, 1], [1, 1, 1], [1], [1, 0], [1, 0, 0]]


def test_every_trainable_parameter_gets_a_gradient_and_no_other() -> None:
    network, recipe = prepared_network(), Click()
    nn.init.normal_(dict(network.named_parameters())["image_encoder.block.attn.qkv.lora_B.default.weight"])
    changed: set[str] = set()
    for seed in range(4):
        torch.manual_seed(seed)
        network.zero_grad()
        recipe.step(network, batch())["loss"].backward()
        changed |= {n for n, p in network.named_parameters() if p.grad is not None and p.grad.abs().max() > 0}
    assert changed == trainable_names(network)


def test_training_changes_the_trainable_parameters_only(tmp_path: Path) -> None:
    network = toy_network()
    before = {name: value.clone() for name, value in nn.Module.state_dict(network).items()}
    recipe = Click(max_epochs=2, patches_per_epoch=4, batch_size=2, learning_rate=1e-3, warmup_steps=0, ema_decay=0.5)
    result = fit(recipe, network, patches(4), None, workdir=tmp_path, progress=lambda _: None, track=False)
    assert result.steps == 4 and result.skipped == 0
    changed = {n for n, value in nn.Module.state_dict(network).items() if not torch.equal(value, before[n])}
    assert changed == trainable_names(network)
    assert result.state_dict.keys() == network.state_dict().keys()
    assert not any(torch.equal(result.state_dict[name], before[name]) for name in changed)
    unchanged = result.state_dict.keys() - changed
    assert all(torch.equal(result.state_dict[name], before[name]) for name in unchanged)


def test_a_resumed_run_gives_the_weights_of_an_uninterrupted_run(tmp_path: Path) -> None:
    def run(name: str, stop_after: int | None = None):
        calls = iter(range(1000))
        recipe = Click(max_epochs=2, patches_per_epoch=6, batch_size=2, warmup_steps=0)
        stop = (lambda: next(calls) == stop_after) if stop_after is not None else None
        return fit(
            recipe, toy_network(), patches(6), None, workdir=tmp_path / name, progress=lambda _: None, track=False,
            should_stop=stop,
        )  # fmt: skip

    whole = run("whole")
    assert run("halves", stop_after=1).stopped == "requested"
    halves = run("halves")
    assert halves.steps == whole.steps == 6
    assert all(torch.equal(whole.state_dict[name], halves.state_dict[name]) for name in whole.state_dict)


SCRIPT = """
import sys, torch
from pathlib import Path
from lib.learning.recipes.click import Click
from lib.learning.loop import fit
from tests.learning.recipes.test_click import patches
from tests.models.sam.toys import toy_network

torch.set_num_threads(1)
rank = __import__("os").environ["RANK"]
recipe = Click(max_epochs=3, patches_per_epoch=4, batch_size=1, objects=1, rounds=1, warmup_steps=0)
workdir = Path(sys.argv[1]) / "run"
result = fit(recipe, toy_network(), patches(4), None, workdir=workdir, progress=lambda _: None, track=False)
torch.save({"weights": result.state_dict, "steps": result.steps}, f"{sys.argv[1]}/{rank}.pt")
"""


@pytest.mark.slow
def test_two_processes_agree_although_they_use_different_parts_of_the_network(tmp_path: Path) -> None:
    """A session starts with a mask in one process and without in the other, so they use different parameters."""
    (tmp_path / "train.py").write_text(SCRIPT)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1", "HOME": str(tmp_path)}
    command = [*launch, str(tmp_path / "train.py"), str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    first, second = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1)]
    assert first["steps"] == second["steps"] == 6
    assert all(torch.equal(first["weights"][name], second["weights"][name]) for name in first["weights"])
    start = toy_network().state_dict()
    assert any(not torch.equal(first["weights"][name], start[name]) for name in start)


def test_options_are_converted_from_text() -> None:
    assert Click.from_options({"rounds": "2", "train_decoder": "no"}) == Click(rounds=2, train_decoder=False)
    assert "has_unused_parameters" not in {field.name for field in dataclasses.fields(Click)}


@pytest.mark.parametrize(
    ("spec", "scales"),
    [
        (ImageSpec((1.0,) * 3, (0.0, 1.0), (32, 32), modality="RGB", intensity="unit"), (Scale(0, 255),) * 3),
        (ImageSpec((1.0,) * 3, (0.0, 1.0), (32, 32), modality="MR", intensity="zscore"), (Scale(20, 60, True),)),
    ],
)
def test_a_training_step_on_colours_and_on_standardised_images(
    tmp_path: Path, spec: ImageSpec, scales: tuple[Scale, ...]
) -> None:
    marks = torch.zeros(40, 40, 1, dtype=torch.uint8)
    marks[10:22, 12:24] = 1
    image = torch.where(marks > 0, 70.0, 30.0).expand(len(scales), -1, -1, -1).clone()
    reading = Reading(image, marks, Grid.over((40, 40), np.eye(4), spec.spacing_mm), scales=scales)
    augment = Click().augmentation(None)
    dataset = PatchDataset([reading], spec, classes=2, patches_per_epoch=4, augment=augment)
    network = toy_network()
    network.input_range = spec.network_range
    recipe = Click(max_epochs=1, batch_size=2, warmup_steps=0, ema_decay=0.0)
    recipe.select_parameters(network)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    result = fit(recipe, network, dataset, None, workdir=tmp_path, progress=lambda _: None, track=False)
    after = network.state_dict()
    assert all(value.isfinite().all() for value in after.values() if value.is_floating_point()) and result
    assert any(not torch.equal(value, before[name]) for name, value in after.items())


def test_a_label_that_does_not_cover_all_classes_teaches_them_one_by_one() -> None:
    marks, rng = label(), np.random.default_rng(0)
    masks = {mask.tobytes() for mask in sample_objects(marks, 100, 1.0, rng, complete=False)}
    assert masks == {(marks == 1).tobytes(), (marks == 2).tobytes()}
    assert sample_objects(np.zeros((32, 32), np.int64), 3, 0.5, rng, complete=False) == []
