"""Sizes of the segment-anything network by name, on their published weights."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, TwoWayTransformer
from torch import Tensor, nn

from lib.models.sam.foundation import (
    LITE_MEDSAM_SHA256,
    NoFoundation,
    existing,
    fold_batch_norm,
    lite_medsam,
    load_foundation,
)
from lib.models.sam.lora import adapt
from lib.models.sam.network import PromptedNetwork
from lib.models.sam.tiny_vit import STRIDE, TinyViT

EMBED_DIM, MASK_CHANNELS = 256, 16
VIT_PATCH, VIT_SIZE = 16, 1024
VIT_MEAN, VIT_DEVIATION = 0.449, 0.226
"""Of grey images: the mean over the three colours that SAM was trained with."""
RANK = 4
TINY_LAYERS = r"layers\.[23]\..*\.qkv"
"""The eight blocks at the embedding's scale: no gradient goes through the stages before, half of the encoder's time."""


def sam_tiny(image_size: int = 256, *, rank: int = RANK, foundation: str | Path | None = None) -> PromptedNetwork:
    """Return TinyViT with SAM's decoder, 9.8 M parameters, on LiteMedSAM's weights.

    Args:
        image_size: Samples of an image's side, a multiple of 4; the weights were trained at 256.
        rank: Of the adapters.
        foundation: The weights' file; None takes the one that the package of `lib.models.sam.foundation` carries.
    Raises:
        NoFoundation: If the weights are not there or not whole.
        ValueError: If the size or the rank cannot be.
    """
    network = _assemble(TinyViT(EMBED_DIM), image_size, STRIDE)
    load_foundation(network, foundation_of("sam_tiny", foundation), _tiny_names, LITE_MEDSAM_SHA256)
    return _adapted(network, rank, TINY_LAYERS)


def sam_vit_b(image_size: int = 512, *, rank: int = RANK, foundation: str | Path | None = None) -> PromptedNetwork:
    """Return SAM ViT-B, 93.7 M parameters.

    Args:
        image_size: Samples of an image's side, a multiple of 16; positional embeddings are resized from 1024.
        rank: Of the adapters.
        foundation: ``sam_vit_b_01ec64.pth`` or a file of the same names, such as MedSAM's.
    Raises:
        NoFoundation: If the weights are not there or not whole.
        ValueError: If the size or the rank cannot be.
    Source:
        Kirillov et al. 2023, arXiv:2304.02643.
    """
    path = foundation_of("sam_vit_b", foundation)
    network = _assemble(vit_b(image_size), image_size, VIT_PATCH, normalise=(VIT_MEAN, VIT_DEVIATION))
    load_foundation(network, path, partial(resized_positions, side=image_size // VIT_PATCH))
    return _adapted(network, rank)


def foundation_of(model: str, given: str | Path | None = None) -> Path:
    """Return the file of the weights below a network, which is there, if not known to be whole.

    Args:
        model: "sam_tiny" or "sam_vit_b".
        given: The file; None takes what a package carries.
    Raises:
        NoFoundation: If there is no such file, with what to do.
    """
    if not given and model != "sam_tiny":
        raise NoFoundation(f"{model} needs the file of SAM's weights: set `foundation` of the task in app.toml")
    return existing(Path(given)) if given else lite_medsam()


def vit_b(image_size: int = VIT_SIZE) -> ImageEncoderViT:
    """Return SAM's ViT-B encoder for square images, 89.7 M parameters at 1024 samples a side."""
    _check_size(image_size, VIT_PATCH)
    return ImageEncoderViT(
        depth=12,
        embed_dim=768,
        img_size=image_size,
        mlp_ratio=4,
        norm_layer=partial(nn.LayerNorm, eps=1e-6),  # type: ignore[arg-type] - the package does the same
        num_heads=12,
        patch_size=VIT_PATCH,
        qkv_bias=True,
        use_rel_pos=True,
        global_attn_indexes=(2, 5, 8, 11),
        window_size=14,
        out_chans=EMBED_DIM,
    )


def resized_positions(state: Mapping[str, Tensor], side: int) -> dict[str, Tensor]:
    """Return an encoder's weights with its positional embeddings for `side` x `side` patches.

    Args:
        state: Weights by name; absolute embeddings ``(1, h, w, C)`` and, of the layers that see the whole image,
            relative ones ``(2 h - 1, C)``.
        side: Patches along each side of the image.
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
    encoder: nn.Module, image_size: int, stride: int, normalise: tuple[float, float] = (0.0, 1.0)
) -> PromptedNetwork:
    _check_size(image_size, stride)
    side = image_size // stride
    prompts = PromptEncoder(
        embed_dim=EMBED_DIM,
        image_embedding_size=(side, side),
        input_image_size=(image_size, image_size),
        mask_in_chans=MASK_CHANNELS,
    )
    decoder = MaskDecoder(
        transformer_dim=EMBED_DIM,
        transformer=TwoWayTransformer(depth=2, embedding_dim=EMBED_DIM, mlp_dim=2048, num_heads=8),
    )
    return PromptedNetwork(encoder, prompts, decoder, normalise=normalise)


def _check_size(image_size: int, stride: int) -> None:
    if image_size < stride or image_size % stride:
        raise ValueError(f"image_size must be a multiple of {stride}, got {image_size}")


def _adapted(network: PromptedNetwork, rank: int, layers: str = "qkv") -> PromptedNetwork:
    with torch.random.fork_rng(devices=[]):
        # The same adapters at every start: an untrained network is then one and the same everywhere.
        torch.manual_seed(0)
        network.image_encoder = adapt(network.image_encoder, rank, layers)
    return network.eval()


def _tiny_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.replace("patch_embed.seq.", "patch_embed."): value for name, value in fold_batch_norm(state).items()}
