"""SIGKILL at random moments to server, worker, trainer and publisher, while clients continue."""

import email
import gzip
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
import torch

from lib.data.pipeline import write_label
from lib.jobs.publish import register
from lib.jobs.queue.broker import Queue
from lib.jobs.queue.job import DONE, RUNNING
from lib.records.card import hash_file
from lib.records.ledger import Ledger
from lib.records.verify import verify
from lib.records.versions import find_version, list_versions, write_version
from lib.tasks.segmentation.segmenter import Segmenter
from lib.tasks.serving.models import promote
from lib.tasks.serving.weights import build_network, open_task_versions
from lib.tasks.spec import load_app
from tests.processes import job_processes

pytestmark = pytest.mark.server
ROOT = Path(__file__).resolve().parents[2]
STUDIES, SEED = 8, 0
VICTIMS = ("server", "worker", "trainer", "publisher")
PUBLISHER = """
import contextlib, random, sys, time
from lib.records.versions import list_versions
from lib.tasks.serving.models import promote, rollback
from lib.tasks.spec import load_app
from lib.tasks.serving.weights import open_task_versions

app, rng = sys.argv[1], random.Random(int(sys.argv[2]))
place = open_task_versions(app, load_app(app).task("tubes"))
while True:
    names = [version.name for version in list_versions(place.root) if version.name != place.served]
    # The gate publishes as well: what it served in this moment cannot be promoted.
    with contextlib.suppress(ValueError):
        if names:
            promote(app, "tubes", rng.choice(names), by="Anna")
        if rng.random() < 0.5:
            rollback(app, "tubes", by="Anna")
    time.sleep(rng.uniform(0, 0.2))
"""


@dataclass
class Clients:
    """Three clients that continue while the server is killed and restarted.

    Args:
        url: Address of the server.
        studies: Studies to label.
        folder: Folder for temporary files.
    """

    url: str
    studies: list[str]
    folder: Path
    masks: dict[tuple[str, str], set[str]] = field(default_factory=dict)
    acknowledged: list[tuple[str, str]] = field(default_factory=list)
    last: dict[str, list[str]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    ending: threading.Event = field(default_factory=threading.Event)

    def look(self) -> None:
        """Request masks and record the version of each answer."""
        for image in itertools.cycle(self.studies):
            answer = self._ask(
                "POST", f"/infer/tubes?image={image}&output=all", data={"params": '{"result_extension": ".nii.gz"}'}
            )
            if answer is not None and answer.ok:
                parts = _multipart(answer)
                self.masks.setdefault((parts["version"], image), set()).add(parts["mask"])
            elif answer is not None:
                self.faults.append(f"infer {answer.status_code}: {answer.text[:300]}")
            if self.ending.wait(0.05):
                return

    def save(self, shape: tuple[int, ...], write: Callable[..., Path]) -> None:
        """Save a new label, again and again."""
        rng = np.random.default_rng(SEED)
        for number, image in enumerate(itertools.cycle(self.studies)):
            path = write(rng.integers(0, 3, shape).astype(np.uint8), self.folder / f"{number}.nii.gz")
            digest = hash_file(path)
            self.last.setdefault(image, []).append(digest)
            with path.open("rb") as file:
                answer = self._ask(
                    "PUT", f"/datastore/label?image={image}&tag=final", files={"label": (path.name, file)}
                )
            path.unlink()
            if answer is not None and answer.ok:
                self.acknowledged.append((image, digest))
                self.last[image] = [digest]
            elif answer is not None:
                self.faults.append(f"save {answer.status_code}: {answer.text[:300]}")
            if self.ending.wait(0.5):
                return

    def train(self) -> None:
        """Keep a training running."""
        while not self.ending.wait(1.0):
            running = self._ask("GET", "/train/?check_if_running=true")
            if running is not None and running.status_code == 404:
                self._ask("POST", "/train/tubes", json={"max_epochs": 3, "val_interval": 3})

    def _ask(self, method: str, address: str, **what: Any) -> requests.Response | None:
        try:
            return requests.request(method, self.url + address, timeout=60, **what)
        except requests.RequestException:
            self.ending.wait(0.5)
            return None


def _multipart(answer: requests.Response) -> dict[str, str]:
    """Return the version of an answer and the hash of its mask."""

    message = email.message_from_bytes(
        b"Content-Type: " + answer.headers["content-type"].encode() + b"\r\n\r\n" + answer.content
    )
    found: dict[str, str] = {}
    for part in message.get_payload():
        payload = part.get_payload(decode=True)
        if part.get_param("name", header="content-disposition") == "params":
            found["version"] = json.loads(payload)["version"]
        else:
            found["mask"] = _voxels(payload)
    return found


def _voxels(gzipped: bytes) -> str:
    return sha256(gzip.decompress(gzipped)).hexdigest()


def find(words: str) -> list[int]:
    """Return the processes whose command line contains these words."""
    found = subprocess.run(["pgrep", "-f", words], capture_output=True, text=True, check=False).stdout.split()
    return [int(pid) for pid in found if int(pid) != os.getpid()]


@pytest.mark.parametrize("kills", [4, pytest.param(50, marks=pytest.mark.slow)])
def test_kills_lose_nothing(
    kills: int,
    tmp_path: Path,
    launch_at: Callable[..., Any],
    new_app: Callable,
    new_studies: Callable,
    make_ct: Callable,
    write_nifti: Callable,
    wait: Callable,
) -> None:
    app, studies = new_app(tmp_path / "app"), new_studies(tmp_path / "studies", STUDIES)
    text = (app / "app.toml").read_text()
    (app / "app.toml").write_text(text.replace('name = "tiny"', 'name = "tiny"\nheld_out_patients = 2'))
    add_versions(app, 2)
    server, rng, queue = launch_at(app, studies, tmp_path), random.Random(SEED), Queue(app)
    clients = Clients(server.url, [f"ct_{seed}" for seed in range(STUDIES)], tmp_path / "client")
    tasks = [clients.look, clients.train, lambda: clients.save(make_ct(0)[1].shape, write_nifti)]
    threads = [threading.Thread(target=task, daemon=True) for task in tasks]
    for thread in threads:
        thread.start()
    # An answer of the starter first: from then on the publisher changes the version all the time.
    wait(lambda: clients.masks or clients.faults, 120, "the first answer")
    publisher, killed = publish(app, 0), dict.fromkeys(VICTIMS, 0)
    try:
        while sum(killed.values()) < kills:
            time.sleep(rng.uniform(0.2, 9.0))
            victim = min(VICTIMS, key=lambda name: killed[name] + rng.random())
            if victim == "server":
                server.process.kill()
                server.process.wait()
                server = launch_at(app, studies, tmp_path, server.port)
            elif victim == "publisher":
                assert publisher.poll() is None, "the publisher ended on its own"
                publisher.kill()
                publisher.wait()
                publisher = publish(app, sum(killed.values()))
            else:
                running = [job.id for job in queue.jobs.list(unfinished=True) if job.status == RUNNING]
                trainers = [pid for job in running for pid in job_processes(job)]
                pids = find(f"jobs work {app}") if victim == "worker" else trainers
                # A training that is killed five times without progress is given up, as intended.
                if not pids or (
                    victim == "trainer" and any(job.crashes > 2 for job in queue.jobs.list(unfinished=True))
                ):
                    continue
                os.kill(pids[0], signal.SIGKILL)
            killed[victim] += 1
            print(sum(killed.values()), victim, len(clients.acknowledged), len(clients.masks), flush=True)
    finally:
        publisher.kill()
        publisher.wait()
        clients.ending.set()
        for thread in threads:
            thread.join(70)
    wait(lambda: not queue.jobs.list(unfinished=True), 600, "the queue to be worked off")
    report(killed, clients, queue, app)

    assert clients.faults == [], clients.faults[:5]
    jobs = queue.jobs.list()
    assert jobs and all(job.status == DONE for job in jobs), [(job.status, job.reason) for job in jobs]
    assert verify(app, studies).faults == []
    rows = Ledger.of(app).rows("label")
    kept = {(row.subject, row.body["label"]): row.body["files"] for row in rows}
    assert len(clients.acknowledged) > kills / 2
    for image, digest in clients.acknowledged:
        ((name, recorded),) = kept[image, digest].items()
        assert recorded == digest == hash_file(app / name)
    for image, possible in clients.last.items():
        assert hash_file(studies / "labels" / "final" / f"{image}.nii.gz") in possible, "the last version is complete"
    every_answer_comes_from_one_whole_version(clients, app, studies)


def add_versions(app: Path, count: int) -> None:
    """Add versions with random weights, so that the publisher can publish from the start."""
    task = load_app(app).task("tubes")
    place = open_task_versions(app, task)
    for number in range(count):
        torch.manual_seed(number + 1)
        name = f"random{number}"
        write_version(place.root, build_network(task).state_dict(), {"parent": "starter"}, name=name)
        register(place, find_version(place.root, name))


def publish(app: Path, seed: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", PUBLISHER, str(app), str(seed)], cwd=ROOT)


def every_answer_comes_from_one_whole_version(clients: Clients, app: Path, studies: Path) -> None:
    """Compute every mask again with the version recorded for it."""
    versions_seen = {version for version, _ in clients.masks}
    known = {version.name for version in list_versions(app / "model" / "tubes")}
    assert {"starter"} < versions_seen <= {"starter", *known}, "versions changed during inference"
    assert all(len(seen) == 1 for seen in clients.masks.values()), (
        "a version gives the same mask of an image every time"
    )
    for version in versions_seen - {"starter"}:
        if open_task_versions(app, load_app(app).task("tubes")).served != version:
            promote(app, "tubes", version)
        segmenter = Segmenter.from_task(app, "tubes")
        for image in (name for seen, name in clients.masks if seen == version):
            result = segmenter.segment(studies / f"{image}.nii.gz")
            assert result.version == version
            write_label(result.label, result.affine, clients.folder / "again.nii.gz")
            assert clients.masks[version, image] == {_voxels((clients.folder / "again.nii.gz").read_bytes())}


def report(killed: dict[str, int], clients: Clients, queue: Queue, app: Path) -> None:
    rows = Ledger.of(app).rows()
    kinds = {kind: sum(row.kind == kind for row in rows) for kind in ("label", "version", "decision", "job")}
    print(f"killed {killed}; {len(clients.acknowledged)} labels acknowledged")
    print(f"{len(clients.masks)} pairs of version and image, {sum(map(len, clients.masks.values()))} masks")
    print(f"{len(queue.jobs.list())} trainings; rows {kinds}", flush=True)
