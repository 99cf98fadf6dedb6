"""Named sizes of the segment-anything network, with their published weights."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lib.models.sam.foundation import (
    LITE_MEDSAM_SHA256,
    NoFoundation,
    check_exists,
    find_lite_medsam,
    fold_batch_norm,
    load_foundation,
)
from lib.models.sam.lora import add_adapters
from lib.models.sam.network import PromptedNetwork
from lib.models.sam.package import modeling
from lib.models.sam.tiny_vit import STRIDE, TinyViT

if TYPE_CHECKING:
    from segment_anything.modeling import ImageEncoderViT

EMBED_DIM, MASK_CHANNELS = 256, 16
VIT_PATCH, VIT_SIZE = 16, 1024
VIT_MEAN, VIT_DEVIATION = 0.449, 0.226
"""Mean and standard deviation of a grey image: averages over the three colour channels of SAM's training images."""
RANK = 4
TINY_LAYERS = r"layers\.[23]\..*\.qkv"
"""The eight blocks at the scale of the embedding; earlier stages, half of the encoder's time, need no gradient."""


def sam_tiny(
    image_size: int = 256,
    *,
    rank: int = RANK,
    foundation: str | Path | None = None,
    input_range: tuple[float, float] = (0.0, 1.0),
) -> PromptedNetwork:
    """Build TinyViT with the decoder of SAM, 9.8 M parameters, with the weights of LiteMedSAM.

    Args:
        image_size: Samples along each side of an image, a multiple of 4; the weights were trained at 256.
        rank: Rank of the LoRA adapters.
        foundation: File of the weights; None for the file in the package that `lib.models.sam.foundation` names.
        input_range: Values of an image that become 0 and 1; see `PromptedNetwork`.
    Raises:
        NoFoundation: If the weights are missing or damaged.
        ValueError: If `image_size` or `rank` is out of its range.
    """
    network = _assemble(TinyViT(EMBED_DIM), image_size, STRIDE, input_range=input_range)
    load_foundation(network, find_foundation("sam_tiny", foundation), _rename_tiny, LITE_MEDSAM_SHA256)
    return _with_adapters(network, rank, TINY_LAYERS)


def sam_vit_b(
    image_size: int = 512,
    *,
    rank: int = RANK,
    foundation: str | Path | None = None,
    input_range: tuple[float, float] = (0.0, 1.0),
) -> PromptedNetwork:
    """Build SAM ViT-B, 93.7 M parameters.

    Args:
        image_size: Samples along each side of an image, a multiple of 16; positional embeddings are resized from 1024.
        rank: Rank of the LoRA adapters.
        foundation: ``sam_vit_b_01ec64.pth``, or a file with the same weight names such as MedSAM's.
        input_range: Values of an image that become 0 and 1; see `PromptedNetwork`.
    Raises:
        NoFoundation: If the weights are missing or damaged.
        ValueError: If `image_size` or `rank` is out of its range.
    Source:
        Kirillov et al. 2023, arXiv:2304.02643.
    """
    path = find_foundation("sam_vit_b", foundation)
    normalise = (VIT_MEAN, VIT_DEVIATION)
    network = _assemble(build_vit_b(image_size), image_size, VIT_PATCH, input_range=input_range, normalise=normalise)
    load_foundation(network, path, partial(resize_positions, side=image_size // VIT_PATCH))
    return _with_adapters(network, rank)


def find_foundation(model: str, given: str | Path | None = None) -> Path:
    """Return the file of a network's published weights; the file exists, but its content is not checked.

    Args:
        model: "sam_tiny" or "sam_vit_b".
        given: The file; None for the file in an installed package.
    Raises:
        NoFoundation: If the file does not exist; the message says what to do.
    """
    if not given and model != "sam_tiny":
        raise NoFoundation(f"{model} needs a file of SAM's weights: set `foundation` of the task in app.toml")
    return check_exists(Path(given)) if given else find_lite_medsam()


def build_vit_b(image_size: int = VIT_SIZE) -> ImageEncoderViT:
    """Build the ViT-B encoder of SAM for square images, 89.7 M parameters at 1024 samples along each side."""
    _check_size(image_size, VIT_PATCH)
    return modeling().ImageEncoderViT(
        depth=12,
        embed_dim=768,
        img_size=image_size,
        mlp_ratio=4,
        norm_layer=partial(nn.LayerNorm, eps=1e-6),  # type: ignore[arg-type] - as in the package
        num_heads=12,
        patch_size=VIT_PATCH,
        qkv_bias=True,
        use_rel_pos=True,
        global_attn_indexes=(2, 5, 8, 11),
        window_size=14,
        out_chans=EMBED_DIM,
    )


def resize_positions(state: Mapping[str, Tensor], side: int) -> dict[str, Tensor]:
    """Return the weights of an encoder with its positional embeddings resized to `side` x `side` patches.

    Args:
        state: Weights by name. Absolute embeddings are ``(1, h, w, C)``; relative embeddings of the layers with global
            attention are ``(2 h - 1, C)``.
        side: Number of patches along each side of the image.
    Source:
        Zhang & Liu 2023, SAMed, arXiv:2304.13785, which resizes both for 512 samples.
    """
    state = dict(state)
    absolute = state["image_encoder.pos_embed"]
    before = absolute.shape[1]
    if before == side:
        return state
    grid = absolute.permute(0, 3, 1, 2)
    grid = F.interpolate(grid, (side, side), mode="bicubic", align_corners=False, antialias=side < before)
    state["image_encoder.pos_embed"] = grid.permute(0, 2, 3, 1)
    for name in [name for name in state if ".rel_pos_" in name and len(state[name]) == 2 * before - 1]:
        line = F.interpolate(state[name].T[None], 2 * side - 1, mode="linear")
        state[name] = line[0].T.contiguous()
    return state


def _assemble(
    encoder: nn.Module,
    image_size: int,
    stride: int,
    *,
    input_range: tuple[float, float] = (0.0, 1.0),
    normalise: tuple[float, float] = (0.0, 1.0),
) -> PromptedNetwork:
    _check_size(image_size, stride)
    side = image_size // stride
    prompts = modeling().PromptEncoder(
        embed_dim=EMBED_DIM,
        image_embedding_size=(side, side),
        input_image_size=(image_size, image_size),
        mask_in_chans=MASK_CHANNELS,
    )
    decoder = modeling().MaskDecoder(
        transformer_dim=EMBED_DIM,
        transformer=modeling().TwoWayTransformer(depth=2, embedding_dim=EMBED_DIM, mlp_dim=2048, num_heads=8),
    )
    return PromptedNetwork(encoder, prompts, decoder, normalise=normalise, input_range=input_range)


def _check_size(image_size: int, stride: int) -> None:
    if image_size < stride or image_size % stride:
        raise ValueError(f"image_size must be a multiple of {stride}, got {image_size}")


def _with_adapters(network: PromptedNetwork, rank: int, layers: str = "qkv") -> PromptedNetwork:
    with torch.random.fork_rng(devices=[]):
        # Use a fixed seed, so that the initial adapters are the same in every process.
        torch.manual_seed(0)
        network.image_encoder = add_adapters(network.image_encoder, rank, layers)
    return network.eval()


def _rename_tiny(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Convert the weights of LiteMedSAM to the names of this project's TinyViT."""
    return {name.replace("patch_embed.seq.", "patch_embed."): value for name, value in fold_batch_norm(state).items()}
