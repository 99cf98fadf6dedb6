"""Keep the latest proposal per image, so that a submitted label can be compared with the proposal it was made from."""

import tempfile
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lib.data.formats import load
from lib.data.labels.coverage import COVERED
from lib.records.labels import PREDICTED, SUBMITTED, Origin

MAX_BYTES = 256 << 20
MAX_CASES = 10_000
IDLE_SECONDS = 120.0
"""A longer pause between two events of an annotator counts as this much work."""
SOURCE = "source"
"""Key in the facts about a label: how it came into the store. Only the server writes it."""
PROMPTS = ("foreground", "background", "roi", "scribbles", "label", "slice")
"""Names under which viewers send clicks, boxes and strokes."""


@dataclass(frozen=True)
class Proposal:
    """One inference result: the task and version that computed it, its prompts, and the content of the label file."""

    task: str
    version: str
    prompts: dict[str, Any]
    suffix: str
    content: bytes


@dataclass
class Work:
    """Work on an image: the time of its last event (s since 1970), and the seconds of work until then."""

    last: float
    seconds: float = 0.0

    def seconds_until(self, now: float) -> float:
        """Return the seconds of work until a time, with pauses cut to `IDLE_SECONDS`."""
        return self.seconds + min(max(now - self.last, 0.0), IDLE_SECONDS)


class Proposals:
    """The latest proposal per image and the work on it; thread-safe. Beyond `MAX_BYTES` the oldest are dropped.

    Args:
        is_blank: Returns whether a study gets no proposal; such studies are the control group.
    """

    def __init__(self, is_blank: Callable[[str], bool] = lambda image: False) -> None:
        self._latest: OrderedDict[str, Proposal] = OrderedDict()
        self._work: OrderedDict[str, Work] = OrderedDict()
        self._lock, self._is_blank = threading.Lock(), is_blank

    def start_work(self, image: str) -> None:
        """Note that an annotator starts to work on an image."""
        with self._lock:
            self._start_work(image, time.time())

    def _start_work(self, image: str, now: float) -> None:
        self._work[image] = Work(now)
        self._work.move_to_end(image)
        while len(self._work) > MAX_CASES:
            self._work.popitem(last=False)

    def remember(self, image: str, request: Mapping[str, Any], answer: Mapping[str, Any]) -> None:
        """Keep a result of the app's inference as the latest proposal for an image.

        Args:
            image: Name of the image.
            request: The inference request.
            answer: The inference result: ``file``, and ``params`` with the version.
        """
        file = Path(answer.get("file") or "")
        content = file.read_bytes() if file.is_file() else b""
        prompts = {name: value for name, value in request.items() if value and (name in PROMPTS or _are_clicks(value))}
        version = (answer.get("params") or {}).get("version", "")
        with self._lock:
            self._latest.pop(image, None)
            now, work = time.time(), self._work.get(image)
            if work is None:
                self._start_work(image, now)
            else:
                work.seconds, work.last = work.seconds_until(now), now
            suffix = "".join(file.suffixes[-2:]) if file.name.endswith(".gz") else file.suffix
            self._latest[image] = Proposal(str(request.get("model", "")), version, prompts, suffix, content)
            while self._held() > MAX_BYTES and len(self._latest) > 1:
                self._latest.popitem(last=False)

    @property
    def held_bytes(self) -> int:
        """Size of the kept proposals in bytes."""
        with self._lock:
            return self._held()

    def _held(self) -> int:
        return sum(len(proposal.content) for proposal in self._latest.values())

    def origin(self, image: str, label: Path, info: Mapping[str, Any]) -> Origin:
        """Return the origin of a label that is being saved: its author, seconds of work and proposal.

        The clock of the work on this image starts again: further work counts for the next label.

        Args:
            image: Name of the image.
            label: The label's file.
            info: Facts about the label: ``user``, and optionally ``seconds``, ``findings`` and the checked names of
                the labels that it covers, ``covered``. A label that a person
                submitted has `SUBMITTED` as its ``source``, whatever else the client sent; MONAI Label itself saves
                predictions with ``model`` and ``params``.
        """
        params = info.get("params")
        if info.get(SOURCE) != SUBMITTED and info.get("model") and isinstance(params, Mapping):
            return Origin(source=PREDICTED, task=str(info["model"]), version=str(params.get("version", "")))
        now = time.time()
        with self._lock:
            proposal, work = self._latest.get(image), self._work.get(image)
            worked = None if work is None else round(work.seconds_until(now), 1)
            if work is not None:
                # Further work on the image counts for the next label.
                self._start_work(image, now)
        sent, findings = info.get("seconds"), info.get("findings")
        seconds = float(sent) if isinstance(sent, int | float) and np.isfinite(sent) else worked
        facts: dict[str, Any] = {"who": str(info.get("user") or ""), "seconds": seconds, "blank": self._is_blank(image)}
        facts["findings"] = findings if isinstance(findings, list) else []
        facts["covered"] = tuple(info.get(COVERED) or ()) or None
        if proposal is None:
            return Origin(**facts)
        source = {"task": proposal.task, "version": proposal.version, "prompts": proposal.prompts}
        return Origin(**facts, **source, edit_ml=_edit_ml(proposal, label))


def _are_clicks(value: Any) -> bool:
    """Return whether a value is a list of points: clicks for several labels are sent under the labels' names."""
    return isinstance(value, list) and all(isinstance(point, list) for point in value)


def _edit_ml(proposal: Proposal, label: Path) -> float | None:
    """Return the volume in ml where a label differs from its proposal, None if they cannot be compared."""
    if not proposal.content:
        return None
    with tempfile.NamedTemporaryFile(suffix=proposal.suffix) as file:
        file.write(proposal.content)
        file.flush()
        try:
            before, after = load(Path(file.name)), load(label)
        except ValueError:
            return None
    if before.voxels.shape != after.voxels.shape or not np.allclose(before.affine, after.affine, atol=1e-2):
        return None
    voxel_ml = abs(float(np.linalg.det(np.asarray(after.affine)[:3, :3]))) / 1000
    return round(float(np.count_nonzero(before.voxels != after.voxels)) * voxel_ml, 4)
