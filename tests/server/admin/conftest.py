"""An app with a history, made by the project's own classes, and a client of its admin pages without a server."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from safetensors.torch import load_file

from lib.jobs.gate import HOLD, PUBLISH, Decision
from lib.jobs.publish import apply_decision, register
from lib.jobs.queue.job import DONE, ERROR
from lib.jobs.queue.table import Jobs
from lib.records.labels import LabelVersions
from lib.records.ledger import Ledger
from lib.records.versions import find_version, write_version
from lib.server.admin import pages
from lib.server.admin.access import served_app
from lib.server.auth.routes import checked_form
from lib.server.guard import Guard
from lib.tasks.app import TopoLabelApp
from lib.tasks.segmentation.kind import VOLUME_PATTERNS
from lib.tasks.serving.weights import open_task_versions
from lib.tasks.spec import load_app
from lib.tasks.store.archive import attach_records
from lib.tasks.store.folder import FolderStore
from lib.tasks.store.proposals import Proposals

HOSTILE = "<img src=x onerror=alert(1)>"
"""The name of a study, and of a user."""
REMARK = {"code": "STRAY", "reason": f"3 parts of {HOSTILE} lie apart", "remedy": "Remove them."}


def add(app_dir: str | Path, name: str, verdict: str, *, labels: int, dice: float) -> None:
    """Add a version with scores of three held-out cases and a decision of the gate."""
    task = load_app(app_dir).tasks[0]
    place = open_task_versions(app_dir, task)
    metrics = [
        {
            "case": f"h{n}",
            "dice": {"tube": dice + 0.01 * n, "cavity": dice - 0.02 * n},
            "cl_dice": dice - 0.05 + 0.01 * n,
        }
        for n in range(3)
    ]
    data = {f"ct_{n}": "a" * 64 for n in range(labels)}
    card = {"parent": place.served, "model": task.model, "metrics": metrics, "data": data, "recipe": {"name": "r"}}
    card |= {"created": f"2026-11-{labels + 1:02d}T10:00:00+00:00", "labels": list(task.labels)}
    starter = Path(app_dir) / "starter" / task.model / "weights.safetensors"
    write_version(place.root, load_file(starter), card, name=name)
    register(place, find_version(place.root, name), {"trained_on": {}})
    apply_decision(place, name, Decision(verdict, (f"{name} by {HOSTILE}",)), compared_with=place.served)


class Clock(datetime):
    """A clock that is some days behind."""

    days = 0

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
        return datetime.now(tz) - timedelta(days=cls.days)


@pytest.fixture(scope="session")
def add_label(
    make_ct: Callable, write_nifti: Callable, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., None]:
    """Submit a label, dated some days ago, that differs from its proposal in some slices."""
    folder = tmp_path_factory.mktemp("labels")

    def added(app_dir: Path, studies: Path, image: str, *, days_ago: int, changed: int, **info: Any) -> None:
        proposals = Proposals()
        store = attach_records(
            FolderStore(str(studies), extensions=list(VOLUME_PATTERNS)),
            LabelVersions(app_dir, Ledger.of(app_dir)),
            proposals,
        )
        label = make_ct(int(image.removeprefix("ct_")) if image.startswith("ct_") else 7)[1]
        proposal = write_nifti(label, folder / "proposal.nii.gz")
        served = open_task_versions(app_dir, load_app(app_dir).tasks[0]).served
        answer = {"file": str(proposal), "params": {"version": served}}
        proposals.remember(image, {"image": image, "model": "tubes"}, answer)
        label[:, :, :changed] = 0
        with pytest.MonkeyPatch.context() as late:
            late.setattr(Clock, "days", days_ago)
            late.setattr("lib.records.ledger.datetime", Clock)
            store.save_label(image, str(write_nifti(label, folder / "label.nii.gz")), "final", info)

    return added


@dataclass
class History:
    """The app, and methods that add events to its history."""

    app: TopoLabelApp
    make_ct: Callable
    write: Callable
    folder: Path

    def save(self, image: str, *, seed: int = 0, proposed: bool = True, **info: Any) -> None:
        """Submit a label that differs from its proposal in one slab."""
        label = self.make_ct(seed)[1]
        if proposed:
            file = self.write(label, self.folder / "proposal.nii.gz")
            answer = {"file": str(file), "params": {"version": "v1"}}
            self.app.proposals.remember(image, {"image": image, "model": "tubes"}, answer)
        label[:, :, :3] = 0
        path = self.write(label, self.folder / "label.nii.gz")
        self.app.datastore().save_label(image, str(path), "final", info)

    def version(self, name: str, verdict: str, *, labels: int, dice: float) -> None:
        """Add a version; see `add`."""
        add(self.app.app_dir, name, verdict, labels=labels, dice=dice)

    def end(self, status: str, **facts: Any) -> str:
        """Add a job that ended with the given status."""
        job = self.app.queue.submit("train", "tubes", {"model": "tubes"}, origin=HOSTILE)
        Jobs(self.app.app_dir).claim(job.id)
        Jobs(self.app.app_dir).finish(job.id, status, **facts)
        return job.id


@pytest.fixture
def history(
    tmp_path: Path,
    new_app: Callable,
    new_studies: Callable,
    make_ct: Callable,
    write_nifti: Callable,
    monkeypatch: pytest.MonkeyPatch,
) -> History:
    """An app without history, with two studies."""
    monkeypatch.setattr("monailabel.config.settings.MONAI_LABEL_DATASTORE_AUTO_RELOAD", False)
    monkeypatch.setattr("monailabel.config.settings.MONAI_LABEL_SESSIONS", False)
    monkeypatch.setattr("lib.tasks.serving.models.mirror", lambda *_: None)
    studies = new_studies(tmp_path / "the studies", 1)
    write_nifti(make_ct(1)[0], studies / f"{HOSTILE}.nii.gz")
    app = TopoLabelApp(str(new_app(tmp_path / "an app")), str(studies), {})
    return History(app, make_ct, write_nifti, tmp_path)


@pytest.fixture
def lived(history: History) -> History:
    """The app after two published versions, one held version, labels, and jobs of every state."""
    history.version("v1", PUBLISH, labels=3, dice=0.6)
    history.version("v2", PUBLISH, labels=7, dice=0.75)
    history.version("v3", HOLD, labels=12, dice=0.8)
    history.save("ct_0", user="Anna", seconds=95, findings=[REMARK, "a stray voxel"])
    history.save(HOSTILE, seed=1, user=HOSTILE, seconds=30)
    result = {"version": "v3", "verdict": "hold", "reason": f"too few, says {HOSTILE}"}
    history.end(DONE, result=result)
    history.end(ERROR, reason="RuntimeError: no room")
    return history


@pytest.fixture
def browse(history: History) -> TestClient:
    """A client of the app's admin pages behind the guard."""
    web = FastAPI()
    web.add_middleware(Guard)
    pages.install(web)
    web.dependency_overrides[served_app] = lambda: history.app
    # The gate sets the form token of pages; this client has no gate.
    web.dependency_overrides[checked_form] = lambda: None
    return TestClient(web, raise_server_exceptions=False, follow_redirects=False)


@pytest.fixture
def last_decision(history: History) -> Callable[[], dict[str, Any]]:
    """Return the ledger's last decision."""
    return lambda: json.loads(json.dumps(history.app.ledger.rows("decision")[-1].body))


@pytest.fixture(scope="session")
def add_version() -> Callable[..., None]:
    return add


@pytest.fixture(scope="session")
def hostile() -> str:
    return HOSTILE
