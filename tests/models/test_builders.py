"""Every registered model keeps shapes, has gradients, loads its state dict and rejects bad arguments."""

from pathlib import Path
from typing import Any

import pytest
import torch

from lib.models import BUILDERS
from lib.models.weights import load_grown_weights, save_weights

WITHOUT_DROP_PATH = ("dynunet", "segresnet", "swinunetr", "nnunet", "student_conv", "student_vit")
"""Networks without stochastic depth, by the start of their names."""
SMALL = {
    "topowmamba_small": {"channels": (8, 8, 16, 16, 16)},
    "vmunet_small": {"dims": (8, 16, 32, 64)},
    "dynunet_small": {"filters": (8, 8, 8, 16, 16)},
    "segresnet": {"init_filters": 8},
    "segresnet_ds": {"init_filters": 8},
    "swinunetr": {"feature_size": 12},
    "nnunet_plain": {"channels": 4},
    "nnunet_plain_small": {"channels": 4},
    "nnunet_resenc": {"channels": 4},
    "nnunet_resenc_small": {"channels": 4},
    "topowmamba_base": {"channels": (8, 8, 16, 16, 16), "full_channels": 8, "depths": (1, 1, 2, 1), "d_state": 2},
    "vmunet": {"dims": (8, 16, 32, 64), "d_state": 2},
    "dynunet": {"filters": (4, 8, 8, 16, 16)},
    "student_vit_tiny": {"embed_dim": 16, "depth": 2, "heads": 2, "detail_channels": 8},
}
ONLY_2D = ("student_vit_tiny",)
"""Networks for slices only."""
CASES = [(name, dims) for name in BUILDERS for dims in (2, 3) if dims == 2 or name not in ONLY_2D]


def build(name: str, spatial_dims: int = 2, **overrides) -> torch.nn.Module:
    torch.manual_seed(0)
    options = SMALL.get(name, {}) | overrides
    return BUILDERS[name](**{"spatial_dims": spatial_dims, "in_channels": 2, "out_channels": 3, **options})


def image(spatial_dims: int) -> torch.Tensor:
    # At least two positions at 1/32, because the state matrix has no effect in a scan of one position.
    shape = (37, 50) if spatial_dims == 2 else (33, 20, 9)
    return torch.rand(2, 2, *shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("name", "spatial_dims"), CASES)
def test_evaluation_keeps_the_shape_of_any_image(name: str, spatial_dims: int) -> None:
    x = image(spatial_dims)
    with torch.inference_mode():
        logits = build(name, spatial_dims).eval()(x)
    assert logits.shape == (2, 3, *x.shape[2:])
    assert logits.isfinite().all()


@pytest.mark.parametrize(("name", "spatial_dims"), CASES)
def test_every_parameter_has_a_gradient_in_training(name: str, spatial_dims: int) -> None:
    x = image(spatial_dims)
    network = build(name, spatial_dims, **({} if name.startswith(WITHOUT_DROP_PATH) else {"drop_path": 0.0}))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.01)  # the last norm of a residual block of nnU-Net is 0 at first, and hides the block
    outputs = network.train()(x)
    outputs = outputs if isinstance(outputs, list) else [outputs]
    assert [tuple(y.shape) for y in outputs] == [
        (2, 3, *(-(-size // 2**i) for size in x.shape[2:])) for i in range(len(outputs))
    ]
    sum((y * torch.randn_like(y)).sum() for y in outputs).backward()
    without_gradient = [
        n for n, p in network.named_parameters() if p.grad is None or not 0 < p.grad.abs().max() < torch.inf
    ]
    assert not without_gradient


@pytest.mark.parametrize("name", BUILDERS)
def test_a_loaded_state_dict_gives_the_same_output(name: str) -> None:
    network, other = build(name).eval(), build(name).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.01)
    x = image(2)
    with torch.inference_mode():
        assert not torch.equal(network(x), other(x))
        other.load_state_dict(network.state_dict(), strict=True)
        assert torch.equal(network(x), other(x))


@pytest.mark.parametrize("name", BUILDERS)
def test_the_state_dict_lists_every_weight_once(name: str) -> None:
    pointers = [value.data_ptr() for value in build(name).state_dict().values() if value.numel()]
    assert len(pointers) == len(set(pointers))


@pytest.mark.parametrize("name", BUILDERS)
def test_unknown_arguments_raise(name: str) -> None:
    with pytest.raises(TypeError):
        build(name, no_such_argument=1)


@pytest.mark.parametrize("name", BUILDERS)
def test_other_spatial_dims_raise(name: str) -> None:
    with pytest.raises(ValueError, match="spatial_dims"):
        build(name, spatial_dims=4)


@pytest.mark.parametrize(
    ("name", "overrides"),
    [
        ("topowmamba_tiny", {"channels": (8, 16, 16)}),
        ("topowmamba_tiny", {"depths": (1, 1)}),
        ("topowmamba_tiny", {"stage_blocks": ("conv", "conv", "conv", "transformer")}),
        ("topowmamba_tiny", {"wmb_stages": (True,)}),
        ("topowmamba_tiny", {"wmb_design": "other"}),
        ("topowmamba_tiny", {"drop_path": 1.5}),
        ("topowmamba_tiny", {"snake_ratio": 64}),
        ("vmunet_small", {"dims": (32, 64, 128, 200)}),
        ("vmunet_small", {"depths": (1, 1)}),
        ("dynunet_small", {"filters": (8, 8, 8)}),
        ("nnunet_plain", {"levels": 7}),
        ("nnunet_resenc", {"levels": 1}),
    ],
)
def test_bad_values_raise(name: str, overrides: dict) -> None:
    with pytest.raises(ValueError):
        build(name, **overrides)


@pytest.mark.parametrize("name", ["topowmamba_tiny", "topowmamba_small", "vmunet_small", "dynunet_small"])
def test_small_models_fit_in_twenty_megabytes(name: str) -> None:
    with torch.device("meta"):
        network = BUILDERS[name](spatial_dims=2, in_channels=7, out_channels=6)
    assert sum(p.numel() for p in network.parameters()) <= 4_900_000


@pytest.mark.parametrize("name", BUILDERS)
def test_a_constant_image_gives_finite_logits(name: str) -> None:
    with torch.inference_mode():
        assert build(name).eval()(torch.zeros(1, 2, 32, 32)).isfinite().all()


@pytest.mark.parametrize("name", BUILDERS)
def test_an_image_smaller_than_the_stride_is_segmented(name: str) -> None:
    options: dict[str, Any] = {"filters": (4, 8, 8, 16, 16, 16)} if name.startswith("dynunet") else {}
    with torch.inference_mode():
        assert build(name, **options).eval()(torch.rand(1, 2, 5, 7)).shape == (1, 3, 5, 7)


@pytest.mark.parametrize(("name", "spatial_dims"), CASES)
def test_classes_can_be_added_to_trained_weights(name: str, spatial_dims: int, tmp_path: Path) -> None:
    small, x = build(name, spatial_dims).eval(), image(spatial_dims)
    grown = build(name, spatial_dims, out_channels=5).eval()
    load_grown_weights(grown, save_weights(small, tmp_path / "weights.safetensors"), 3, 5)
    with torch.inference_mode():
        before, after = small(x), grown(x)
    assert torch.allclose(before, after[:, :3], atol=1e-4)
    assert torch.allclose(after[:, 3:], (before[:, :1] - 5).expand_as(after[:, 3:]), atol=1e-4)
