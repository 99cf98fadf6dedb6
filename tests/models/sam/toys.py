"""Tiny prompted networks for tests that do not need trained weights."""

import torch
from segment_anything.modeling import MaskDecoder, PromptEncoder, TwoWayTransformer
from torch import nn

from lib.models.sam.lora import add_adapters
from lib.models.sam.network import PromptedNetwork, Prompts
from lib.models.sam.tiny_vit import AttentionBlock

DIM = 32


class ToyEncoder(nn.Module):
    """A tiny encoder: patch embedding, one attention block, and a projection."""

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 16, stride, stride)
        self.block = AttentionBlock(16, 2, 3)
        self.neck = nn.Conv2d(16, DIM, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.neck(self.block(self.patches(images)))


def toy_network(
    image_size: int = 32,
    *,
    rank: int = 2,
    stride: int = 4,
    seed: int = 0,
    kind: type[PromptedNetwork] = PromptedNetwork,
) -> PromptedNetwork:
    """Return a tiny network of SAM's parts with untrained adapters; equal seeds give equal networks."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        side = image_size // stride
        network = kind(
            ToyEncoder(stride),
            PromptEncoder(DIM, (side, side), (image_size, image_size), 16),
            MaskDecoder(transformer_dim=DIM, transformer=TwoWayTransformer(2, DIM, 8, 64)),
        )
        network.foundation.fill_(seed)
        network.image_encoder = add_adapters(network.image_encoder, rank)
    return network.eval()


def randomise_adapters(network: PromptedNetwork) -> PromptedNetwork:
    """Randomise the adapters of a network, as if they were trained, and return the network."""
    torch.manual_seed(1)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if ".lora_B" in name:
                parameter.normal_(std=0.1)
    return network


class Bright(PromptedNetwork):
    """A network that segments bright pixels for every prompt and records the prompts; its embedding is the image."""

    seen: list[Prompts]

    def encode(self, images: torch.Tensor) -> torch.Tensor:
        return images

    def decode(self, embedding: torch.Tensor, prompts: Prompts, image_pe: torch.Tensor | None = None) -> torch.Tensor:
        Bright.seen = [*getattr(Bright, "seen", []), prompts]
        return (embedding - 0.5) * 20
