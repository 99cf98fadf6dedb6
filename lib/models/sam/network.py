"""The segment-anything network: an image is embedded once, then answers any number of prompts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from segment_anything.modeling import MaskDecoder, PromptEncoder
from torch import nn

from lib.models.sam.decoder import masks_of
from lib.models.weights import WeightsMismatch

FOREGROUND, BACKGROUND, NO_POINT = 1, 0, -1
BASE = "image_encoder."
ADAPTER = ".lora_"


@dataclass(frozen=True, eq=False)
class Prompts:
    """What is asked of one image, P prompts at once; without any, the image itself is one. On any device.

    Args:
        points: ``(P, n, 2)``, row and column in samples of the image, each a sample's index.
        kinds: ``(P, n)``: `FOREGROUND`, `BACKGROUND`, or `NO_POINT` where a prompt has fewer points than others.
        boxes: ``(P, 4)``, first row and column, last row and column.
        masks: Logits of an earlier mask, ``(P, 1, H, W)``; where they are not of the size that `PromptedNetwork.decode`
            gives, they are resized.
    """

    points: torch.Tensor | None = None
    kinds: torch.Tensor | None = None
    boxes: torch.Tensor | None = None
    masks: torch.Tensor | None = None


Decode = Callable[[int, Prompts], torch.Tensor]
"""Logits ``(P, 1, H, W)`` of the prompts for one image of a batch, by its number."""


class PromptedNetwork(nn.Module):
    """Masks of images for clicks, boxes, earlier masks, or for no prompt at all.

    Its state is what it learned: adapters, prompt encoder and decoder. The frozen encoder below them is a file of its
    own, the foundation, and a state is refused on another foundation than it was learned on.

    Args:
        image_encoder: ``(B, 3, H, W)`` to ``(B, C, h, w)``.
        prompt_encoder: Embeds prompts.
        mask_decoder: Makes masks of both.
        normalise: Mean and standard deviation of the image's values, as the encoder was trained; (0, 1) for none.
    """

    foundation: torch.Tensor

    def __init__(
        self,
        image_encoder: nn.Module,
        prompt_encoder: PromptEncoder,
        mask_decoder: MaskDecoder,
        *,
        normalise: tuple[float, float] = (0.0, 1.0),
    ) -> None:
        super().__init__()
        self.image_encoder, self.prompt_encoder, self.mask_decoder = image_encoder, prompt_encoder, mask_decoder
        self.normalise = normalise
        self.register_buffer("foundation", torch.zeros(32, dtype=torch.uint8))
        self.image_encoder.requires_grad_(False)

    @property
    def image_size(self) -> tuple[int, int]:
        """Samples of an image, ``(H, W)``."""
        return self.prompt_encoder.input_image_size

    def forward(self, images: torch.Tensor, ask: Callable[[Decode], Any] | None = None) -> Any:
        """Return the logits of background and foreground without a prompt, or what `ask` makes of the answers.

        Args:
            images: ``(B, 3, H, W)`` or, grey, ``(B, 1, H, W)``, in [0, 1].
            ask: Given the means to prompt, it returns tensors of its own; a training's losses, for one.
        Returns:
            ``(B, 2, H, W)``, background 0, or what `ask` returned.
        """
        embeddings = self.encode(images)
        if ask is not None:
            return ask(partial(self._decode_one, embeddings))
        masks = torch.cat([self._decode_one(embeddings, index, Prompts()) for index in range(len(images))])
        return torch.cat([torch.zeros_like(masks), masks], 1)

    def encode(self, images: torch.Tensor) -> torch.Tensor:
        """Return the embeddings ``(B, C, h, w)`` of ``images (B, 1 or 3, H, W)`` in [0, 1]."""
        if images.shape[2:] != self.image_size:
            raise ValueError(f"images are {self.image_size} samples, got {tuple(images.shape[2:])}")
        mean, deviation = self.normalise
        images = images.expand(-1, 3, -1, -1)
        return self.image_encoder(images if (mean, deviation) == (0, 1) else (images - mean) / deviation)

    def decode(self, embedding: torch.Tensor, prompts: Prompts, image_pe: torch.Tensor | None = None) -> torch.Tensor:
        """Return the logits ``(P, 1, H', W')`` of the prompts, at four times the embedding's size.

        Args:
            embedding: One image's, ``(1, C, h, w)``.
            prompts: What is asked.
            image_pe: What `PromptEncoder.get_dense_pe` gives, where somebody keeps it.
        """
        # In half precision a place would be known to a sample or two only.
        with torch.autocast(embedding.device.type, enabled=False):
            sparse, dense = self._embed(prompts, embedding.device)
            image_pe = self.prompt_encoder.get_dense_pe() if image_pe is None else image_pe
        return masks_of(self.mask_decoder, embedding, image_pe, sparse, dense)

    def _decode_one(self, embeddings: torch.Tensor, index: int, prompts: Prompts) -> torch.Tensor:
        return self.decode(embeddings[index : index + 1], prompts)

    def _embed(self, prompts: Prompts, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        points = boxes = masks = None
        # The package has points as (x, y): column before row.
        if prompts.points is not None and prompts.kinds is not None:
            points = (prompts.points.flip(-1).float().to(device), prompts.kinds.to(device))
        if prompts.boxes is not None:
            boxes = prompts.boxes[:, [1, 0, 3, 2]].float().to(device)
        if prompts.masks is not None:
            masks, size = prompts.masks.float().to(device), self.prompt_encoder.mask_input_size
            if masks.shape[2:] != size:
                masks = F.interpolate(masks, size, mode="bilinear", align_corners=False, antialias=True)
        return self.prompt_encoder(points=points, boxes=boxes, masks=masks)

    def state_dict(self, *args: Any, **options: Any) -> dict[str, Any]:
        """Return what was learned, without the frozen encoder."""
        state = super().state_dict(*args, **options)
        base = options.get("prefix", "") + BASE
        for name in [name for name in state if _is_frozen(name, base)]:
            del state[name]
        return state

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Take over what another of the same foundation learned.

        Raises:
            WeightsMismatch: If it was learned on another foundation.
        """
        theirs = state_dict.get("foundation")
        if theirs is not None and not torch.equal(theirs.cpu(), self.foundation.cpu()):
            ours, other = (bytes(each.tolist()).hex()[:12] for each in (self.foundation, theirs))
            raise WeightsMismatch(f"these weights adapt the foundation {other}..., and {ours}... is loaded")
        return super().load_state_dict({**self._frozen(), **state_dict}, strict, assign)

    def _frozen(self) -> dict[str, torch.Tensor]:
        return {name: value for name, value in super().state_dict().items() if _is_frozen(name)}


def _is_frozen(name: str, base: str = BASE) -> bool:
    return name.startswith(base) and ADAPTER not in name
