"""Clicks on an image in, a mask on its very grid out; what a click needs again is kept for the next one."""

import threading
import time
from collections.abc import Callable, Hashable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lib.data.pipeline import window
from lib.jobs.watch import Watch
from lib.models.inference.engine import device_of
from lib.models.sam import PromptedNetwork
from lib.models.sam.predictor import Answer, ClickPredictor, Plane
from lib.ops.frame import Frame
from lib.tasks.click.cache import Cache
from lib.tasks.click.drawing import Drawing, Earlier
from lib.tasks.click.prefetch import Prefetch
from lib.tasks.click.request import Asked
from lib.tasks.click.volumes import Opened, Volumes
from lib.tasks.serving.follower import Follower
from lib.tasks.serving.niceness import thread_gives_way
from lib.tasks.serving.weights import ServedWeights, build_network, served_weights
from lib.tasks.spec import TaskSpec, load_app

EMBEDDING_BYTES = 512 << 20
DECODERS = 4
"""Threads; a decoder's steps are too small for many cores."""
NEIGHBOURS = (1, -1, 2, -2)
"""Slices that are embedded ahead, as seen from the one that was clicked."""


@dataclass(frozen=True, eq=False)
class Drawn:
    """What was drawn.

    Args:
        label: uint8, in the source's shape and voxel order.
        affine: The source's, ``(4, 4)``, voxel index to RAS+ mm.
        slices: Those that hold anything, rising.
        encode_seconds: Spent on embeddings, waiting for another request's among them.
        decode_seconds: Spent on the rest.
        encoded: Slices that had to be embedded for this request; 0 where all were at hand.
        version: The version of the weights that answered.
    """

    label: NDArray[np.uint8]
    affine: NDArray[np.float64]
    slices: tuple[int, ...]
    encode_seconds: float
    decode_seconds: float
    encoded: int
    version: str


@dataclass
class _Meter(threading.local):
    """What the request of this thread took so far."""

    seconds: float = 0.0
    encoded: int = 0
    frames: dict[Frame, None] = field(default_factory=dict)

    def reset(self) -> None:
        self.seconds, self.encoded, self.frames = 0.0, 0, {}


class Clicker:
    """Answer clicks with whatever version of a task's weights is served at that moment.

    Threads share it, and what one of them had embedded serves all. A mask depends on its request alone.

    Args:
        task: A task of kind "click".
        weights: Asked before every answer for the version to serve.
        device: Where the network runs; None takes a GPU if there is one.
        watch: Told of every image that a version answered or failed on.
        embedding_bytes: What kept embeddings may take.
        ahead: Whether neighbouring slices are embedded while nobody waits.
    """

    def __init__(
        self,
        task: TaskSpec,
        weights: Callable[[], ServedWeights],
        *,
        device: str | torch.device | None = None,
        watch: Watch | None = None,
        embedding_bytes: int = EMBEDDING_BYTES,
        ahead: bool = True,
    ) -> None:
        self.task, self.volumes = task, Volumes()
        self.embeddings: Cache[Tensor] = Cache(embedding_bytes, lambda tensor: tensor.nbytes)
        self._watch = watch or Watch(lambda version, reason: None)
        self._device = device_of(device)
        self._ahead, self._prefetch = ahead, Prefetch()
        # Few threads compute for the many that wait, since each keeps the room that it computed in. An encoder takes
        # every core, so one at a time.
        self._encoder = ThreadPoolExecutor(1, "encode", initializer=thread_gives_way)
        self._decoders = ThreadPoolExecutor(DECODERS, "decode", initializer=thread_gives_way)
        self._meter = _Meter()
        self._follower = Follower(weights, self._load, self._watch, self._forget)

    @classmethod
    def from_task(
        cls,
        app_dir: str | Path,
        task: TaskSpec | str,
        *,
        device: str | torch.device | None = None,
        watch: Watch | None = None,
        embedding_bytes: int = EMBEDDING_BYTES,
        ahead: bool = True,
    ) -> "Clicker":
        """Return a clicker that follows the champion of a task.

        Args:
            app_dir: The app's folder.
            task: One of its tasks, or its name.
            device: Where the network runs; None takes a GPU if there is one.
            watch: Told of every image that a version answered or failed on.
            embedding_bytes: What kept embeddings may take.
            ahead: Whether neighbouring slices are embedded while nobody waits.
        """
        spec = load_app(app_dir).task(task) if isinstance(task, str) else task
        weights = partial(served_weights, app_dir, spec)
        return cls(spec, weights, device=device, watch=watch, embedding_bytes=embedding_bytes, ahead=ahead)

    def prepare(self) -> None:
        """Begin to load what is served, for the first click; see `Follower.prepare`."""
        self._follower.prepare()

    def release(self, idle_seconds: float = 0.0) -> bool:
        """Let go of the network and of what it made if nobody asked for so long; see `Follower.release`."""
        return self._follower.release(idle_seconds)

    def open(self, path: str | Path) -> Opened:
        """Return an image that may be clicked on.

        Raises:
            InputRejected: If the gate refuses it.
        """
        return self.volumes.open(path)

    def draw(self, opened: Opened, asked: Asked, values: Mapping[str, int], earlier: Earlier | None = None) -> Drawn:
        """Return the mask of a request.

        Args:
            opened: The image.
            asked: What was marked on it.
            values: The value of each label.
            earlier: Masks to mend, by label and slice; slices without a click stay as they are.
        Raises:
            NoWeights: If nothing serves the task.
        """
        served, predictor = self._follower.current(opened.digest)
        start = time.perf_counter()
        self._meter.reset()
        plane = partial(self._plane, opened, served.name)
        with self._prefetch.first(), self._watch.over(served.name, opened.digest):
            masks = Drawing(predictor, opened, plane, asked, earlier or {}).draw(values)
            label = opened.stack.to_source(masks)
        self._follower.used()
        if self._ahead and asked.slice_index is not None:
            self._prefetch.want(self._steps(opened, predictor, plane, asked.slice_index))
        encode = self._meter.seconds
        return Drawn(
            label=label,
            affine=opened.volume.affine,
            slices=tuple(sorted(index for index, mask in masks.items() if mask.any())),
            encode_seconds=encode,
            decode_seconds=time.perf_counter() - start - encode,
            encoded=self._meter.encoded,
            version=served.name,
        )

    def _plane(self, opened: Opened, version: str, index: int) -> Plane:
        image = window(opened.stack.plane(index), self.task.image.window_hu)
        key = opened.digest, index, self.task.image.window_hu, version
        return Plane(image, opened.stack.spacing_mm, key)

    def _steps(
        self, opened: Opened, predictor: ClickPredictor, plane: Callable[[int], Plane], index: int
    ) -> Iterator[Callable[[], object]]:
        """Yield what the next click on a neighbour will want: the same frames there."""
        for neighbour in (index + away for away in NEIGHBOURS):
            if 0 <= neighbour < len(opened.stack):
                for frame in self._meter.frames:
                    yield lambda at=neighbour, where=frame: predictor.embedding(plane(at), where)

    def _keep(self, key: Hashable, make: Callable[[], Tensor]) -> Tensor:
        """Keep what a predictor makes, and tell its embeddings, which are made one at a time, from its first looks."""
        frame = key[-1] if isinstance(key, tuple) else None
        if not isinstance(frame, Frame):
            return self.embeddings.keep(key, make)

        def encode() -> Tensor:
            self._meter.encoded += 1
            return self._encoder.submit(make).result()

        start = time.perf_counter()
        embedding = self.embeddings.keep(key, encode)
        self._meter.seconds += time.perf_counter() - start
        self._meter.frames[frame] = None
        return embedding

    def _decode(self, work: Callable[[], Answer]) -> Answer:
        return self._decoders.submit(work).result()

    def _load(self, served: ServedWeights) -> ClickPredictor:
        network = build_network(self.task, served.path)
        assert isinstance(network, PromptedNetwork), "a click task's networks are"
        return ClickPredictor(network, device=self._device, keep=self._keep, run=self._decode)

    def _forget(self) -> None:
        self._prefetch.want()
        self.embeddings.drop()
