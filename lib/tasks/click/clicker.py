"""Turn clicks on an image into a mask on the grid of the image; cache embeddings for the next click."""

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

from lib.data.intensity import apply_scales
from lib.jobs.failure_watch import Watch
from lib.models.inference.engine import select_device
from lib.models.sam import PromptedNetwork
from lib.models.sam.predictor import Answer, ClickPredictor, Plane
from lib.ops.frame import Frame
from lib.tasks.click.cache import Cache
from lib.tasks.click.drawing import Drawing, EarlierMasks
from lib.tasks.click.image_cache import ImageCache, OpenedImage
from lib.tasks.click.prefetch import Prefetch
from lib.tasks.click.request import ClickRequest
from lib.tasks.serving.follower import Follower
from lib.tasks.serving.priority import lower_thread_priority
from lib.tasks.serving.weights import ServedWeights, build_network, served_weights
from lib.tasks.spec import TaskSpec, load_app

EMBEDDING_BYTES = 512 << 20
DECODERS = 4
"""Decoder threads; one decoder step is too small to use many cores."""
NEIGHBOURS = (1, -1, 2, -2)
"""Offsets, from the clicked slice, of the slices that are embedded in the background."""


@dataclass(frozen=True, eq=False)
class DrawnMask:
    """The mask of one request.

    Args:
        label: uint8, in the source's shape and voxel order.
        affine: Affine of the source, ``(4, 4)``, voxel index to RAS+ mm.
        slices: Indices of the slices with at least one labelled voxel, ascending.
        encode_seconds: Time for embeddings, including the time to wait for an embedding of another request.
        decode_seconds: Time for everything else.
        encoded: Number of embeddings computed for this request; 0 if all were cached.
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
    """Time and embeddings that the current request of this thread has used so far."""

    seconds: float = 0.0
    encoded: int = 0
    frames: dict[Frame, None] = field(default_factory=dict)

    def reset(self) -> None:
        self.seconds, self.encoded, self.frames = 0.0, 0, {}


class Clicker:
    """Answer clicks with the version of a task's weights that is served when the request arrives.

    The object is thread-safe, and all threads share its embeddings. A mask depends on its request only.

    Args:
        task: Task of kind "click".
        weights: Returns the version to serve; called before every answer.
        device: Device of the network; None selects a GPU if there is one.
        watch: Receives every image that a version answered or failed on.
        embedding_bytes: Size limit of the embedding cache, in bytes.
        prefetch: Whether neighbouring slices are embedded while no request is being answered.
    """

    def __init__(
        self,
        task: TaskSpec,
        weights: Callable[[], ServedWeights],
        *,
        device: str | torch.device | None = None,
        watch: Watch | None = None,
        embedding_bytes: int = EMBEDDING_BYTES,
        prefetch: bool = True,
    ) -> None:
        self.task, self.volumes = task, ImageCache(task.image)
        self.embeddings: Cache[Tensor] = Cache(embedding_bytes, lambda tensor: tensor.nbytes)
        self._watch = watch or Watch(lambda version, reason: None)
        self._device = select_device(device)
        self._prefetches, self._prefetch = prefetch, Prefetch()
        # Few threads compute, because every thread keeps the memory that it computed in. One encoder pass uses all
        # cores, so only one runs at a time.
        self._encoder = ThreadPoolExecutor(1, "encode", initializer=lower_thread_priority)
        self._decoders = ThreadPoolExecutor(DECODERS, "decode", initializer=lower_thread_priority)
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
        prefetch: bool = True,
    ) -> "Clicker":
        """Return a clicker that follows the champion of a task.

        Args:
            app_dir: Folder of the app.
            task: Task of the app, or its name.
            device: Device of the network; None selects a GPU if there is one.
            watch: Receives every image that a version answered or failed on.
            embedding_bytes: Size limit of the embedding cache, in bytes.
            prefetch: Whether neighbouring slices are embedded while no request is being answered.
        """
        spec = load_app(app_dir).task(task) if isinstance(task, str) else task
        weights = partial(served_weights, app_dir, spec)
        return cls(spec, weights, device=device, watch=watch, embedding_bytes=embedding_bytes, prefetch=prefetch)

    def prepare(self) -> None:
        """Start to load the served version, so that it is ready for the first click; see `Follower.prepare`."""
        self._follower.prepare()

    def release(self, idle_seconds: float = 0.0) -> bool:
        """Release the network and its embeddings if no request came for `idle_seconds`; see `Follower.release`."""
        return self._follower.release(idle_seconds)

    def open(self, path: str | Path) -> OpenedImage:
        """Return an image that passed the input gate.

        Raises:
            InputRejected: If the input gate rejects the image.
        """
        return self.volumes.open(path)

    def draw(
        self, opened: OpenedImage, request: ClickRequest, values: Mapping[str, int], earlier: EarlierMasks | None = None
    ) -> DrawnMask:
        """Return the mask of a request.

        Args:
            opened: The image.
            request: The clicks and boxes on it.
            values: Label value by label name.
            earlier: Masks to correct, by label and slice; slices without a click stay as they are.
        Raises:
            NoWeights: If no version of the task can be served.
        """
        served, predictor = self._follower.current(opened.digest)
        start = time.perf_counter()
        self._meter.reset()
        plane = partial(self._plane, opened, served.name)
        with self._prefetch.paused(), self._watch.observe(served.name, opened.digest):
            masks = Drawing(predictor, opened, plane, request, earlier or {}).draw(values)
            label = opened.stack.to_source(masks)
        self._follower.mark_used()
        if self._prefetches and request.slice_index is not None:
            self._prefetch.schedule(self._prefetch_steps(opened, predictor, plane, request.slice_index))
        encode = self._meter.seconds
        return DrawnMask(
            label=label,
            affine=opened.volume.affine,
            slices=tuple(sorted(index for index, mask in masks.items() if mask.any())),
            encode_seconds=encode,
            decode_seconds=time.perf_counter() - start - encode,
            encoded=self._meter.encoded,
            version=served.name,
        )

    def _plane(self, opened: OpenedImage, version: str, index: int) -> Plane:
        key = opened.digest, index, opened.scales, version
        image = apply_scales(opened.stack.plane(index), opened.scales)
        return Plane(image, opened.stack.spacing_mm, key)

    def _prefetch_steps(
        self, opened: OpenedImage, predictor: ClickPredictor, plane: Callable[[int], Plane], index: int
    ) -> Iterator[Callable[[], object]]:
        """Yield the steps that embed the frames of this request on the neighbouring slices."""
        for neighbour in (index + offset for offset in NEIGHBOURS):
            if 0 <= neighbour < len(opened.stack):
                for frame in self._meter.frames:
                    yield lambda at=neighbour, where=frame: predictor.embedding(plane(at), where)

    def _cached(self, key: Hashable, make: Callable[[], Tensor]) -> Tensor:
        """Return a cached tensor of the predictor; embeddings are computed in the encoder thread and are timed."""
        frame = key[-1] if isinstance(key, tuple) else None
        if not isinstance(frame, Frame):
            return self.embeddings.get_or_make(key, make)

        def encode() -> Tensor:
            self._meter.encoded += 1
            return self._encoder.submit(make).result()

        start = time.perf_counter()
        embedding = self.embeddings.get_or_make(key, encode)
        self._meter.seconds += time.perf_counter() - start
        self._meter.frames[frame] = None
        return embedding

    def _decode(self, work: Callable[[], Answer]) -> Answer:
        return self._decoders.submit(work).result()

    def _load(self, served: ServedWeights) -> ClickPredictor:
        network = build_network(self.task, served.path)
        assert isinstance(network, PromptedNetwork), "a click task has a prompted network"
        return ClickPredictor(
            network,
            device=self._device,
            cache=self._cached,
            run=self._decode,
            first_side_mm=self.task.image.patch_side_mm,
        )

    def _forget(self) -> None:
        self._prefetch.schedule()
        self.embeddings.clear()
