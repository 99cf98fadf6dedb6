"""Segment-anything networks: parts, assembly, LoRA adapters and published weights."""

from lib.models.sam.build import sam_tiny, sam_vit_b
from lib.models.sam.network import PromptedNetwork

__all__ = ["PromptedNetwork", "sam_tiny", "sam_vit_b"]
