"""Low-rank adapters on an encoder's attention, by peft."""

from __future__ import annotations

import copy
from typing import Any

from torch import nn


def adapt(encoder: nn.Module, rank: int, layers: str = "qkv") -> nn.Module:
    """Add adapters to the layers of an encoder that make queries, keys and values; until trained they change nothing.

    Args:
        encoder: Changed in place.
        rank: Of the adapters; 0 adds none.
        layers: The end of their names, or a regular expression of whole names.
    Returns:
        The encoder; its adapters alone need gradients.
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
    # Where it is used, for with it comes a library of language models.
    from peft import LoraConfig, inject_adapter_in_model

    return inject_adapter_in_model(
        LoraConfig(r=rank, lora_alpha=rank, target_modules=layers if "." in layers else [layers]), encoder
    )


def merged(network: nn.Module) -> nn.Module:
    """Return a copy with the adapters multiplied into the layers below them: the same answers, nothing beside them."""
    network = copy.deepcopy(network)
    modules: list[tuple[str, Any]] = list(network.named_modules())
    for name, module in modules:
        if hasattr(module, "lora_A"):
            parent, _, child = name.rpartition(".")
            module.merge(safe_merge=True)
            setattr(network.get_submodule(parent), child, module.get_base_layer())
    return network
