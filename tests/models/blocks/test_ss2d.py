"""The scan block agrees with its definition and has the published number of parameters."""

import pytest
import torch
import torch.nn.functional as F

from lib.models.blocks.ss2d import DropPath, SelectiveScanBlock, VSSBlock, draw_dt_bias, drop_rates
from lib.ops.selective_scan.reference import selective_scan_reference


@pytest.mark.parametrize(
    ("channels", "parameters"), [(96, 105_216), (192, 339_456), (384, 1_195_008), (768, 4_454_400)]
)
def test_the_number_of_parameters_is_the_published_one(channels: int, parameters: int) -> None:
    with torch.device("meta"):
        block = SelectiveScanBlock(2, channels)
    assert sum(p.numel() for p in block.parameters()) == parameters


def test_the_block_equals_its_definition() -> None:
    torch.manual_seed(0)
    block = SelectiveScanBlock(2, 4, d_state=3)
    x = torch.rand(2, 4, 3, 5)
    inner, gate = block.in_proj(x.permute(0, 2, 3, 1)).chunk(2, dim=-1)
    inner = F.silu(block.conv(inner.permute(0, 3, 1, 2)))
    rows, columns = inner.flatten(2), inner.transpose(2, 3).flatten(2)
    total = torch.zeros_like(inner)
    for k, sequence in enumerate([rows, columns, rows.flip(-1), columns.flip(-1)]):
        part = slice(k * block.d_inner, (k + 1) * block.d_inner)
        delta, b, c = (block.x_proj_weight[k] @ sequence).split([1, 3, 3], dim=1)
        y = selective_scan_reference(
            sequence,
            block.dt_projs_weight[k] @ delta,
            -block.A_logs[part].exp(),
            b.unsqueeze(1),
            c.unsqueeze(1),
            block.Ds[part],
            delta_bias=block.dt_projs_bias[k],
            delta_softplus=True,
        )
        y = y.flip(-1) if k >= 2 else y
        total += y.view(2, -1, 5, 3).transpose(2, 3) if k % 2 else y.view(2, -1, 3, 5)
    expected = block.out_proj(block.out_norm(total.permute(0, 2, 3, 1)) * F.silu(gate)).permute(0, 3, 1, 2)
    torch.testing.assert_close(block(x), expected, atol=1e-5, rtol=1e-4)


def test_other_paths_give_other_results_with_the_same_parameters() -> None:
    torch.manual_seed(0)
    blocks = [SelectiveScanBlock(2, 4, d_state=2, paths=paths) for paths in ("axes", "diagonals", "hilbert")]
    for block in blocks[1:]:
        block.load_state_dict(blocks[0].state_dict())
    x = torch.rand(1, 4, 3, 5)
    axes, diagonals, hilbert = (block(x) for block in blocks)
    assert not torch.allclose(axes, diagonals) and not torch.allclose(axes, hilbert)


@pytest.mark.parametrize("shape", [(3, 5), (2, 3, 4)])
@pytest.mark.parametrize("paths", ["axes", "diagonals", "hilbert"])
def test_the_corner_depends_on_every_position(shape: tuple[int, ...], paths: str) -> None:
    torch.manual_seed(0)
    block = SelectiveScanBlock(len(shape), 4, d_state=2, paths=paths)
    x = torch.rand(1, 4, *shape, requires_grad=True)
    corner = (0, slice(None), *[0] * len(shape))
    block(x)[corner].sum().backward()
    assert x.grad is not None and (x.grad.abs().amax(dim=1) > 0).all()


def test_initial_step_sizes_are_in_the_documented_range() -> None:
    dt = F.softplus(draw_dt_bias(4, 1000))
    assert dt.min() >= 1e-3 * 0.999 and dt.max() <= 0.1 * 1.001


def test_the_initial_state_matrix_holds_the_first_integers() -> None:
    torch.testing.assert_close(SelectiveScanBlock(3, 4, d_state=3).A_logs.exp()[-1], torch.tensor([1.0, 2.0, 3.0]))


def test_drop_path_keeps_the_mean_and_drops_whole_samples() -> None:
    torch.manual_seed(0)
    dropped = DropPath(0.25).train()(torch.ones(4000, 3))
    torch.testing.assert_close(dropped.unique(), torch.tensor([0.0, 4 / 3]))
    assert (dropped == dropped[:, :1]).all()
    assert dropped.mean().item() == pytest.approx(1.0, abs=0.05)
    assert torch.equal(DropPath(0.25).eval()(torch.ones(4, 3)), torch.ones(4, 3))


def test_drop_rates_increase_linearly() -> None:
    assert drop_rates(0.2, 3) == [0.0, 0.1, 0.2] and drop_rates(0.2, 1) == [0.0]


@pytest.mark.parametrize("drop_prob", [-0.1, 1.0])
def test_drop_path_raises_for_other_probabilities(drop_prob: float) -> None:
    with pytest.raises(ValueError, match="drop_prob"):
        DropPath(drop_prob)


def test_a_vss_block_without_the_branch_is_the_identity() -> None:
    block = VSSBlock(4, SelectiveScanBlock(2, 4, d_state=1))
    torch.nn.init.zeros_(block.mixer.out_proj.weight)
    x = torch.rand(1, 4, 6, 6)
    assert torch.equal(block(x), x)
