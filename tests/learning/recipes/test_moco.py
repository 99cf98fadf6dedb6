import numpy as np
import pytest
import torch

from lib.data.patches.dataset import PatchDataset
from lib.data.pipeline import ImageSpec, Reading
from lib.data.volumes.grid import Grid
from lib.learning.losses.contrast import contrast_loss
from lib.learning.recipes.moco import MoCo, TwoViews
from lib.models import BUILDERS
from lib.models.student.momentum import MomentumPair

SPEC = ImageSpec(spacing_mm=(1, 1, 1), window=(-1000, 400), roi=(32, 32))


def patches() -> PatchDataset:
    hu = torch.rand(1, 40, 40, 6, generator=torch.Generator().manual_seed(0)) * 1000 - 800
    return PatchDataset([Reading(hu, None, Grid.over((40, 40, 6), np.eye(4), (1, 1, 1)))], SPEC, classes=2,
                        patches_per_epoch=4, allow_unlabelled=True)  # fmt: skip


def test_the_views_of_a_patch_differ_and_are_reproducible() -> None:
    base = patches()
    views = TwoViews(base)
    assert len(views) == 4
    item = views[2]
    assert torch.equal(item["image"], base[2]["image"]) and not torch.equal(item["image"], item["other"])
    again = views[2]
    assert torch.equal(item["other"], again["other"])
    views.set_epoch(1)
    assert not torch.equal(views[2]["image"], item["image"])


def test_the_step_is_symmetric_in_its_views() -> None:
    torch.manual_seed(0)
    network = MomentumPair(BUILDERS["student_conv"](spatial_dims=2, in_channels=1, out_channels=2), spatial_dims=2,
                           in_channels=1).eval()  # fmt: skip
    recipe, one, other = MoCo(batch_size=4), torch.rand(4, 1, 32, 32), torch.rand(4, 1, 32, 32)
    loss = recipe.step(network, {"image": one, "other": other})["loss"]
    exchanged = recipe.step(network, {"image": other, "other": one})["loss"]
    torch.testing.assert_close(loss, exchanged)
    q1, q2, k1, k2 = network(one, other, 0.9)
    torch.testing.assert_close(loss, contrast_loss(q1, k2) + contrast_loss(q2, k1))


def test_the_momentum_encoder_is_frozen() -> None:
    network = MomentumPair(BUILDERS["student_conv"](spatial_dims=2, in_channels=1, out_channels=2), spatial_dims=2,
                           in_channels=1)  # fmt: skip
    MoCo().select_parameters(network)
    assert not any(parameter.requires_grad for parameter in network.slow.parameters())
    assert all(parameter.requires_grad for parameter in network.student.parameters())


@pytest.mark.parametrize(("option", "value"), [("momentum", 1.0), ("temperature", 0.0), ("batch_size", 1)])
def test_invalid_options_are_refused(option: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"option {option}"):
        MoCo(**{option: value})
