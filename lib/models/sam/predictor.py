"""Clicks on a slice in, its mask out: where to look, what to ask the network, and the way back to the slice."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lib.models.sam.lora import merged
from lib.models.sam.network import BACKGROUND, FOREGROUND, PromptedNetwork, Prompts
from lib.ops.frame import Box, Frame

OUTSIDE = -32.0
"""The logit where a window does not reach."""


@dataclass(frozen=True, eq=False)
class Plane:
    """A slice.

    Args:
        image: ``(H, W)``, in [0, 1].
        spacing_mm: Of its rows and columns.
        key: What tells it from every other slice, for whoever keeps embeddings.
    """

    image: Tensor
    spacing_mm: tuple[float, float]
    key: Hashable = None


@dataclass(frozen=True)
class Clicks:
    """What a person marked on a slice, in pixel indices, row before column.

    Args:
        foreground: On the object.
        background: Beside it.
        box: First row and column, last row and column, of a box around it.
    """

    foreground: tuple[tuple[float, float], ...] = ()
    background: tuple[tuple[float, float], ...] = ()
    box: Box | None = None


@dataclass(frozen=True, eq=False)
class Answer:
    """A mask.

    Args:
        logits: ``(H, W)``, of the slice; above 0 is the object.
        frame: Where the network looked.
        window: Its own logits there, ``(n, n)``.
    """

    logits: Tensor
    frame: Frame
    window: Tensor

    @property
    def mask(self) -> Tensor:
        """``(H, W)``, bool."""
        return self.logits > 0


Keep = Callable[[Hashable, Callable[[], Tensor]], Tensor]
"""Return what is kept under a key, or make it."""


def keep_nothing(key: Hashable, make: Callable[[], Tensor]) -> Tensor:
    """Make anew each time."""
    return make()


Run = Callable[[Callable[[], "Answer"]], "Answer"]
"""Do a piece of work and return what comes of it."""


def at_once(work: Callable[[], Answer]) -> Answer:
    """Do it here."""
    return work()


class ClickPredictor:
    """Answer clicks; the same clicks get the same mask, whoever asks and whatever was asked before.

    Framing decides whether the network sees an object, so it looks twice: at a wide frame around the first click, then
    at one around what it found there. The second depends on the first click and on what later clicks lie outside it, so
    it stays while a person mends, and so does its embedding.

    Args:
        network: Its adapters are merged in a copy.
        device: Where it runs.
        keep: Keeps embeddings, by ``(plane.key, frame)``, and first looks.
        run: Decodes; whoever has many threads may want few of them to.
        first_mm: Side of the first frame.
        margin: How many times the found object's box the second frame shows.
    """

    def __init__(
        self,
        network: PromptedNetwork,
        *,
        device: str | torch.device = "cpu",
        keep: Keep = keep_nothing,
        run: Run = at_once,
        first_mm: float = 128.0,
        margin: float = 1.3,
    ) -> None:
        self.device, self.first_mm, self.margin = torch.device(device), first_mm, margin
        self.keep, self.run = keep, run
        copy = merged(network).eval().requires_grad_(False).to(self.device)
        assert isinstance(copy, PromptedNetwork), "a copy is what it was copied from"
        self.network, self.samples = copy, copy.image_size[0]
        with torch.inference_mode():
            place = self.network.prompt_encoder.get_dense_pe()
            self._image_pe = place.contiguous(memory_format=torch.channels_last)

    def answer(self, plane: Plane, clicks: Clicks, earlier: Tensor | None = None) -> Answer:
        """Return the mask of clicks or a box.

        Args:
            plane: The slice.
            clicks: At least one on the object, or a box.
            earlier: A mask to mend, ``(H, W)`` bool; an empty one is none.
        Raises:
            ValueError: If nothing marks the object.
        """
        earlier = earlier if earlier is not None and earlier.any() else None
        if not clicks.foreground and clicks.box is None and earlier is None:
            raise ValueError("nothing marks the object: it takes a click on it, a box or a mask")
        frame = self.frame(plane, clicks, earlier)
        return self.look(plane, frame, clicks, earlier)

    def frame(self, plane: Plane, clicks: Clicks, earlier: Tensor | None = None) -> Frame:
        """Return where to look."""
        marked = [*clicks.foreground, *clicks.background]
        if earlier is not None:
            found = _box_of(earlier, plane)
        elif clicks.box is not None:
            found = _in_mm(((clicks.box[0], clicks.box[1]), (clicks.box[2], clicks.box[3])), plane)
        else:
            found = self._found(plane, clicks.foreground[0])
        frame = Frame.around(found, self.margin)
        outside = _union(found, _in_mm(marked, plane)) if marked else found
        return frame if frame.holds(outside) else Frame.around(outside, self.margin)

    def look(self, plane: Plane, frame: Frame, clicks: Clicks, earlier: Tensor | None = None) -> Answer:
        """Return the mask of what lies in a frame."""
        given = None if earlier is None else self._as_logits(earlier, frame, plane)
        return self._decoded(plane, frame, clicks, given)

    def follow(self, plane: Plane, before: Answer, clicks: Clicks) -> Answer:
        """Return the object on the slice beside one where it is known.

        Args:
            plane: The next slice, of the same size and spacing.
            before: What was found on the one before.
            clicks: Where the object is expected, from the mask before.
        Raises:
            ValueError: If nothing was found there.
        """
        if not before.mask.any():
            raise ValueError("there is nothing to follow: the mask before is empty")
        found = _box_of(before.mask, plane)
        frame = before.frame if before.frame.holds(found) else Frame.around(found, self.margin)
        given = before.window if frame == before.frame else self._as_logits(before.mask, frame, plane)
        return self._decoded(plane, frame, clicks, given)

    def embedding(self, plane: Plane, frame: Frame) -> Tensor:
        """Return the embedding of what a frame shows, ``(1, C, h, w)``, on the device."""

        # `keep` may have another thread make it, and the mode is a thread's own.
        @torch.inference_mode()
        def make() -> Tensor:
            image = frame.cut(plane.image, plane.spacing_mm, self.samples)
            return self.network.encode(image[None, None].to(self.device))

        return self.keep((plane.key, frame), make)

    def _found(self, plane: Plane, point: tuple[float, float]) -> Box:
        """Return the box, in mm, of what one click finds in a wide frame."""

        def make() -> Tensor:
            here = _in_mm((point,), plane)
            frame = Frame.around(here, least_mm=self.first_mm)
            mask = self._decoded(plane, frame, Clicks((point,)), None).mask
            return torch.tensor(_union(_box_of(mask, plane), here) if mask.any() else here, dtype=torch.float64)

        top, left, bottom, right = self.keep((plane.key, "found", point), make).tolist()
        return top, left, bottom, right

    def _decoded(self, plane: Plane, frame: Frame, clicks: Clicks, given: Tensor | None) -> Answer:
        embedding = self.embedding(plane, frame)

        @torch.inference_mode()
        def decode() -> Answer:
            prompts = self._prompts(plane, frame, clicks)
            if given is not None:
                prompts = replace(prompts, masks=given[None, None])
            window = self.network.decode(embedding, prompts, self._image_pe)[0, 0].float().cpu()
            logits = frame.restore(window, plane.image.shape, plane.spacing_mm, OUTSIDE)
            return Answer(logits, frame, window)

        return self.run(decode)

    def _prompts(self, plane: Plane, frame: Frame, clicks: Clicks) -> Prompts:
        marked = [(*point, FOREGROUND) for point in clicks.foreground]
        marked += [(*point, BACKGROUND) for point in clicks.background]
        where = torch.tensor([point[:2] for point in marked], dtype=torch.float64).view(-1, 2)
        points = frame.samples(where, plane.spacing_mm, self.samples)[None]
        kinds = torch.tensor([point[2] for point in marked], dtype=torch.long)[None]
        boxes = None
        if clicks.box is not None:
            corners = torch.tensor(clicks.box, dtype=torch.float64).view(2, 2)
            boxes = frame.samples(corners, plane.spacing_mm, self.samples).view(1, 4)
        return Prompts(points if marked else None, kinds if marked else None, boxes)

    def _as_logits(self, mask: Tensor, frame: Frame, plane: Plane) -> Tensor:
        side = self.network.prompt_encoder.mask_input_size[0]
        return mask_logits(frame.cut(mask.float(), plane.spacing_mm, side))


def mask_logits(share: Tensor) -> Tensor:
    """Return a mask's shares in [0, 1] as logits of the size that the network gives, for the next question's prompt."""
    return (share - 0.5) * 16


def _in_mm(points: tuple[tuple[float, float], ...] | list[tuple[float, float]], plane: Plane) -> Box:
    rows, columns = ([point[axis] * plane.spacing_mm[axis] for point in points] for axis in (0, 1))
    return min(rows), min(columns), max(rows), max(columns)


def _box_of(mask: Tensor, plane: Plane) -> Box:
    rows, columns = mask.any(1).nonzero().flatten().tolist(), mask.any(0).nonzero().flatten().tolist()
    return _in_mm([(rows[0], columns[0]), (rows[-1], columns[-1])], plane)


def _union(one: Box, other: Box) -> Box:
    return min(one[0], other[0]), min(one[1], other[1]), max(one[2], other[2]), max(one[3], other[3])
