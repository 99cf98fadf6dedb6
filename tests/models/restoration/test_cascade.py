"""Outputs, gradients, export and state dict of the cascade."""

from pathlib import Path

import pytest
import torch

from lib.learning.losses.semantic_consistency import semantic_consistency_loss
from lib.learning.losses.semantic_distillation import semantic_distillation_loss
from lib.models.restoration.build import nafnet_tiny
from lib.models.restoration.cascade import Cascade
from lib.models.restoration.nafnet import NAFNet
from lib.models.weights import load_weights, save_weights
from tests.models.restoration.conftest import make_cascade


def parts_with_gradient(cascade: Cascade) -> set[str]:
    """Return the names of the parts that have a gradient."""
    return {name.split(".")[0] for name, p in cascade.named_parameters() if p.grad is not None and p.grad.any()}


def test_outputs_equal_their_definitions(cascade: Cascade, scan: torch.Tensor) -> None:
    stages = cascade(scan, with_features=True)
    assert cascade.semantics is not None and cascade.second is not None
    torch.testing.assert_close(stages.first, cascade.first(scan))
    torch.testing.assert_close(stages.first_features, cascade.semantics.features(stages.first))
    torch.testing.assert_close(stages.masks, cascade.semantics.masks(stages.first_features, (32, 32)))
    torch.testing.assert_close(stages.second, cascade.second(torch.cat([stages.first, scan], 1), stages.masks))
    torch.testing.assert_close(stages.second_features, cascade.semantics.features(stages.second))
    assert (
        stages.first_features.requires_grad
        and not stages.masks.requires_grad
        and not stages.second_features.requires_grad
    )


def test_distillation_and_consistency_losses_train_the_first_stage_only(scan: torch.Tensor) -> None:
    for name in ("distillation", "consistency"):
        cascade = make_cascade()
        stages = cascade(scan, with_features=True)
        losses = {
            "distillation": semantic_distillation_loss(
                stages.first, stages.second, [(stages.first_features, stages.second_features)]
            ),
            "consistency": semantic_consistency_loss(stages.first_features, stages.second_features, stages.masks),
        }
        assert losses[name] > 0
        losses[name].backward()
        assert parts_with_gradient(cascade) == {"first"}, name


def test_the_loss_of_the_second_stage_trains_both_stages_but_not_the_semantics(
    cascade: Cascade, scan: torch.Tensor
) -> None:
    stages = cascade(scan)
    stages.second.square().sum().backward()
    assert not stages.masks.requires_grad
    assert parts_with_gradient(cascade) == {"first", "second"}


def test_masks_affect_a_guided_second_stage_only(scan: torch.Tensor) -> None:
    for guided in (True, False):
        cascade = make_cascade(guided=guided)
        before = cascade(scan).second
        assert cascade.semantics is not None
        cascade.semantics.masks = lambda features, size: torch.zeros(2, 4, *size)  # type: ignore[method-assign]
        assert torch.equal(cascade(scan).second, before) is not guided


def test_a_cascade_without_a_second_stage_returns_the_first_only(scan: torch.Tensor) -> None:
    cascade = Cascade(nafnet_tiny())
    stages = cascade(scan, with_features=True)
    assert torch.equal(stages.first, cascade.first(scan))
    assert stages.second is stages.masks is stages.first_features is None


def test_guide_channels_without_semantics_raise() -> None:
    with pytest.raises(ValueError, match="semantics"):
        Cascade(nafnet_tiny(), nafnet_tiny(2, 1, guide_channels=4))


def test_export_returns_a_copy_of_the_first_stage_only(cascade: Cascade, scan: torch.Tensor, tmp_path: Path) -> None:
    exported = cascade.train().export()
    assert type(exported) is NAFNet and not exported.training
    assert set(exported.state_dict()) == set(nafnet_tiny().state_dict())
    assert torch.equal(exported(scan), cascade(scan).first)
    with torch.no_grad():
        next(cascade.first.parameters()).add_(1)
    path = save_weights(exported, tmp_path / "first.safetensors")
    served = nafnet_tiny().eval()
    load_weights(served, path)
    assert torch.equal(served(scan), exported(scan)) and not torch.equal(served(scan), cascade(scan).first)


def test_the_state_dict_contains_both_stages_only(cascade: Cascade, scan: torch.Tensor) -> None:
    assert {name.split(".")[0] for name in cascade.state_dict()} == {"first", "second"}
    other = make_cascade(seed=1)
    assert not torch.equal(other(scan).second, cascade(scan).second)
    other.load_state_dict(cascade.state_dict())
    assert torch.equal(other(scan).second, cascade(scan).second)


@pytest.mark.parametrize("wrong", ["missing", "unknown"])
def test_a_state_dict_that_does_not_fit_raises(cascade: Cascade, wrong: str) -> None:
    state = cascade.state_dict()
    if wrong == "missing":
        del state["first.last.bias"]
    else:
        state["third.bias"] = torch.zeros(1)
    with pytest.raises(RuntimeError, match=wrong):
        cascade.load_state_dict(state)


def test_semantics_stay_in_evaluation_mode(cascade: Cascade) -> None:
    cascade.train()
    assert cascade.first.training and cascade.semantics is not None
    assert not any(module.training for module in cascade.semantics.modules())
