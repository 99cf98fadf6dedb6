"""The recipe restore: its losses, their weights and gradients, and a short training."""

from pathlib import Path

import numpy as np
import pytest
import torch

from lib.data.scintigraphy.crops import CropDataset, TrainingCounts
from lib.data.scintigraphy.skeleton import ScanCase, make_case
from lib.data.scintigraphy.skeleton.case import Lesion
from lib.evaluation.metrics.restoration import disc, lesion_recovery
from lib.learning.loop import fit
from lib.learning.recipes.restore import Restore
from lib.models.restoration import Cascade, NAFNet, build_cascade, nafnet_tiny, restore_counts
from lib.models.restoration.semantics import SamSemantics
from lib.ops.anscombe import expected_counts, stabilise
from tests.models.restoration.conftest import make_cascade
from tests.models.sam.toys import randomise_adapters, toy_network


def batch(seed: int = 0) -> dict[str, torch.Tensor]:
    rng = torch.Generator().manual_seed(seed)
    mean = torch.full((2, 1, 32, 32), 10.0)
    return {
        "rapid": torch.poisson(mean * 0.25, generator=rng),
        "target": torch.poisson(mean * 0.75, generator=rng),
        "fraction": torch.full((2, 1, 1, 1), 0.25),
        "target_fraction": torch.full((2, 1, 1, 1), 0.75),
    }


@pytest.mark.parametrize("norm", ["l1", "l2"])
def test_without_a_second_stage_the_loss_is_the_fidelity_at_the_level_of_the_complete_scan(norm: str) -> None:
    """A complete target of 15 5/8 counts is stabilised to 0.5; a network that returns 0.75 has an error of 0.25."""
    network = Cascade(nafnet_tiny())
    data = batch() | {"target": torch.full((2, 1, 32, 32), 15.625), "target_fraction": torch.ones(2, 1, 1, 1)}
    network.forward = lambda image, with_features: type(
        "S", (), {"first": torch.full_like(image, 0.75), "second": None}
    )()  # type: ignore
    losses = Restore(norm=norm, distillation_weight=0, consistency_weight=0).step(network, data)
    assert set(losses) == {"loss", "first"}
    assert losses["loss"].item() == pytest.approx(0.25 if norm == "l1" else 0.0625)


@pytest.mark.parametrize(("norm", "bias"), [("counts", 0.0), ("l2", 0.3)])
def test_norm_counts_learns_the_mean_of_few_counts_from_a_part_of_them(norm: str, bias: float) -> None:
    """The target is half of 0.3 counts. Norm ``l2`` learns 0.6; ``counts`` learns 0.3. The level starts at 0."""
    level = torch.zeros(1, requires_grad=True)
    network = Cascade(nafnet_tiny())
    network.forward = lambda image, with_features: type("S", (), {"first": level.expand_as(image), "second": None})()  # type: ignore
    drawn = torch.poisson(torch.full((4, 1, 64, 64), 0.15), generator=torch.Generator().manual_seed(0))
    half = torch.full((4, 1, 1, 1), 0.5)
    data = {"rapid": drawn, "fraction": half, "target": drawn, "target_fraction": half}
    recipe, optimiser = Restore(norm=norm, distillation_weight=0, consistency_weight=0), torch.optim.Adam([level], 3e-3)
    for _ in range(200):
        optimiser.zero_grad()
        recipe.step(network, data)["loss"].backward()
        optimiser.step()
    assert expected_counts(level).item() == pytest.approx(2 * drawn.mean().item() + bias, abs=0.03)


def test_norms_counts_and_l2_have_a_similar_magnitude() -> None:
    network, data = Cascade(nafnet_tiny()), batch()
    network.forward = lambda image, with_features: type(
        "S", (), {"first": torch.full_like(image, 0.4), "second": None}
    )()  # type: ignore
    losses = [
        Restore(norm=n, distillation_weight=0, consistency_weight=0).step(network, data)["loss"]
        for n in ("l2", "counts")
    ]
    assert losses[0].item() == pytest.approx(losses[1].item(), rel=0.1)


TERMS = [
    ({"distillation_weight": 0, "consistency_weight": 0}, set()),
    ({"distillation_weight": 0.5, "consistency_weight": 0}, {"distillation"}),
    ({"distillation_weight": 0, "consistency_weight": 0.25}, {"consistency"}),
    ({"distillation_weight": 0.5, "consistency_weight": 0.25}, {"distillation", "consistency"}),
]


@pytest.mark.parametrize(("options", "names"), TERMS)
@pytest.mark.parametrize("guided", [True, False])
def test_every_optional_term_can_be_left_out(options: dict, names: set[str], guided: bool) -> None:
    cascade, terms = make_cascade(guided=guided), Restore(**options)
    terms.select_parameters(cascade)
    losses = terms.step(cascade, batch())
    assert set(losses) == {"loss", "first", "second"} | names
    weights = {"distillation": terms.distillation_weight, "consistency": terms.consistency_weight}
    total = sum(weights.get(name, 1.0) * value.item() for name, value in losses.items() if name != "loss")
    assert losses["loss"].item() == pytest.approx(total, rel=1e-5)
    losses["loss"].backward()
    trained = {name.split(".")[0] for name, p in cascade.named_parameters() if p.grad is not None and p.grad.any()}
    assert trained == {"first", "second"}


def quarters(size: tuple[int, int]) -> torch.Tensor:
    """Return binary masks of four quarters; the masks of an untrained toy network would all be alike."""
    masks = torch.zeros(2, 4, *size)
    for k in range(4):
        rows, columns = (slice(size[a] // 2 * side, size[a] // 2 * (side + 1)) for a, side in enumerate(divmod(k, 2)))
        masks[:, k, rows, columns] = 1
    return masks


def test_optional_terms_change_the_gradient_of_the_first_stage_only() -> None:
    gradients = {}
    for options, _ in TERMS:
        cascade, terms = make_cascade(), Restore(**options)
        assert cascade.semantics is not None
        cascade.semantics.masks = lambda features, size: quarters(size)  # type: ignore[method-assign]
        terms.select_parameters(cascade)
        terms.step(cascade, batch())["loss"].backward()
        gradients[len(gradients)] = {
            part: torch.cat([p.grad.flatten() for p in getattr(cascade, part).parameters()])
            for part in ("first", "second")
        }
    for other in (1, 2, 3):
        difference = (gradients[other]["first"] - gradients[0]["first"]).norm() / gradients[0]["first"].norm()
        assert difference > 1e-5
        torch.testing.assert_close(gradients[0]["second"], gradients[other]["second"])


@pytest.mark.parametrize(
    ("cascade", "options", "match"),
    [
        (Cascade(nafnet_tiny()), {"consistency_weight": 0}, "distillation_weight"),
        (Cascade(nafnet_tiny()), {"distillation_weight": 0}, "consistency_weight"),
        (build_cascade(nafnet_tiny), {}, "semantics"),
    ],
)
def test_a_weight_for_a_missing_part_of_the_cascade_is_refused(cascade: Cascade, options: dict, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        Restore(**options).select_parameters(cascade)


@pytest.mark.parametrize("options", [{"norm": "l3"}, {"distillation_weight": -1.0}, {"consistency_weight": -1.0}])
def test_invalid_options_are_refused(options: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        Restore(**options)


def crops() -> CropDataset:
    return CropDataset(
        [TrainingCounts(make_case(seed, pixel_mm=9.04).counts) for seed in (1, 2)], size=32, crops_per_epoch=40
    )


def recipe(**options: float) -> Restore:
    return Restore(patches_per_epoch=40, batch_size=4, learning_rate=3e-3, warmup_steps=2, ema_decay=0.9, **options)


def test_a_short_training_lowers_the_losses_and_keeps_the_semantics_frozen(tmp_path: Path) -> None:
    torch.manual_seed(0)
    cascade = build_cascade(nafnet_tiny, SamSemantics(randomise_adapters(toy_network(32)), side=2))
    assert cascade.semantics is not None
    frozen = {name: value.clone() for name, value in cascade.semantics.named_parameters()}
    before = losses_on(cascade, crops())
    result = fit(recipe(max_epochs=4), cascade, crops(), None, workdir=tmp_path, progress=lambda _: None, track=False)
    assert result.history[-1].keys() >= before.keys()
    cascade.load_state_dict(result.state_dict)
    after = losses_on(cascade, crops())
    assert after["first"] < 0.9 * before["first"] and after["second"] < 0.9 * before["second"], (before, after)
    for name, value in cascade.semantics.named_parameters():
        assert torch.equal(value, frozen[name])


@torch.inference_mode()
def losses_on(cascade: Cascade, items: CropDataset) -> dict[str, float]:
    """Return the losses of all crops in one batch; the crops and their noise are equal at every call."""
    batch = {name: torch.stack([items[index][name] for index in range(len(items))]) for name in items[0]}
    return {name: float(value) for name, value in recipe().step(cascade, batch).items()}


def test_an_exported_first_stage_denoises_an_unseen_case(tmp_path: Path) -> None:
    torch.manual_seed(0)
    cascade = build_cascade(nafnet_tiny, second=False)
    alone = recipe(max_epochs=12, distillation_weight=0, consistency_weight=0)
    result = fit(alone, cascade, crops(), None, workdir=tmp_path, progress=lambda _: None, track=False)
    cascade.load_state_dict(result.state_dict)
    exported = cascade.export()
    assert type(exported) is NAFNet
    case = make_case(3, pixel_mm=9.04, lesions=6)
    rapid = torch.from_numpy(case.scan(0.5, np.random.default_rng(0)))
    restored, truth = restore_counts(exported, rapid, 0.5), torch.from_numpy(case.mean)
    assert restored.sum().item() == pytest.approx(2 * rapid.sum().item(), rel=1e-5)
    errors = [(stabilise(image) - stabilise(truth)).square().mean() for image in (restored, 2 * rapid)]
    assert errors[0] < 0.7 * errors[1]
    recoveries = [recovery(restored.numpy(), case, lesion) for lesion in case.lesions if lesion.uptake > 2]
    assert len(recoveries) >= 3 and np.mean(recoveries) == pytest.approx(1, abs=0.3)


def recovery(restored: np.ndarray, case: ScanCase, lesion: Lesion) -> float:
    added = [float((case.mean[v] - case.healthy[v]).max()) for v in (0, 1)]
    view = int(np.argmax(added))
    return lesion_recovery(
        restored[view], case.mean[view], case.healthy[view], disc(restored.shape[1:], lesion.pixels[view], 1.5)
    )
