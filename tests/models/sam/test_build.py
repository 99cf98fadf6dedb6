"""Named sizes have the published parameters, load the published weights and accept other image sizes."""

import copy
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from segment_anything.modeling import ImageEncoderViT
from torch import nn

from lib.models import PROMPTED
from lib.models.sam import build
from lib.models.sam.build import VIT_PATCH, build_vit_b, resize_positions, sam_tiny, sam_vit_b
from lib.models.sam.foundation import NoFoundation, fold_batch_norm
from lib.models.sam.network import PromptedNetwork, Prompts


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_vit_b_has_the_published_parameters() -> None:
    with torch.device("meta"):
        network = build._assemble(build_vit_b(), 1024, VIT_PATCH)
    parts = [count(part) for part in (network.image_encoder, network.prompt_encoder, network.mask_decoder)]
    assert parts == [89_670_912, 6_220, 4_058_340] and count(network) == 93_735_472


def test_every_tensor_of_lite_medsam_is_loaded(tiny: PromptedNetwork, weights_file: Path) -> None:
    published = torch.load(weights_file, weights_only=True)
    assert len(published) == 435
    learnable = [v for name, v in published.items() if not name.endswith(("running_mean", "running_var", "_tracked"))]
    assert sum(v.numel() for v in learnable if v.ndim or v.is_floating_point()) == pytest.approx(9.79e6, rel=1e-3)
    names = {
        name.replace("patch_embed.seq.", "patch_embed."): value for name, value in fold_batch_norm(published).items()
    }
    loaded = {
        name.replace(".base_layer", ""): value
        for name, value in nn.Module.state_dict(tiny).items()
        if ".lora_" not in name and name != "foundation"
    }
    assert loaded.keys() == names.keys()
    assert all(torch.equal(loaded[name], names[name]) for name in loaded)


def test_lite_medsam_segments_a_disc_in_a_box(weights_file: Path) -> None:
    """The published weights segment a bright disc from a box, the prompt that they were trained with."""
    rows, columns = torch.meshgrid(torch.arange(128.0), torch.arange(128.0), indexing="ij")
    disc = (rows - 60).hypot(columns - 75) < 22
    network = sam_tiny(128, foundation=weights_file)
    with torch.inference_mode():
        embedding = network.encode(0.2 + 0.6 * disc[None, None].float())
        mask = network.decode(embedding, Prompts(boxes=torch.tensor([[38.0, 53, 82, 97]])))[0, 0] > 0
    assert 2 * (mask & disc).sum() / (mask.sum() + disc.sum()) > 0.9


def test_adapters_are_in_the_last_eight_blocks_and_do_not_depend_on_the_seed(
    weights_file: Path, tiny: PromptedNetwork
) -> None:
    torch.manual_seed(123)
    again = sam_tiny(64, foundation=weights_file)
    first, second = tiny.state_dict(), again.state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first) and not again.training
    adapted = {name.rpartition(".attn.qkv.lora_A")[0] for name in first if "lora_A" in name}
    assert adapted == {f"image_encoder.layers.2.blocks.{i}" for i in range(6)} | {
        f"image_encoder.layers.3.blocks.{i}" for i in range(2)
    }


def small_vit(image_size: int) -> ImageEncoderViT:
    """Return a ViT with the published names and two blocks: window attention, then global attention."""
    return ImageEncoderViT(
        depth=2,
        embed_dim=24,
        img_size=image_size,
        mlp_ratio=1,
        norm_layer=partial(nn.LayerNorm, eps=1e-6),
        num_heads=2,
        qkv_bias=True,
        use_rel_pos=True,
        global_attn_indexes=(1,),
        window_size=2,
    )


def published_file(encoder: Callable[[int], nn.Module], image_size: int, path: Path) -> dict[str, torch.Tensor]:
    """Write random weights in the published format of SAM, and return them."""
    torch.manual_seed(0)
    network = build._assemble(encoder(image_size), image_size, VIT_PATCH)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if "pos" in name:
                parameter.normal_(std=0.1)
    state = {name: value for name, value in nn.Module.state_dict(network).items() if name != "foundation"}
    torch.save(state, path)
    return copy.deepcopy(state)


def check_sizes(state: dict[str, torch.Tensor], path: Path, written_at: int) -> None:
    for size in (written_at, written_at // 2, written_at * 2):
        network = sam_vit_b(size, rank=2, foundation=path)
        loaded = {name.replace(".base_layer", ""): value for name, value in nn.Module.state_dict(network).items()}
        assert loaded.keys() >= state.keys()
        same = {
            name for name in state if state[name].shape == loaded[name].shape and torch.equal(state[name], loaded[name])
        }
        if size == written_at:
            assert same == state.keys()
        else:
            moved = state.keys() - same
            assert moved and all(".pos_embed" in name or ".rel_pos_" in name for name in moved)
        side = size // 16
        assert loaded["image_encoder.pos_embed"].shape[1:3] == (side, side)
        with torch.inference_mode():
            embedding = network.encode(torch.rand(1, 1, size, size))
        assert embedding.shape == (1, 256, side, side) and embedding.isfinite().all()


def test_positional_embeddings_are_resized_for_other_image_sizes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "build_vit_b", small_vit)
    state = published_file(small_vit, 128, tmp_path / "vit.pth")
    check_sizes(state, tmp_path / "vit.pth", 128)


@pytest.mark.slow
def test_positional_embeddings_of_vit_b_are_resized_for_other_image_sizes(tmp_path: Path) -> None:
    path = tmp_path / "vit.pth"
    state = published_file(build_vit_b, 512, path)
    network = sam_vit_b(256, foundation=path)
    with torch.inference_mode():
        assert network.encode(torch.rand(1, 1, 256, 256)).shape == (1, 256, 16, 16)
    whole = nn.Module.state_dict(sam_vit_b(512, foundation=path))
    loaded = {name.replace(".base_layer", ""): value for name, value in whole.items()}
    assert all(torch.equal(state[name], loaded[name]) for name in state)


def test_resized_positional_embeddings_keep_a_slope() -> None:
    """A linear embedding that is resized to twice as many patches is nearly linear with half the slope."""
    line = torch.arange(8.0)
    state = {
        "image_encoder.pos_embed": line.view(1, 8, 1, 1).expand(1, 8, 8, 3).contiguous(),
        "image_encoder.blocks.0.attn.rel_pos_h": torch.arange(15.0)[:, None].expand(15, 3).contiguous(),
        "image_encoder.blocks.1.attn.rel_pos_h": torch.arange(27.0)[:, None].expand(27, 3).contiguous(),
    }
    resized = resize_positions(state, 16)
    rows = resized["image_encoder.pos_embed"][0, :, 0, 0]
    assert torch.allclose(rows[4:12], (torch.arange(16.0) / 2 - 0.25)[4:12], atol=0.06)
    relative = resized["image_encoder.blocks.0.attn.rel_pos_h"]
    assert relative.shape == (31, 3) and relative[15, 0] == pytest.approx(7.0) and (relative.diff(dim=0) >= 0).all()
    # Embeddings of window attention are not resized, and the given weights are not changed.
    assert resized["image_encoder.blocks.1.attn.rel_pos_h"] is state["image_encoder.blocks.1.attn.rel_pos_h"]
    assert state["image_encoder.pos_embed"].shape == (1, 8, 8, 3)
    assert resize_positions(state, 8) == state


def test_vit_b_without_a_file_raises_with_the_setting() -> None:
    with pytest.raises(NoFoundation, match=r"set `foundation`"):
        sam_vit_b(64)


def test_a_foundation_of_another_network_raises(tmp_path: Path) -> None:
    torch.save({"image_encoder.weight": torch.ones(1)}, tmp_path / "other.pth")
    with pytest.raises(NoFoundation, match="published"):
        sam_tiny(64, foundation=tmp_path / "other.pth")
    with pytest.raises(NoFoundation, match="published"):
        sam_vit_b(64, foundation=tmp_path / "other.pth")


@pytest.mark.parametrize(("name", "size"), [("sam_tiny", 62), ("sam_tiny", 0), ("sam_vit_b", 100), ("sam_vit_b", 8)])
def test_an_image_size_that_is_no_multiple_of_the_patch_raises(name: str, size: int, tmp_path: Path) -> None:
    (tmp_path / "some.pth").touch()
    with pytest.raises(ValueError, match="multiple"):
        PROMPTED[name](size, foundation=tmp_path / "some.pth")
