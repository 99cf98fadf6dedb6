"""Teach a prompted network by clicks: a simulated annotator asks, sees the answer, and clicks where it is wrong."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import cc3d
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

from lib.data.patches.augment import Augmentation
from lib.data.pipeline import IGNORE
from lib.evaluation.metrics.clicks import Click as Mark
from lib.evaluation.metrics.clicks import inner_points, next_click
from lib.learning.losses.mask import mask_loss
from lib.learning.recipes.recipe import Batch, Losses, Recipe
from lib.models.sam.network import BACKGROUND, FOREGROUND, NO_POINT, Decode, Prompts
from lib.models.sam.predictor import mask_logits

SMALLEST = 12
"""Samples of an object that is worth a click."""
FOLLOW_POINTS = 3
CORNERS = ("point_embeddings.2", "point_embeddings.3")
UNUSED = ("iou_prediction_head", *(f"output_hypernetworks_mlps.{i}" for i in (1, 2, 3)), *CORNERS)
"""Parts that answer several masks at once, which nobody asks for, and those of boxes, which no lesson has."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Click(Recipe):
    """Clicks on simulated objects: all labels together, one of them, or one connected part.

    A session goes on for some rounds: the first click lies inside the object, each further one in the largest error
    region, with or without the mask before as a prompt. Some objects begin with the mask of a slice beside it, and some
    images are asked without any prompt, which is what a distillation learns from.

    Args:
        objects: Objects asked of one image.
        rounds: Clicks on each.
        union_prob: Share of objects that are all labels together; the others are one label or one part.
        follow_prob: Share of images whose objects begin with a neighbour's mask.
        free_prob: Share of images that are also asked without a prompt, for all labels together.
        dice_weight: Of soft Dice in the loss; the rest is cross entropy.
        train_decoder: Whether the mask decoder learns.
        train_prompt_encoder: Whether the prompt encoder learns.
        zoom_out: Largest field of view, as a multiple of the roi at the task's spacing.
        zoom_in: Largest magnification.
    Source:
        Kirillov et al. 2023, arXiv:2304.02643 (interactive training); Zhang & Liu 2023, SAMed, arXiv:2304.13785
        (adapters, prompt-free training, 0.2 cross entropy + 0.8 Dice).
    """

    objects: int = 2
    rounds: int = 3
    union_prob: float = 0.6
    follow_prob: float = 0.25
    free_prob: float = 0.3
    dice_weight: float = 0.8
    train_decoder: bool = True
    train_prompt_encoder: bool = True
    zoom_out: float = 1.8
    zoom_in: float = 2.8

    partly: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Refuse values that cannot train."""
        super().__post_init__()
        for name in ("objects", "rounds", "zoom_out", "zoom_in"):
            self._require(name, getattr(self, name) > 0, "must be positive")
        for name in ("union_prob", "follow_prob", "free_prob", "dice_weight"):
            self._require(name, 0 <= getattr(self, name) <= 1, "must lie in [0, 1]")

    def prepare(self, network: nn.Module) -> None:
        """Free the adapters, and the decoder and the prompt encoder as the options say; freeze everything else.

        Raises:
            ValueError: If nothing is left that could learn.
        """
        free_adapters(network, decoder=self.train_decoder, prompt_encoder=self.train_prompt_encoder)

    def augmentation(self) -> Augmentation:
        """Return wide zooms: frames show an object from afar and from near."""
        return dataclasses.replace(Augmentation(), zoom=(1 / self.zoom_out, self.zoom_in))

    def step(self, network: nn.Module, batch: Batch) -> Losses:
        """Return the losses of one batch.

        Args:
            network: A `PromptedNetwork`.
            batch: ``image`` ``(B, 1, H, W)``, ``label`` ``(B, H, W)``.
        """
        return network(batch["image"], lambda decode: self._converse(decode, batch["label"]))

    def _converse(self, decode: Decode, labels: torch.Tensor) -> Losses:
        rng = np.random.default_rng(int(torch.randint(2**31, ()).item()))
        losses: dict[str, list[torch.Tensor]] = {"click": [], "free": []}
        for index, label in enumerate(labels.cpu().numpy()):
            valid = label != IGNORE
            targets = draw_objects(label, self.objects, self.union_prob, rng)
            if targets:
                losses["click"] += self._session(decode, index, targets, valid, rng)
            if rng.random() < self.free_prob or not targets:
                answer = decode(index, Prompts())
                losses["free"].append(self._loss(answer, [(label > 0) & valid], valid))
        means = {name: torch.stack(values).mean() for name, values in losses.items() if values}
        return {"loss": torch.stack([value for values in losses.values() for value in values]).mean(), **means}

    def _session(
        self, decode: Decode, index: int, targets: list[NDArray], valid: NDArray, rng: np.random.Generator
    ) -> list[torch.Tensor]:
        marks, given = _first_marks(targets, rng), None
        if rng.random() < self.follow_prob:
            near = [neighbour(target, rng) for target in targets]
            marks = [_inside(mask, rng) or first for mask, first in zip(near, marks, strict=True)]
            given = mask_logits(torch.from_numpy(np.stack(near)).float()[:, None])
        losses: list[torch.Tensor] = []
        for _ in range(self.rounds):
            points, kinds = as_points(marks)
            prompts = Prompts(points, kinds, masks=given)
            answer = decode(index, prompts)
            losses.append(self._loss(answer, targets, valid))
            found = (answer.detach()[:, 0] > 0).cpu().numpy()
            # An object that is right gets no further click, and its prompts stay as they are.
            for mark, mask, target in zip(marks, found, targets, strict=True):
                mark += [each for each in [next_click(_sized(mask, target), target, valid, rng)] if each]
            given = answer.detach().clamp(-32, 32) if rng.random() < 0.5 else None
        return losses

    def _loss(self, answer: torch.Tensor, targets: list[NDArray], valid: NDArray) -> torch.Tensor:
        target, known = (
            torch.from_numpy(np.stack(each)).to(answer.device) for each in (targets, [valid] * len(targets))
        )
        logits = answer[:, 0]
        if logits.shape[1:] != target.shape[1:]:
            logits = F.interpolate(answer, target.shape[1:], mode="bilinear", align_corners=False)[:, 0]
        return mask_loss(logits, target, known, dice_weight=self.dice_weight)


def free_adapters(network: nn.Module, *, decoder: bool = True, prompt_encoder: bool = True) -> None:
    """Let a prompted network's adapters learn, decoder and prompt encoder as well if asked to, and nothing else.

    Raises:
        ValueError: If nothing is left that could learn.
    """
    for name, parameter in network.named_parameters():
        part, _, rest = name.partition(".")
        learns = {"prompt_encoder": prompt_encoder, "mask_decoder": decoder}
        parameter.requires_grad_(learns.get(part, ".lora_" in name) and not rest.startswith(UNUSED))
    if not any(parameter.requires_grad for parameter in network.parameters()):
        raise ValueError("nothing learns: the network has no adapters (rank 0), and decoder and prompts are frozen")


def draw_objects(label: NDArray, count: int, union_prob: float, rng: np.random.Generator) -> list[NDArray]:
    """Return some objects of a label map, bool ``(H, W)`` each; fewer, or none, where there is little to click on.

    Args:
        label: Label values ``(H, W)``; 255 is no object.
        count: How many.
        union_prob: Share that are all labels together.
        rng: Chooses.
    """
    airway = (label > 0) & (label != IGNORE)
    if airway.sum() < SMALLEST:
        return []
    objects = []
    for _ in range(count):
        kind = rng.random()
        drawn = airway
        if kind > union_prob:
            values = np.unique(label[airway])
            drawn = label == rng.choice(values)
            if kind > (1 + union_prob) / 2:
                parts, parts_count = cc3d.connected_components(airway, connectivity=8, return_N=True)
                drawn = parts == rng.integers(1, parts_count + 1)
        objects.append(drawn if drawn.sum() >= SMALLEST else airway)
    return objects


def neighbour(mask: NDArray, rng: np.random.Generator) -> NDArray:
    """Return a mask as it might look on the slice beside: moved a little, grown or shrunk, parts of it gone."""
    (height, width), (down, right) = mask.shape, rng.integers(0, 7, 2)
    shifted = np.pad(mask, 3)[down : down + height, right : right + width]
    changed = torch.from_numpy(shifted)[None, None].float()
    radius = int(rng.integers(-2, 3))
    if radius:
        grown = F.max_pool2d(changed if radius > 0 else 1 - changed, 2 * abs(radius) + 1, 1, abs(radius))
        changed = grown if radius > 0 else 1 - grown
    result = changed[0, 0].numpy() > 0.5
    if rng.random() < 0.3:
        row, column = (int(rng.integers(0, size)) for size in mask.shape)
        result[row : row + height // 4, column : column + width // 4] = False
    return result if result.any() else mask


def as_points(marks: list[list[Mark]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return sessions of clicks as places ``(P, n, 2)`` and kinds ``(P, n)``, the shorter ones filled up."""
    longest = max(len(session) for session in marks)
    points = torch.zeros(len(marks), longest, 2)
    kinds = torch.full((len(marks), longest), NO_POINT)
    for row, session in enumerate(marks):
        for column, mark in enumerate(session):
            points[row, column] = torch.tensor([mark.row, mark.column], dtype=torch.float32)
            kinds[row, column] = FOREGROUND if mark.foreground else BACKGROUND
    return points, kinds


def _first_marks(targets: list[NDArray], rng: np.random.Generator) -> list[list[Mark]]:
    nothing = np.zeros_like(targets[0])
    return [[mark] for target in targets if (mark := next_click(nothing, target, rng=rng))]


def _inside(mask: NDArray, rng: np.random.Generator) -> list[Mark]:
    return [Mark(row, column, True) for row, column in inner_points(mask, FOLLOW_POINTS, rng)]


def _sized(mask: NDArray, target: NDArray) -> NDArray:
    if mask.shape == target.shape:
        return mask
    # The network's own grid may be coarser than the image's.
    return mask.repeat(target.shape[0] // mask.shape[0], 0).repeat(target.shape[1] // mask.shape[1], 1)
