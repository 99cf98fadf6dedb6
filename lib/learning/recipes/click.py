"""Train a prompted network with the clicks of a simulated annotator, who clicks where the current mask is wrong."""

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
from lib.evaluation.metrics.clicks import Click as SimulatedClick
from lib.evaluation.metrics.clicks import inner_points, next_click
from lib.learning.losses.mask import mask_loss
from lib.learning.recipes.recipe import Batch, Losses, Recipe
from lib.models.sam.network import BACKGROUND, FOREGROUND, NO_POINT, Decode, Prompts
from lib.models.sam.predictor import mask_logits
from lib.ops.mirror import Mirroring

MIN_OBJECT_PIXELS = 12
"""Fewest pixels of an object for which the annotator clicks."""
NEIGHBOUR_CLICKS = 3
"""Most clicks that a session starts with, if its first prompt is the mask of a neighbouring slice."""
BOX_EMBEDDINGS = ("point_embeddings.2", "point_embeddings.3")
UNUSED_PARTS = ("iou_prediction_head", *(f"output_hypernetworks_mlps.{i}" for i in (1, 2, 3)), *BOX_EMBEDDINGS)
"""Parts of the network that training leaves frozen: the heads for several masks per prompt, and the box prompts."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Click(Recipe):
    """Train on clicks on sampled objects: all labels together, one label, or one connected component.

    A click session has several rounds. The first click lies inside the object, each further click in the largest error
    region; the previous mask is a second prompt in about half of the rounds. Some sessions start with the simulated
    mask of a neighbouring slice. Some images are also segmented without a prompt, as needed for a later distillation.

    Args:
        objects: Objects per image.
        rounds: Predictions per object; each prediction is followed by a click in its largest error region.
        union_prob: Fraction of objects that are all labels together; the others are one label or one component.
        follow_prob: Fraction of images whose sessions start with the mask of a neighbouring slice.
        free_prob: Fraction of images that are also segmented without a prompt; the target is all labels together.
        dice_weight: Weight of soft Dice in the loss; cross entropy has the remaining weight.
        train_decoder: Whether the mask decoder is trained.
        train_prompt_encoder: Whether the prompt encoder is trained.
        zoom_out: Largest field of view, as a multiple of the patch size at the task's spacing.
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

    has_unused_parameters: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Refuse invalid options."""
        super().__post_init__()
        for name in ("objects", "rounds", "zoom_out", "zoom_in"):
            self._require(name, getattr(self, name) > 0, "must be positive")
        for name in ("union_prob", "follow_prob", "free_prob", "dice_weight"):
            self._require(name, 0 <= getattr(self, name) <= 1, "must lie in [0, 1]")

    def select_parameters(self, network: nn.Module) -> None:
        """Make the adapters and, by option, the decoder and the prompt encoder trainable; freeze all other parameters.

        Raises:
            ValueError: If no parameter is trainable.
        """
        unfreeze_adapters(network, decoder=self.train_decoder, prompt_encoder=self.train_prompt_encoder)

    def augmentation(self, mirroring: Mirroring | None) -> Augmentation:
        """Return the augmentation with a wide range of zoom: patches show objects at small and large scale."""
        return dataclasses.replace(super().augmentation(mirroring), zoom=(1 / self.zoom_out, self.zoom_in))

    def step(self, network: nn.Module, batch: Batch) -> Losses:
        """Return the losses of one batch.

        Args:
            network: A `PromptedNetwork`.
            batch: ``image`` ``(B, 1 or 3, H, W)``, ``label`` ``(B, H, W)`` and, where labels do not cover all classes,
                ``covered``, bool ``(B, K)``: such a label teaches its classes one by one, and never their union.
        Returns:
            Scalars: ``loss``, and ``click`` and ``free``, the means with clicks and without a prompt.
        """
        return network(batch["image"], lambda decode: self._session_losses(decode, batch))

    def _session_losses(self, decode: Decode, batch: Batch) -> Losses:
        labels, covered = batch["label"], batch.get("covered")
        complete = [True] * len(labels) if covered is None else covered.all(1).tolist()
        rng = np.random.default_rng(int(torch.randint(2**31, ()).item()))
        losses: dict[str, list[torch.Tensor]] = {"click": [], "free": []}
        for index, label in enumerate(labels.cpu().numpy()):
            valid = label != IGNORE
            targets = sample_objects(label, self.objects, self.union_prob, rng, complete=complete[index])
            if targets:
                losses["click"] += self._session(decode, index, targets, valid, rng)
            if (rng.random() < self.free_prob and complete[index]) or not targets:
                answer, known = decode(index, Prompts()), valid & complete[index]
                losses["free"].append(self._loss(answer, [(label > 0) & known], known))
        means = {name: torch.stack(values).mean() for name, values in losses.items() if values}
        return {"loss": torch.stack([value for values in losses.values() for value in values]).mean(), **means}

    def _session(
        self, decode: Decode, index: int, targets: list[NDArray], valid: NDArray, rng: np.random.Generator
    ) -> list[torch.Tensor]:
        clicks, mask_prompt = _first_clicks(targets, rng), None
        if rng.random() < self.follow_prob:
            masks = [simulate_neighbour_mask(target, rng) for target in targets]
            clicks = [_clicks_inside(mask, rng) or first for mask, first in zip(masks, clicks, strict=True)]
            mask_prompt = mask_logits(torch.from_numpy(np.stack(masks)).float()[:, None])
        losses: list[torch.Tensor] = []
        for _ in range(self.rounds):
            points, kinds = to_point_prompts(clicks)
            prompts = Prompts(points, kinds, masks=mask_prompt)
            answer = decode(index, prompts)
            losses.append(self._loss(answer, targets, valid))
            predicted = (answer.detach()[:, 0] > 0).cpu().numpy()
            # An object whose mask is correct gets no further click, so its prompts stay the same.
            for session, mask, target in zip(clicks, predicted, targets, strict=True):
                click = next_click(_resized(mask, target), target, valid, rng)
                session += [click] if click else []
            mask_prompt = answer.detach().clamp(-32, 32) if rng.random() < 0.5 else None
        return losses

    def _loss(self, answer: torch.Tensor, targets: list[NDArray], valid: NDArray) -> torch.Tensor:
        target, known = (
            torch.from_numpy(np.stack(masks)).to(answer.device) for masks in (targets, [valid] * len(targets))
        )
        logits = answer[:, 0]
        if logits.shape[1:] != target.shape[1:]:
            logits = F.interpolate(answer, target.shape[1:], mode="bilinear", align_corners=False)[:, 0]
        return mask_loss(logits, target, known, dice_weight=self.dice_weight)


def unfreeze_adapters(network: nn.Module, *, decoder: bool = True, prompt_encoder: bool = True) -> None:
    """Make the adapters of a prompted network trainable and freeze all its other parameters.

    Args:
        network: Prompted network, changed in place.
        decoder: Whether the mask decoder is also trainable.
        prompt_encoder: Whether the prompt encoder is also trainable.
    Raises:
        ValueError: If no parameter is trainable.
    """
    for name, parameter in network.named_parameters():
        part, _, rest = name.partition(".")
        trainable = {"prompt_encoder": prompt_encoder, "mask_decoder": decoder}
        parameter.requires_grad_(trainable.get(part, ".lora_" in name) and not rest.startswith(UNUSED_PARTS))
    if not any(parameter.requires_grad for parameter in network.parameters()):
        raise ValueError(
            "no parameter is trainable: the network has no adapters (rank 0), decoder and prompt encoder are frozen; "
            "set a rank above 0, train_decoder or train_prompt_encoder"
        )


def sample_objects(
    label: NDArray, count: int, union_prob: float, rng: np.random.Generator, *, complete: bool = True
) -> list[NDArray]:
    """Sample objects of a label map at random.

    Args:
        label: Label values ``(H, W)``; 255 is ignored.
        count: Number of objects.
        union_prob: Fraction of objects that are all labels together.
        rng: Random generator.
        complete: Whether the label covers all classes. Otherwise the objects are single classes, because the extent of
            their union is not known.
    Returns:
        Masks, bool ``(H, W)``; an empty list if fewer than `MIN_OBJECT_PIXELS` pixels are labelled.
    """
    union = (label > 0) & (label != IGNORE)
    if not complete:
        masks = [label == value for value in np.unique(label[union])]
        masks = [mask for mask in masks if mask.sum() >= MIN_OBJECT_PIXELS]
        return [masks[rng.integers(len(masks))] for _ in range(count)] if masks else []
    if union.sum() < MIN_OBJECT_PIXELS:
        return []
    objects = []
    for _ in range(count):
        kind = rng.random()
        mask = union
        if kind > union_prob:
            values = np.unique(label[union])
            mask = label == rng.choice(values)
            if kind > (1 + union_prob) / 2:
                parts, parts_count = cc3d.connected_components(union, connectivity=8, return_N=True)
                mask = parts == rng.integers(1, parts_count + 1)
        objects.append(mask if mask.sum() >= MIN_OBJECT_PIXELS else union)
    return objects


def simulate_neighbour_mask(mask: NDArray, rng: np.random.Generator) -> NDArray:
    """Return a mask as on a neighbouring slice: shifted, dilated or eroded, and sometimes with a missing part."""
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


def to_point_prompts(sessions: list[list[SimulatedClick]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the clicks of all sessions as points ``(P, n, 2)`` and kinds ``(P, n)``.

    Sessions with fewer clicks are padded with points of kind `NO_POINT`.
    """
    longest = max(len(session) for session in sessions)
    points = torch.zeros(len(sessions), longest, 2)
    kinds = torch.full((len(sessions), longest), NO_POINT)
    for row, session in enumerate(sessions):
        for column, click in enumerate(session):
            points[row, column] = torch.tensor([click.row, click.column], dtype=torch.float32)
            kinds[row, column] = FOREGROUND if click.foreground else BACKGROUND
    return points, kinds


def _first_clicks(targets: list[NDArray], rng: np.random.Generator) -> list[list[SimulatedClick]]:
    empty = np.zeros_like(targets[0])
    return [[click] for target in targets if (click := next_click(empty, target, rng=rng))]


def _clicks_inside(mask: NDArray, rng: np.random.Generator) -> list[SimulatedClick]:
    return [SimulatedClick(row, column, True) for row, column in inner_points(mask, NEIGHBOUR_CLICKS, rng)]


def _resized(mask: NDArray, target: NDArray) -> NDArray:
    if mask.shape == target.shape:
        return mask
    # The grid of the predicted mask may be coarser than the grid of the image.
    return mask.repeat(target.shape[0] // mask.shape[0], 0).repeat(target.shape[1] // mask.shape[1], 1)
