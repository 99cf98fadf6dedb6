"""One image in, its labels on the very same grid out; the same for the server, the command line and the tests."""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from lib.data.pipeline import Reading, read, window
from lib.data.validate import check
from lib.jobs.watch import Watch, check_finite
from lib.models.inference.engine import device_of
from lib.models.inference.predictor import Predictor
from lib.tasks.serving.follower import Follower
from lib.tasks.serving.teacher import moved_on
from lib.tasks.serving.weights import ServedWeights, build_network, served_weights
from lib.tasks.spec import SEGMENTATION, TaskSpec, load_app, require_kind

Progress = Callable[[int, int], None]
Item = TypeVar("Item")


@dataclass(frozen=True, eq=False)
class Segmentation:
    """Labels of one image.

    Args:
        label: uint8, in the source's shape and voxel order.
        affine: The source's, ``(4, 4)``, voxel index to RAS+ mm.
        seconds: Time per stage: check, read, infer, restore.
        version: The version of the weights that answered.
        labels: The value of each class, by name.
        reading: The image as the network saw it.
        notes: What had to be done otherwise than asked, such as fewer windows at once where memory ran out.
    """

    label: NDArray[np.uint8]
    affine: NDArray[np.float64]
    seconds: dict[str, float]
    version: str
    labels: dict[str, int]
    reading: Reading
    notes: tuple[str, ...] = ()


class Segmenter:
    """Segment images with whatever version of a task's weights is served at that moment.

    Threads may share it. An answer comes from one version as a whole; see `lib.tasks.serving.follower`.

    Args:
        task: The task.
        weights: Asked before every image for the version to serve.
        device: Where the network runs; None takes a GPU if there is one.
        watch: Told of every image that a version answered or failed on.
        student: Answers where the network finds no memory.
        remark: What there is to tell of a version that answered; empty for nothing.
    """

    def __init__(
        self,
        task: TaskSpec,
        weights: Callable[[], ServedWeights],
        *,
        device: str | torch.device | None = None,
        watch: Watch | None = None,
        student: "Segmenter | None" = None,
        remark: Callable[[ServedWeights], str] = lambda served: "",
    ) -> None:
        self.task, self.student, self._remark = task, student, remark
        self._watch = watch or Watch(lambda version, reason: None)
        self._device = device_of(device)
        self._follower = Follower(weights, self._load, self._watch)

    @classmethod
    def from_task(
        cls,
        app_dir: str | Path,
        task: TaskSpec | str,
        *,
        device: str | torch.device | None = None,
        watch: Watch | None = None,
    ) -> "Segmenter":
        """Return a segmenter that follows the champion of a task.

        Args:
            app_dir: The app's folder.
            task: One of its tasks, or its name.
            device: Where the network runs; None takes a GPU if there is one.
            watch: Told of every image that a version answered or failed on.
        Raises:
            SpecError: If the task does not segment.
        """
        app = load_app(app_dir)
        task = app.task(task) if isinstance(task, str) else task
        require_kind(task, SEGMENTATION, "segment an image")
        student = None if task.student is None else cls.from_task(app_dir, task.student, device=device)

        def remark(served: ServedWeights) -> str:
            why = moved_on(app_dir, app, task, served.card)
            return f"its teacher moved on: {why}" if why else ""

        return cls(
            task, lambda: served_weights(app_dir, task), device=device, watch=watch, student=student, remark=remark
        )

    def segment(self, path: str | Path, progress: Progress | None = None) -> Segmentation:
        """Return the labels of an image.

        Args:
            path: A file in any format the gate accepts, or a folder of one DICOM series.
            progress: Called with (slices done, slices in all).
        Raises:
            InputRejected: If the gate refuses the image.
            NoWeights: If nothing serves the task.
            torch.OutOfMemoryError: If not even one window fits and there is no student.
        """
        clock, notes = _Clock(), []
        source = check(path)
        clock.lap("check")
        reading = read(source, self.task.image)
        volume = window(reading.hu, self.task.image.window_hu)
        clock.lap("read")
        served, predictor = self._follower.current(str(path))
        try:
            with self._watch.over(served.name, str(path)):
                slabs = ((start, check_finite(slab)) for start, slab in predictor.slabs(volume, progress, notes))
                label = reading.restore(clock.laps("infer", "restore", slabs))
        except torch.OutOfMemoryError:
            if self.student is None:
                raise
            label = None
        if label is None:
            return self._by_student(path, progress, notes)
        clock.lap("restore")
        self._follower.used()
        notes += filter(None, [self._remark(served)])
        return Segmentation(
            label=label,
            affine=reading.source_affine,
            seconds=clock.seconds,
            version=served.name,
            labels=self.task.label_values,
            reading=reading,
            notes=tuple(notes),
        )

    def release(self, idle_seconds: float = 0.0) -> bool:
        """Let go of the network, and of the student's, if nobody asked for so long; see `Follower.release`."""
        student = self.student is not None and self.student.release(idle_seconds)
        return self._follower.release(idle_seconds) or student

    def _by_student(self, path: str | Path, progress: Progress | None, notes: list[str]) -> Segmentation:
        assert self.student is not None
        answer = self.student.segment(path, progress)
        told = f"memory ran out: the student '{self.student.task.name}' answered"
        return replace(answer, notes=(*notes, told, *answer.notes))

    def _load(self, served: ServedWeights) -> Predictor:
        image = self.task.image
        network = build_network(self.task, served.path)
        return Predictor(network, roi=image.roi, slice_offsets=image.slice_offsets, device=self._device)


class _Clock:
    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, stage: str) -> None:
        now = time.perf_counter()
        self.seconds[stage] = self.seconds.get(stage, 0.0) + now - self._last
        self._last = now

    def laps(self, making: str, using: str, items: Iterable[Item]) -> Iterator[Item]:
        """Pass items on, and keep the time that making them took apart from the time that using them took."""
        for item in items:
            self.lap(making)
            yield item
            self.lap(using)
