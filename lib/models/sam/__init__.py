"""Segment-anything networks: parts, assembly, adapters and the weights they stand on."""

from lib.models.sam.build import sam_tiny, sam_vit_b
from lib.models.sam.network import PromptedNetwork

__all__ = ["PromptedNetwork", "sam_tiny", "sam_vit_b"]
