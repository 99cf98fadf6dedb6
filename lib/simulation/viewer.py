"""The HTTP requests of an annotator's viewer to a server."""

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

from lib.jobs.queue.job import DONE, UNFINISHED
from lib.simulation.people import Clicks, Label

TIMEOUT_SECONDS = 3600
NO_WEIGHTS = "NO_WEIGHTS"
ALREADY_RUNNING, NONE_YET = 429, 404
POLL_SECONDS = 1.0


class ServerRefused(RuntimeError):
    """Raised when a server refuses a request; carries the status and the error code of the answer.

    Args:
        request: Method and path of the request.
        answer: Answer of the server.
    """

    def __init__(self, request: str, answer: requests.Response) -> None:
        body = answer.json() if "json" in answer.headers.get("Content-Type", "") else {}
        self.status, self.code = answer.status_code, str(body.get("code", "")) if isinstance(body, dict) else ""
        super().__init__(f"{request}: {answer.status_code} {answer.text[:300]}")


@dataclass(frozen=True)
class Viewer:
    """Client of a server that sends the requests of a viewer.

    Args:
        url: Address of the server.
        client: Name of the annotator in the requests.
    """

    url: str
    client: str = "rehearsal"

    def next_study(self, strategy: str, seed: int) -> dict[str, Any]:
        """Return the next study of a strategy with its information; ``id`` is empty if no study is left."""
        sent = {"client_id": self.client, "seed": seed}
        return self._request("POST", f"/activelearning/{strategy}", json=sent).json()

    def propose(self, task: str, image: str) -> Label | None:
        """Return the label that a task proposes for a study; None if no weights serve the task."""
        return self._infer(f"/infer/{task}?image={image}&output=image", {})

    def segment(self, task: str, file: Path) -> Label | None:
        """Upload an image and return its label; None if no weights serve the task."""
        with file.open("rb") as image:
            return self._infer(f"/infer/{task}?output=image", {}, file=(file.name, image))

    def refine(self, task: str, image: str, clicks: Clicks, label: Label | None, affine: NDArray[np.float64]) -> Label:
        """Return a label from clicks; the server corrects `label` if it is given."""
        sent = {} if label is None else {"label": ("label.nii.gz", pack_label(label, affine))}
        answer = self._infer(f"/infer/{task}_labels?image={image}&output=image", dict(clicks), **sent)
        if answer is None:
            raise RuntimeError(f"no weights serve the click task '{task}': start the app with weights for it")
        return answer

    def submit(self, image: str, label: Label, affine: NDArray[np.float64]) -> dict[str, Any]:
        """Submit a final label and return the server's answer."""
        file = {"label": (f"{image}.nii.gz", pack_label(label, affine))}
        params = {"params": json.dumps({"client_id": self.client})}
        return self._request("PUT", f"/datastore/label?image={image}&tag=final", files=file, data=params).json()

    def train(self, task: str, options: dict[str, Any]) -> dict[str, Any]:
        """Train a task, wait for the end, and return the outcome."""
        return self._request("POST", f"/train/{task}?run_sync=true", json=options).json()

    def score(self, method: str, version: str) -> None:
        """Wait until a version has scored the studies; start a scoring job if the server runs none."""
        while (job := self._scoring_job()) is None or job["request"].get("version") != version or job["status"] != DONE:
            if job is not None and job["status"] in UNFINISHED:
                time.sleep(POLL_SECONDS)
                continue
            try:
                self._request("POST", f"/scoring/{method}?run_sync=true", json={"version": version})
            except ServerRefused as error:
                if error.status != ALREADY_RUNNING:
                    raise
                time.sleep(POLL_SECONDS)

    def _scoring_job(self) -> dict[str, Any] | None:
        """Return the running scoring job, or the last one; None if there was none."""
        try:
            return self._request("GET", "/scoring/").json()
        except ServerRefused as error:
            if error.status != NONE_YET:
                raise
            return None

    def info(self) -> dict[str, Any]:
        """Return the server's information about tasks and strategies."""
        return self._request("GET", "/info/").json()

    def _infer(self, path: str, params: dict[str, Any], **files: Any) -> Label | None:
        sent = {"params": json.dumps({"result_extension": ".nii.gz", **params})}
        try:
            return unpack_label(self._request("POST", path, data=sent, files=files or None).content)
        except ServerRefused as error:
            if error.code == NO_WEIGHTS:
                return None
            raise

    def _request(self, method: str, path: str, **sent: Any) -> requests.Response:
        answer = requests.request(method, self.url + path, timeout=TIMEOUT_SECONDS, **sent)
        if not answer.ok:
            raise ServerRefused(f"{method} {path}", answer)
        return answer


def pack_label(label: Label, affine: NDArray[np.float64]) -> bytes:
    """Return a label as the bytes of a gzipped NIfTI file."""
    return gzip.compress(nib.Nifti1Image(label.astype(np.uint8), affine).to_bytes(), compresslevel=1)


def unpack_label(data: bytes) -> Label:
    """Return the label in the bytes of a NIfTI file, gzipped or not."""
    raw = gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
    return np.asarray(nib.Nifti1Image.from_bytes(raw).dataobj).astype(np.uint8)
