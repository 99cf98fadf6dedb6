"""What the server proposed lately: whoever submits a label began with one of these."""

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
from lib.records.labels import PREDICTED, Origin

MAX_BYTES = 256 << 20
MAX_CASES = 10_000
IDLE_SECONDS = 120.0
"""Of a longer time without a sign of work, so much counts as work."""
PROMPTS = ("foreground", "background", "roi", "scribbles", "label", "slice")
"""What viewers call clicks, boxes and strokes."""


@dataclass(frozen=True)
class Proposal:
    """One answer: who gave it to which prompts, and the label file's content."""

    task: str
    version: str
    prompts: dict[str, Any]
    suffix: str
    content: bytes


@dataclass
class Work:
    """Work on an image: when its last sign came, and the seconds until then."""

    last: float
    seconds: float = 0.0

    def until(self, now: float) -> float:
        """Return the seconds of work until a moment, pauses cut out."""
        return self.seconds + min(max(now - self.last, 0.0), IDLE_SECONDS)


class Proposals:
    """The latest proposal per image, the oldest forgotten beyond `MAX_BYTES`, and the work on it. Threads may share it.

    Args:
        is_blank: Says whether a study gets no proposal, to compare with.
    """

    def __init__(self, is_blank: Callable[[str], bool] = lambda image: False) -> None:
        self._latest: OrderedDict[str, Proposal] = OrderedDict()
        self._work: OrderedDict[str, Work] = OrderedDict()
        self._lock, self._is_blank = threading.Lock(), is_blank

    def begin(self, image: str) -> None:
        """Note that somebody begins to work on an image."""
        with self._lock:
            self._begin(image, time.time())

    def _begin(self, image: str, now: float) -> None:
        self._work[image] = Work(now)
        self._work.move_to_end(image)
        while len(self._work) > MAX_CASES:
            self._work.popitem(last=False)

    def remember(self, image: str, request: Mapping[str, Any], answer: Mapping[str, Any]) -> None:
        """Keep an answer of the app's inference.

        Args:
            image: Name of the image.
            request: What was asked.
            answer: ``file`` and ``params`` with the version.
        """
        file = Path(answer.get("file") or "")
        content = file.read_bytes() if file.is_file() else b""
        prompts = {name: value for name, value in request.items() if value and (name in PROMPTS or _are_clicks(value))}
        version = (answer.get("params") or {}).get("version", "")
        with self._lock:
            self._latest.pop(image, None)
            now, work = time.time(), self._work.get(image)
            if work is None:
                self._begin(image, now)
            else:
                work.seconds, work.last = work.until(now), now
            suffix = "".join(file.suffixes[-2:]) if file.name.endswith(".gz") else file.suffix
            self._latest[image] = Proposal(str(request.get("model", "")), version, prompts, suffix, content)
            while self._held() > MAX_BYTES and len(self._latest) > 1:
                self._latest.popitem(last=False)

    @property
    def held_bytes(self) -> int:
        """What the kept answers take."""
        with self._lock:
            return self._held()

    def _held(self) -> int:
        return sum(len(each.content) for each in self._latest.values())

    def origin(self, image: str, label: Path, info: Mapping[str, Any]) -> Origin:
        """Return how a label that is being saved came to be.

        Args:
            image: Name of the image.
            label: The label's file.
            info: What the client tells: ``user``, and ``seconds`` and ``findings`` if it knows them. MONAI Label itself
                saves predictions with ``model`` and ``params``.
        """
        params = info.get("params")
        if info.get("model") and isinstance(params, Mapping):
            return Origin(source=PREDICTED, task=str(info["model"]), version=str(params.get("version", "")))
        now = time.time()
        with self._lock:
            proposal, work = self._latest.get(image), self._work.get(image)
            worked = None if work is None else round(work.until(now), 1)
            if work is not None:
                # What is done to the image from here on is other work.
                self._begin(image, now)
        told, findings = info.get("seconds"), info.get("findings")
        seconds = float(told) if isinstance(told, int | float) and np.isfinite(told) else worked
        facts: dict[str, Any] = {"who": str(info.get("user") or ""), "seconds": seconds, "blank": self._is_blank(image)}
        facts["findings"] = findings if isinstance(findings, list) else []
        if proposal is None:
            return Origin(**facts)
        made = {"task": proposal.task, "version": proposal.version, "prompts": proposal.prompts}
        return Origin(**facts, **made, edit_ml=_edit_ml(proposal, label))


def _are_clicks(value: Any) -> bool:
    """Say whether something is a list of points: clicks on several labels are sent under the labels' names."""
    return isinstance(value, list) and all(isinstance(each, list) for each in value)


def _edit_ml(proposal: Proposal, label: Path) -> float | None:
    """Return the volume where a label differs from its proposal, None where they cannot be compared."""
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
