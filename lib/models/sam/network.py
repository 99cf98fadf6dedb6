"""The segment-anything network: it embeds an image once and decodes any number of prompts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import nn

from lib.models.sam.decoder import decode_masks
from lib.models.weights import WeightsMismatch

if TYPE_CHECKING:
    from segment_anything.modeling import MaskDecoder, PromptEncoder

FOREGROUND, BACKGROUND, NO_POINT = 1, 0, -1
BASE = "image_encoder."
ADAPTER = ".lora_"


@dataclass(frozen=True, eq=False)
class Prompts:
    """P prompts for one image, on any device. Without points, boxes and masks there is one empty prompt.

    Args:
        points: Clicks, ``(P, n, 2)``: row and column as sample indices of the image.
        point_labels: Labels of the points, ``(P, n)``: `FOREGROUND`, `BACKGROUND`, or `NO_POINT` as padding where a
            prompt has fewer points than others.
        boxes: Boxes, ``(P, 4)``: first row, first column, last row, last column, in samples.
        masks: Logits of previous masks, ``(P, 1, H, W)``; they are resized to the size that the network expects.
    """

    points: torch.Tensor | None = None
    point_labels: torch.Tensor | None = None
    boxes: torch.Tensor | None = None
    masks: torch.Tensor | None = None


Decode = Callable[[int, Prompts], torch.Tensor]
"""Return the logits ``(P, 1, H, W)`` of prompts for one image, given by its index in the batch."""


class PromptedNetwork(nn.Module):
    """Segment images from clicks, boxes, previous masks, or without a prompt.

    The state dict contains the trained parts: adapters, prompt encoder and decoder. The frozen encoder is stored in a
    separate file, the foundation. A state dict cannot be loaded on another foundation than it was trained on.

    Args:
        image_encoder: Maps images ``(B, 3, H, W)`` to embeddings ``(B, C, h, w)``.
        prompt_encoder: Embeds prompts.
        mask_decoder: Decodes masks from the embeddings of image and prompts.
        normalise: Mean and standard deviation of images that the encoder was trained with; (0, 1) for no normalisation.
        input_range: Values of an image that become 0 and 1 for the encoder; values beyond them are clamped.
    """

    foundation: torch.Tensor

    def __init__(
        self,
        image_encoder: nn.Module,
        prompt_encoder: PromptEncoder,
        mask_decoder: MaskDecoder,
        *,
        normalise: tuple[float, float] = (0.0, 1.0),
        input_range: tuple[float, float] = (0.0, 1.0),
    ) -> None:
        super().__init__()
        self.image_encoder, self.prompt_encoder, self.mask_decoder = image_encoder, prompt_encoder, mask_decoder
        self.normalise, self.input_range = normalise, input_range
        self.register_buffer("foundation", torch.zeros(32, dtype=torch.uint8))
        self.image_encoder.requires_grad_(False)

    @property
    def image_size(self) -> tuple[int, int]:
        """Size ``(H, W)`` of an image, in samples."""
        return self.prompt_encoder.input_image_size

    def forward(self, images: torch.Tensor, callback: Callable[[Decode], Any] | None = None) -> Any:
        """Return the logits of background and foreground without a prompt, or the result of `callback`.

        Args:
            images: Colour images ``(B, 3, H, W)`` or grey images ``(B, 1, H, W)``, within `input_range`.
            callback: Called with a function that decodes prompts for the images; it returns tensors, for example the
                losses of a training step. None to segment without a prompt.
        Returns:
            Logits ``(B, 2, H, W)``, 0 for the background; or the result of `callback`.
        """
        embeddings = self.encode(images)
        if callback is not None:
            return callback(partial(self._decode_one, embeddings))
        masks = torch.cat([self._decode_one(embeddings, index, Prompts()) for index in range(len(images))])
        return torch.cat([torch.zeros_like(masks), masks], 1)

    def encode(self, images: torch.Tensor) -> torch.Tensor:
        """Return the embeddings ``(B, C, h, w)`` of ``images (B, 1 or 3, H, W)`` within `input_range`."""
        if images.shape[2:] != self.image_size:
            raise ValueError(f"images must have {self.image_size} samples, got {tuple(images.shape[2:])}")
        if self.input_range != (0, 1):
            low, high = self.input_range
            images = ((images - low) / (high - low)).clamp(0, 1)
        mean, deviation = self.normalise
        images = images.expand(-1, 3, -1, -1)
        return self.image_encoder(images if (mean, deviation) == (0, 1) else (images - mean) / deviation)

    def decode(self, embedding: torch.Tensor, prompts: Prompts, image_pe: torch.Tensor | None = None) -> torch.Tensor:
        """Return the logits of the prompts, ``(P, 1, 4 h, 4 w)``.

        Args:
            embedding: Embedding of one image, ``(1, C, h, w)``.
            prompts: The prompts.
            image_pe: Cached result of `PromptEncoder.get_dense_pe`, ``(1, C, h, w)``; None to compute it.
        """
        # In half precision the positions of points would be inexact by one or two samples.
        with torch.autocast(embedding.device.type, enabled=False):
            sparse, dense = self._embed(prompts, embedding.device)
            image_pe = self.prompt_encoder.get_dense_pe() if image_pe is None else image_pe
        return decode_masks(self.mask_decoder, embedding, image_pe, sparse, dense)

    def _decode_one(self, embeddings: torch.Tensor, index: int, prompts: Prompts) -> torch.Tensor:
        return self.decode(embeddings[index : index + 1], prompts)

    def _embed(self, prompts: Prompts, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        points = boxes = masks = None
        # The package expects points as (x, y), which is column before row.
        if prompts.points is not None and prompts.point_labels is not None:
            points = (prompts.points.flip(-1).float().to(device), prompts.point_labels.to(device))
        if prompts.boxes is not None:
            boxes = prompts.boxes[:, [1, 0, 3, 2]].float().to(device)
        if prompts.masks is not None:
            masks, size = prompts.masks.float().to(device), self.prompt_encoder.mask_input_size
            if masks.shape[2:] != size:
                masks = F.interpolate(masks, size, mode="bilinear", align_corners=False, antialias=True)
        return self.prompt_encoder(points=points, boxes=boxes, masks=masks)

    def state_dict(self, *args: Any, **options: Any) -> dict[str, Any]:
        """Return the state dict of the trained parts, without the frozen encoder."""
        state = super().state_dict(*args, **options)
        base = options.get("prefix", "") + BASE
        for name in [name for name in state if _is_frozen(name, base)]:
            del state[name]
        return state

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Load the trained parts of a network with the same foundation.

        Raises:
            WeightsMismatch: If they were trained on another foundation.
        """
        needed = state_dict.get("foundation")
        if needed is not None and not torch.equal(needed.cpu(), self.foundation.cpu()):
            needed_hash, loaded_hash = (bytes(digest.tolist()).hex()[:12] for digest in (needed, self.foundation))
            raise WeightsMismatch(
                f"these weights need the foundation with SHA-256 {needed_hash}..., but {loaded_hash}... is loaded"
            )
        return super().load_state_dict({**self._frozen(), **state_dict}, strict, assign)

    def _frozen(self) -> dict[str, torch.Tensor]:
        return {name: value for name, value in super().state_dict().items() if _is_frozen(name)}


def _is_frozen(name: str, base: str = BASE) -> bool:
    return name.startswith(base) and ADAPTER not in name
