"""What a person's viewer asks a server, over HTTP."""

import gzip
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import requests
from numpy.typing import NDArray

from lib.jobs.queue.job import DONE, GOING
from lib.simulation.people import Clicks, Label

TIMEOUT_SECONDS = 3600
NO_WEIGHTS = "NO_WEIGHTS"
ALREADY_RUNNING, NONE_YET = 429, 404
POLL_SECONDS = 1.0


class ServerRefused(RuntimeError):
    """Raised when a server does not do what it was asked for, with its own words and its code.

    Args:
        asked: For what.
        answer: What it said.
    """

    def __init__(self, asked: str, answer: requests.Response) -> None:
        told = answer.json() if "json" in answer.headers.get("Content-Type", "") else {}
        self.status, self.code = answer.status_code, str(told.get("code", "")) if isinstance(told, dict) else ""
        super().__init__(f"{asked}: {answer.status_code} {answer.text[:300]}")


@dataclass(frozen=True)
class Viewer:
    """A viewer at a server.

    Args:
        url: The server's address.
        client: What it calls its annotator.
    """

    url: str
    client: str = "rehearsal"

    def next_study(self, strategy: str, seed: int) -> dict[str, Any]:
        """Return the study that a strategy gives, with what it tells of it; ``id`` is empty where nothing is left."""
        return self._ask("POST", f"/activelearning/{strategy}", json={"client_id": self.client, "seed": seed}).json()

    def propose(self, task: str, image: str) -> Label | None:
        """Return the label that a task proposes for a study, None while nothing serves the task."""
        return self._inferred(f"/infer/{task}?image={image}&output=image", {})

    def segment(self, task: str, file: Path) -> Label | None:
        """Return the label of an image that the server does not have, None while nothing serves the task."""
        with file.open("rb") as image:
            return self._inferred(f"/infer/{task}?output=image", {}, file=(file.name, image))

    def mend(self, task: str, image: str, clicks: Clicks, label: Label | None, affine: NDArray[np.float64]) -> Label:
        """Return the label that clicks make of one, or of nothing."""
        sent = {} if label is None else {"label": ("label.nii.gz", packed(label, affine))}
        found = self._inferred(f"/infer/{task}_labels?image={image}&output=image", dict(clicks), **sent)
        if found is None:
            raise RuntimeError(f"nobody can click: no weights serve '{task}'")
        return found

    def submit(self, image: str, label: Label, affine: NDArray[np.float64]) -> dict[str, Any]:
        """Save a final label; return the server's answer."""
        file = {"label": (f"{image}.nii.gz", packed(label, affine))}
        params = {"params": json.dumps({"client_id": self.client})}
        return self._ask("PUT", f"/datastore/label?image={image}&tag=final", files=file, data=params).json()

    def train(self, task: str, options: dict[str, Any]) -> dict[str, Any]:
        """Train a task to the end; return what came of it."""
        return self._ask("POST", f"/train/{task}?run_sync=true", json=options).json()

    def score(self, method: str, version: str) -> None:
        """Have the studies scored by a version, to the end; the server's own job for it is awaited if there is one."""
        while (job := self._scoring()) is None or job["request"].get("version") != version or job["status"] != DONE:
            if job is not None and job["status"] in GOING:
                time.sleep(POLL_SECONDS)
                continue
            try:
                self._ask("POST", f"/scoring/{method}?run_sync=true", json={"version": version})
            except ServerRefused as error:
                if error.status != ALREADY_RUNNING:
                    raise
                time.sleep(POLL_SECONDS)

    def _scoring(self) -> dict[str, Any] | None:
        """Return the scoring job at work, else the last one; None where there was none."""
        try:
            return self._ask("GET", "/scoring/").json()
        except ServerRefused as error:
            if error.status != NONE_YET:
                raise
            return None

    def info(self) -> dict[str, Any]:
        """Return what the server offers."""
        return self._ask("GET", "/info/").json()

    def _inferred(self, path: str, params: dict[str, Any], **files: Any) -> Label | None:
        sent = {"params": json.dumps({"result_extension": ".nii.gz", **params})}
        try:
            return unpacked(self._ask("POST", path, data=sent, files=files or None).content)
        except ServerRefused as error:
            if error.code == NO_WEIGHTS:
                return None
            raise

    def _ask(self, method: str, path: str, **sent: Any) -> requests.Response:
        answer = requests.request(method, self.url + path, timeout=TIMEOUT_SECONDS, **sent)
        if not answer.ok:
            raise ServerRefused(f"{method} {path}", answer)
        return answer


def packed(label: Label, affine: NDArray[np.float64]) -> bytes:
    """Return a label as a NIfTI file, gzipped."""
    return gzip.compress(nib.Nifti1Image(label.astype(np.uint8), affine).to_bytes(), compresslevel=1)


def unpacked(data: bytes) -> Label:
    """Return the label of a NIfTI file, gzipped or not."""
    raw = gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
    return np.asarray(nib.Nifti1Image.from_bytes(raw).dataobj).astype(np.uint8)
