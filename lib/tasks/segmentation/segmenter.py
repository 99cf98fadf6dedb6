"""Segment an image on its own grid, for the server and the command line."""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from lib.data.pipeline import Reading, open_image, read
from lib.jobs.failure_watch import Watch, check_finite
from lib.models.inference.engine import select_device
from lib.models.inference.predictor import Predictor
from lib.tasks.serving.follower import Follower
from lib.tasks.serving.teacher import find_teacher_mismatch
from lib.tasks.serving.weights import ServedWeights, build_network, check_schema, served_weights
from lib.tasks.spec import SEGMENTATION, TaskSpec, load_app, require_kind

Progress = Callable[[int, int], None]
Item = TypeVar("Item")


@dataclass(frozen=True, eq=False)
class SegmentedImage:
    """Labels of one image.

    Args:
        label: uint8, in the source's shape and voxel order.
        affine: Affine of the source, ``(4, 4)``, voxel index to RAS+ mm.
        seconds: Time per stage, in s: check, read, infer, restore.
        version: Name of the version that segmented the image.
        labels: Label value by name of the classes that the version knows.
        reading: The preprocessed image that the network received.
        notes: Deviations from the normal procedure, for example smaller batches of windows for lack of memory.
    """

    label: NDArray[np.uint8]
    affine: NDArray[np.float64]
    seconds: dict[str, float]
    version: str
    labels: dict[str, int]
    reading: Reading
    notes: tuple[str, ...] = ()


class Segmenter:
    """Segment images with the version of a task's weights that is served when the request arrives.

    The object is thread-safe. One image is segmented by one version; see `lib.tasks.serving.follower`.

    Args:
        task: The task.
        weights: Returns the version to serve; called before every image.
        device: Device of the network; None selects a GPU if there is one.
        watch: Receives every image that a version segmented or failed on.
        student: Segments the image if memory is too small for the network.
        version_note: Returns a note about a version for ``notes``; empty for no note.
    """

    def __init__(
        self,
        task: TaskSpec,
        weights: Callable[[], ServedWeights],
        *,
        device: str | torch.device | None = None,
        watch: Watch | None = None,
        student: "Segmenter | None" = None,
        version_note: Callable[[ServedWeights], str] = lambda served: "",
    ) -> None:
        self.task, self.student, self._version_note = task, student, version_note
        self._watch = watch or Watch(lambda version, reason: None)
        self._device = select_device(device)
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
            app_dir: Folder of the app.
            task: Task of the app, or its name.
            device: Device of the network; None selects a GPU if there is one.
            watch: Receives every image that a version segmented or failed on.
        Raises:
            SpecError: If the task is not of kind "segmentation".
        """
        app = load_app(app_dir)
        task = app.task(task) if isinstance(task, str) else task
        require_kind(task, SEGMENTATION, "segment an image")
        student = None if task.student is None else cls.from_task(app_dir, task.student, device=device)

        def version_note(served: ServedWeights) -> str:
            reason = find_teacher_mismatch(app_dir, app, task, served.card)
            return f"its teacher was replaced: {reason}" if reason else ""

        return cls(
            task,
            lambda: served_weights(app_dir, task),
            device=device,
            watch=watch,
            student=student,
            version_note=version_note,
        )

    def segment(self, path: str | Path, progress: Progress | None = None) -> SegmentedImage:
        """Return the labels of an image.

        Args:
            path: File in a format that the input gate accepts, or folder with one DICOM series.
            progress: Called with (slices done, total slices).
        Raises:
            InputRejected: If the input gate rejects the image.
            NoWeights: If no version of the task can be served.
            torch.OutOfMemoryError: If memory is too small for one window and there is no student.
        """
        clock = _Clock()
        source = open_image(path, self.task.image)
        notes = list(source.notes)
        clock.end_stage("check")
        reading = read(source, self.task.image)
        volume = reading.normalised()
        clock.end_stage("read")
        served, predictor = self._follower.current(str(path))
        try:
            with self._watch.observe(served.name, str(path)):
                slabs = ((start, check_finite(slab)) for start, slab in predictor.slabs(volume, progress, notes))
                label = reading.restore(clock.split("infer", "restore", slabs))
        except torch.OutOfMemoryError:
            if self.student is None:
                raise
            label = None
        if label is None:
            return self._segment_by_student(path, progress, notes[len(source.notes) :])
        clock.end_stage("restore")
        self._follower.mark_used()
        notes += filter(None, [self._version_note(served)])
        return SegmentedImage(
            label=label,
            affine=reading.source_affine,
            seconds=clock.seconds,
            version=served.name,
            labels={name: self.task.label_values[name] for name in check_schema(self.task, served.name, served.card)},
            reading=reading,
            notes=tuple(notes),
        )

    def release(self, idle_seconds: float = 0.0) -> bool:
        """Release the networks of task and student if no request came for `idle_seconds`; see `Follower.release`."""
        student = self.student is not None and self.student.release(idle_seconds)
        return self._follower.release(idle_seconds) or student

    def _segment_by_student(self, path: str | Path, progress: Progress | None, notes: list[str]) -> SegmentedImage:
        assert self.student is not None
        answer = self.student.segment(path, progress)
        note = f"memory ran out: the student '{self.student.task.name}' answered"
        return replace(answer, notes=(*notes, note, *answer.notes))

    def _load(self, served: ServedWeights) -> Predictor:
        image = self.task.image
        network = build_network(self.task, served.path)
        return Predictor(network, roi=image.roi, slice_offsets=image.slice_offsets, device=self._device)


class _Clock:
    """Time per stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def end_stage(self, stage: str) -> None:
        now = time.perf_counter()
        self.seconds[stage] = self.seconds.get(stage, 0.0) + now - self._last
        self._last = now

    def split(self, producing: str, consuming: str, items: Iterable[Item]) -> Iterator[Item]:
        """Yield items; add the time to produce them to one stage and the time to consume them to another."""
        for item in items:
            self.end_stage(producing)
            yield item
            self.end_stage(consuming)
