"""Low-rank adapters (LoRA) on the attention of an encoder, by peft."""

from __future__ import annotations

import copy
from typing import Any

from torch import nn


def add_adapters(encoder: nn.Module, rank: int, layers: str = "qkv") -> nn.Module:
    """Add LoRA adapters to the attention layers of an encoder; untrained adapters do not change its output.

    Args:
        encoder: The encoder, changed in place.
        rank: Rank of the adapters; 0 adds no adapters.
        layers: Layers that get adapters: the end of their names, or a regular expression for their full names.
    Returns:
        The encoder; only its adapters need gradients.
    Raises:
        ValueError: If the rank is negative, or the encoder has no such layer.
    Source:
        Hu et al. 2021, arXiv:2106.09685; on the fused layer as in SAMed, arXiv:2304.13785.
    """
    if rank < 0:
        raise ValueError(f"rank must be 0 or more, got {rank}")
    encoder.requires_grad_(False)
    if rank == 0:
        return encoder
    # Import peft only here, because it imports a large library of language models.
    from peft import LoraConfig, inject_adapter_in_model

    return inject_adapter_in_model(
        LoraConfig(r=rank, lora_alpha=rank, target_modules=layers if "." in layers else [layers]), encoder
    )


def merge_adapters(network: nn.Module) -> nn.Module:
    """Return a copy of a network whose adapters are merged into their layers; the outputs stay the same."""
    network = copy.deepcopy(network)
    modules: list[tuple[str, Any]] = list(network.named_modules())
    for name, module in modules:
        if hasattr(module, "lora_A"):
            parent, _, child = name.rpartition(".")
            module.merge(safe_merge=True)
            setattr(network.get_submodule(parent), child, module.get_base_layer())
    return network
