"""Segment a slice from clicks: choose a frame, prompt the network, and resample its mask to the slice."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lib.models.sam.lora import merge_adapters
from lib.models.sam.network import BACKGROUND, FOREGROUND, PromptedNetwork, Prompts
from lib.ops.frame import Box, Frame

OUTSIDE_LOGIT = -32.0
"""Logit of the pixels outside the frame."""


@dataclass(frozen=True, eq=False)
class Plane:
    """A slice.

    Args:
        image: ``(C, H, W)``, as the network takes it: one channel, or three of a colour image.
        spacing_mm: Spacing of the rows and of the columns, in mm.
        key: Unique key of the slice, for a cache of embeddings.
    """

    image: Tensor
    spacing_mm: tuple[float, float]
    key: Hashable = None


@dataclass(frozen=True)
class Clicks:
    """Prompts of an annotator on a slice, as pixel indices with row before column.

    Args:
        foreground: Clicks on the object, as (row, column).
        background: Clicks outside the object, as (row, column).
        box: Box around the object: first row, first column, last row, last column.
    """

    foreground: tuple[tuple[float, float], ...] = ()
    background: tuple[tuple[float, float], ...] = ()
    box: Box | None = None


@dataclass(frozen=True, eq=False)
class Answer:
    """Predicted mask of an object on a slice.

    Args:
        logits: Logits of the slice, ``(H, W)``; the object has logits above 0.
        frame: Frame that the network was applied to.
        window: Logits of the network in the frame, ``(n, n)``.
    """

    logits: Tensor
    frame: Frame
    window: Tensor

    @property
    def mask(self) -> Tensor:
        """The mask of the object on the slice, bool ``(H, W)``."""
        return self.logits > 0


Cache = Callable[[Hashable, Callable[[], Tensor]], Tensor]
"""Return the cached tensor of a key, or compute it with the given function and cache it."""


def no_cache(key: Hashable, make: Callable[[], Tensor]) -> Tensor:
    """Compute the tensor in every call, without a cache."""
    return make()


Run = Callable[[Callable[[], "Answer"]], "Answer"]
"""Run a function, for example in a thread pool, and return its result."""


def run_here(work: Callable[[], Answer]) -> Answer:
    """Run a function in the calling thread."""
    return work()


class ClickPredictor:
    """Segment objects from clicks. The mask depends on the slice and its clicks only, not on earlier requests.

    The network recognises an object only in a frame of suitable size, so prediction has two steps: a wide frame around
    the first click, then a frame around the object found there. The second frame changes only if a later click lies
    outside it. So it usually stays the same while an annotator corrects the mask, and its embedding can be reused.

    Args:
        network: The network; its adapters are merged in a copy.
        device: Device of the network.
        cache: Cache of embeddings, by ``(plane.key, frame)``, and of the boxes found in the first step.
        run: Runs the decoding, for example in a pool of few threads.
        first_side_mm: Side of the frame of the first step, in mm; as a patch that the network was trained on shows.
        margin: Ratio of the side of the second frame to the longer side of the box of the object.
    """

    def __init__(
        self,
        network: PromptedNetwork,
        *,
        device: str | torch.device = "cpu",
        cache: Cache = no_cache,
        run: Run = run_here,
        first_side_mm: float = 128.0,
        margin: float = 1.3,
    ) -> None:
        self.device, self.first_side_mm, self.margin = torch.device(device), first_side_mm, margin
        self.cache, self.run = cache, run
        copy = merge_adapters(network).eval().requires_grad_(False).to(self.device)
        assert isinstance(copy, PromptedNetwork), "merge_adapters returns a copy of the same type"
        self.network, self.samples = copy, copy.image_size[0]
        with torch.inference_mode():
            image_pe = self.network.prompt_encoder.get_dense_pe()
            self._image_pe = image_pe.contiguous(memory_format=torch.channels_last)

    def predict(self, plane: Plane, clicks: Clicks, previous_mask: Tensor | None = None) -> Answer:
        """Return the mask of the object that clicks, a box or a previous mask mark.

        Args:
            plane: The slice.
            clicks: Clicks or a box on the slice.
            previous_mask: A mask to correct, bool ``(H, W)``; an empty mask counts as None.
        Raises:
            ValueError: If there is neither a foreground click nor a box nor a previous mask.
        """
        previous_mask = previous_mask if previous_mask is not None and previous_mask.any() else None
        if not clicks.foreground and clicks.box is None and previous_mask is None:
            raise ValueError("nothing marks the object: add a foreground click, a box or a mask")
        frame = self.frame(plane, clicks, previous_mask)
        return self.predict_in_frame(plane, frame, clicks, previous_mask)

    def frame(self, plane: Plane, clicks: Clicks, previous_mask: Tensor | None = None) -> Frame:
        """Return the frame of the second step; arguments as in `predict`."""
        points = [*clicks.foreground, *clicks.background]
        if previous_mask is not None:
            box = _box_of(previous_mask, plane)
        elif clicks.box is not None:
            box = _in_mm(((clicks.box[0], clicks.box[1]), (clicks.box[2], clicks.box[3])), plane)
        else:
            box = self._first_box(plane, clicks.foreground[0])
        frame = Frame.enclosing(box, self.margin)
        box_with_points = _union(box, _in_mm(points, plane)) if points else box
        return frame if frame.contains(box_with_points) else Frame.enclosing(box_with_points, self.margin)

    def predict_in_frame(
        self, plane: Plane, frame: Frame, clicks: Clicks, previous_mask: Tensor | None = None
    ) -> Answer:
        """Return the mask of the object in a given frame; other arguments as in `predict`."""
        mask_prompt = None if previous_mask is None else self._mask_prompt(previous_mask, frame, plane)
        return self._decode(plane, frame, clicks, mask_prompt)

    def propagate(self, plane: Plane, before: Answer, clicks: Clicks) -> Answer:
        """Return the mask of an object on a slice from its mask on the neighbouring slice.

        Args:
            plane: The slice, with the size and spacing of the neighbouring slice.
            before: Mask of the object on the neighbouring slice.
            clicks: Clicks at the expected position of the object, derived from `before`.
        Raises:
            ValueError: If the mask on the neighbouring slice is empty.
        """
        if not before.mask.any():
            raise ValueError("there is nothing to follow: the mask of the neighbouring slice is empty")
        box = _box_of(before.mask, plane)
        frame = before.frame if before.frame.contains(box) else Frame.enclosing(box, self.margin)
        mask_prompt = before.window if frame == before.frame else self._mask_prompt(before.mask, frame, plane)
        return self._decode(plane, frame, clicks, mask_prompt)

    def embedding(self, plane: Plane, frame: Frame) -> Tensor:
        """Return the embedding of the image in a frame, ``(1, C, h, w)``, on the device of the network."""

        # The cache may call this function in another thread, and inference mode belongs to a thread.
        @torch.inference_mode()
        def make() -> Tensor:
            image = frame.resample(plane.image, plane.spacing_mm, self.samples)
            return self.network.encode(image[None].to(self.device))

        return self.cache((plane.key, frame), make)

    def _first_box(self, plane: Plane, point: tuple[float, float]) -> Box:
        """Return the box, in mm, of the object that one click marks in a wide frame."""

        def make() -> Tensor:
            point_box = _in_mm((point,), plane)
            frame = Frame.enclosing(point_box, min_side_mm=self.first_side_mm)
            mask = self._decode(plane, frame, Clicks((point,)), None).mask
            box = _union(_box_of(mask, plane), point_box) if mask.any() else point_box
            return torch.tensor(box, dtype=torch.float64)

        top, left, bottom, right = self.cache((plane.key, "found", point), make).tolist()
        return top, left, bottom, right

    def _decode(self, plane: Plane, frame: Frame, clicks: Clicks, mask_prompt: Tensor | None) -> Answer:
        embedding = self.embedding(plane, frame)

        @torch.inference_mode()
        def decode() -> Answer:
            prompts = self._prompts(plane, frame, clicks)
            if mask_prompt is not None:
                prompts = replace(prompts, masks=mask_prompt[None, None])
            window = self.network.decode(embedding, prompts, self._image_pe)[0, 0].float().cpu()
            logits = frame.paste(window, plane.image.shape[1:], plane.spacing_mm, OUTSIDE_LOGIT)
            return Answer(logits, frame, window)

        return self.run(decode)

    def _prompts(self, plane: Plane, frame: Frame, clicks: Clicks) -> Prompts:
        marks = [(*point, FOREGROUND) for point in clicks.foreground]
        marks += [(*point, BACKGROUND) for point in clicks.background]
        pixels = torch.tensor([mark[:2] for mark in marks], dtype=torch.float64).view(-1, 2)
        points = frame.to_samples(pixels, plane.spacing_mm, self.samples)[None]
        labels = torch.tensor([mark[2] for mark in marks], dtype=torch.long)[None]
        boxes = None
        if clicks.box is not None:
            corners = torch.tensor(clicks.box, dtype=torch.float64).view(2, 2)
            boxes = frame.to_samples(corners, plane.spacing_mm, self.samples).view(1, 4)
        return Prompts(points if marks else None, labels if marks else None, boxes)

    def _mask_prompt(self, mask: Tensor, frame: Frame, plane: Plane) -> Tensor:
        """Return a mask of the slice as logits in the frame, at the resolution of a mask prompt."""
        side = self.network.prompt_encoder.mask_input_size[0]
        return mask_logits(frame.resample(mask.float(), plane.spacing_mm, side))


def mask_logits(coverage: Tensor) -> Tensor:
    """Convert the coverage of a mask, ``(*)`` in [0, 1], into logits for a mask prompt, as large as the network's."""
    return (coverage - 0.5) * 16


def _in_mm(points: tuple[tuple[float, float], ...] | list[tuple[float, float]], plane: Plane) -> Box:
    rows, columns = ([point[axis] * plane.spacing_mm[axis] for point in points] for axis in (0, 1))
    return min(rows), min(columns), max(rows), max(columns)


def _box_of(mask: Tensor, plane: Plane) -> Box:
    """Return the box around a mask ``(H, W)`` of a slice, in mm."""
    rows, columns = mask.any(1).nonzero().flatten().tolist(), mask.any(0).nonzero().flatten().tolist()
    return _in_mm([(rows[0], columns[0]), (rows[-1], columns[-1])], plane)


def _union(one: Box, other: Box) -> Box:
    return min(one[0], other[0]), min(one[1], other[1]), max(one[2], other[2]), max(one[3], other[3])
