"""Many simulated annotators at one server: waiting times, refusals, lost labels, and memory of the server.

``python -m benchmarks.annotators [--people 30] [--minutes 10]``
"""

import argparse
import hashlib
import json
import random
import shutil
import statistics
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
import requests

from benchmarks.harness.results import write_result
from benchmarks.harness.server import prepare_app, running_server
from benchmarks.harness.tables import markdown_table
from lib.data.formats import read_header
from lib.records.ledger import Ledger
from lib.records.verify import verify

CASES, SEED, COPIES = 2, 0, 6
PAUSE_SECONDS = (0.3, 2.0)
INFO_EVERY_SECONDS = 0.25
GOAL_MS = 50
CLICKS_A_SLICE = (2, 6)
WEIGHTS = {"click": 50, "next": 12, "save": 12, "look": 14, "admin": 8, "infer": 4}


@dataclass
class Answers:
    """Answers of the server to all annotators; thread-safe.

    Args:
        seconds: Response times by kind of request, in s.
        statuses: Number of answers by HTTP status.
        errors: Descriptions of answers with an error status.
        saved: Study and SHA-256 of every label that was saved.
        running_inferences: Number of full inferences that run now.
        lock: Protects all fields.
    """

    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    statuses: Counter = field(default_factory=Counter)
    errors: list[str] = field(default_factory=list)
    saved: list[tuple[str, str]] = field(default_factory=list)
    running_inferences: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def request(self, kind: str, method: str, url: str, **content: object) -> requests.Response:
        """Send a request, and record its time and status."""
        start = time.perf_counter()
        answer = requests.request(method, url, timeout=900, **content)  # type: ignore[arg-type]
        with self.lock:
            self.seconds[kind].append(time.perf_counter() - start)
            self.statuses[answer.status_code] += 1
            if answer.status_code >= 400:
                self.errors.append(f"{kind}: {answer.status_code} {answer.text[:200]}")
        return answer


class Annotator(threading.Thread):
    """One simulated annotator, who views, clicks, saves labels and takes the next study.

    Args:
        number: Number of the annotator; it is the seed of the annotator's actions.
        url: Address of the server.
        answers: Record of the answers.
        shapes: Shape of every study.
        labels: Label file to save, by study.
        stop: Event that ends the work.
    """

    def __init__(
        self,
        number: int,
        url: str,
        answers: Answers,
        shapes: dict[str, tuple[int, ...]],
        labels: dict[str, bytes],
        stop: threading.Event,
    ) -> None:
        super().__init__(name=f"annotator {number}", daemon=True)
        self.number, self.url, self.answers = number, url, answers
        self.shapes, self.labels, self.stop = shapes, labels, stop
        self.random, self.saves = random.Random(number), 0
        self.image, self.clicks, self.left = self.random.choice(list(shapes)), [], 0

    def run(self) -> None:
        """Work until the stop event."""
        actions: dict[str, Callable[[], object]] = {name: getattr(self, name) for name in WEIGHTS}
        while not self.stop.wait(self.random.uniform(*PAUSE_SECONDS)):
            actions[self.random.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]]()

    def click(self) -> None:
        """Click in the middle of a slice, several times per slice; a request has all clicks of its slice."""
        point = [self.random.randrange(n // 4, 3 * n // 4) for n in self.shapes[self.image]]
        if self.left:
            point[2] = self.clicks[0][2]
        else:
            self.clicks, self.left = [], self.random.randint(*CLICKS_A_SLICE)
        self.clicks, self.left = [*self.clicks, point], self.left - 1
        params = {"foreground": self.clicks, "background": [], "result_extension": ".nrrd"}
        url = f"{self.url}/infer/sam_lora_2d?image={self.image}&output=image"
        kind = "first click on a slice" if len(self.clicks) == 1 else "click"
        self.answers.request(kind, "POST", url, data={"params": json.dumps(params)})

    def infer(self) -> None:
        """Request a segmentation of all classes."""
        with self.answers.lock:
            self.answers.running_inferences += 1
        try:
            self.answers.request("infer", "POST", f"{self.url}/infer/topowmamba?image={self.image}&output=image")
        finally:
            with self.answers.lock:
                self.answers.running_inferences -= 1

    def next(self) -> None:
        """Take the study that the server chooses."""
        url = f"{self.url}/activelearning/random"
        answer = self.answers.request("next", "POST", url, json={"client_id": self.name})
        self.image, self.left = answer.json().get("id") or self.image, 0

    def save(self) -> None:
        """Save a unique label; its last voxels encode the annotator and the number of the save."""
        self.saves += 1
        label = bytearray(self.labels[self.image])
        label[-8:] = signature(self.number, 3) + signature(self.saves, 5)
        url = f"{self.url}/datastore/label?image={self.image}&tag=person_{self.number}"
        answer = self.answers.request("save", "PUT", url, files={"label": ("label.nii", bytes(label))})
        if answer.ok:
            with self.answers.lock:
                self.answers.saved.append((self.image, hashlib.sha256(label).hexdigest()))

    def look(self) -> None:
        """View lists of studies, the training status or the info of the server."""
        path = self.random.choice(["/datastore/", "/datastore/?output=all", "/train/", "/info/"])
        self.answers.request("look", "GET", self.url + path)

    def admin(self) -> None:
        """Request a page as an admin or a monitoring system does."""
        path = self.random.choice(["/ready", "/metrics", "/logs/?text=true", "/health"])
        self.answers.request("admin", "GET", self.url + path)


def signature(number: int, voxels: int) -> bytes:
    """Return a number encoded in voxels with six valid label values."""
    return bytes(number // 6**place % 6 for place in range(voxels))


def main() -> None:
    """Run the annotators, then count lost labels and faults."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--people", type=int, default=30)
    parser.add_argument("--minutes", type=float, default=10.0)
    options = parser.parse_args()
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        app, studies = prepare_app(Path(folder), CASES, SEED)
        labels, log = multiply_studies(studies), Path(folder) / "server.txt"
        with running_server(app, studies, log) as (url, pid):
            answers, mib = work(url, pid, studies, labels, options.people, options.minutes)
        faults = sum(" fault " in line for line in log.read_text().splitlines())
        report(options, answers, mib, count_lost(app, answers), [*verify(app, studies).faults], faults)


def multiply_studies(studies: Path) -> dict[str, bytes]:
    """Replace every study by copies without labels; return an empty label file for every copy, by name."""
    labels: dict[str, bytes] = {}
    for image in sorted(studies.glob("*.nii.gz")):
        size = read_header(image).spatial_shape
        name = image.name.removesuffix(".nii.gz")
        for copy in range(COPIES):
            shutil.copy(image, studies / f"{name}_{copy}.nii.gz")
            labels[f"{name}_{copy}"] = empty_label(image, size)
        image.unlink()
    shutil.rmtree(studies / "labels", ignore_errors=True)
    return labels


def empty_label(image: Path, size: tuple[int, ...]) -> bytes:
    """Return an empty NIfTI label on the grid of an image."""
    import nibabel as nib
    import numpy as np

    affine = nib.load(image).affine  # type: ignore[attr-defined]
    return nib.Nifti1Image(np.zeros(size, np.uint8), affine).to_bytes()


def work(
    url: str, pid: int, studies: Path, labels: dict[str, bytes], people: int, minutes: float
) -> tuple[Answers, list[tuple[float, float]]]:
    """Return the answers, and the memory of the server every few seconds, with and without its caches, in MiB."""
    shapes = {name: read_header(studies / f"{name}.nii.gz").spatial_shape for name in labels}
    answers, stop = Answers(), threading.Event()
    annotators = [Annotator(number, url, answers, shapes, labels, stop) for number in range(people)]
    for annotator in annotators:
        annotator.start()
    end, mib, last = time.monotonic() + 60 * minutes, [], 0.0
    while time.monotonic() < end:
        kind = "info during inference" if answers.running_inferences else "info"
        answers.request(kind, "GET", f"{url}/info/")
        if time.monotonic() - last > 2:
            last = time.monotonic()
            rss = psutil.Process(pid).memory_info().rss / 2**20
            mib.append((rss, rss - cached_mib(url)))
        time.sleep(INFO_EVERY_SECONDS)
    stop.set()
    for annotator in annotators:
        annotator.join(900)
    return answers, mib


def cached_mib(url: str) -> float:
    """Return the size of the server's bounded caches, in MiB, from its metrics."""
    lines = requests.get(f"{url}/metrics", timeout=60).text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith("topolabel_cache_bytes{")) / 2**20


def count_lost(app: Path, answers: Answers) -> int:
    """Return the number of labels that were answered 200 but are missing in the ledger or on disk."""
    rows = Ledger.of(app).rows("label")
    recorded = {(row.subject, row.body["label"]) for row in rows if "label" in row.body}
    files = {Path(name).name for row in rows for name in row.body.get("files", {}) if (app / name).is_file()}
    names = {name.partition(".")[0] for name in files}
    return sum(label not in recorded or label[1] not in names for label in answers.saved)


def report(
    options: argparse.Namespace,
    answers: Answers,
    mib: list[tuple[float, float]],
    lost: int,
    ledger_faults: list[str],
    faults: int,
) -> None:
    """Write the result."""
    rows = []
    for kind, seconds in sorted(answers.seconds.items()):
        p95 = statistics.quantiles(seconds, n=20, method="inclusive")[-1] if len(seconds) > 1 else seconds[0]
        figures = (statistics.median(seconds), p95, max(seconds))
        rows.append([kind, str(len(seconds)), *(f"{1000 * value:.0f}" for value in figures)])
    third = max(1, len(mib) // 3)
    parts = [mib[:third], mib[third : 2 * third] or mib, mib[-third:]]
    medians = [[statistics.median(values) for values in zip(*part, strict=True)] for part in parts]
    memory = ", ".join(f"{rss:.0f} ({rest:.0f})" for rss, rest in medians)
    statuses = {code: count for code, count in sorted(answers.statuses.items())}
    notes = [
        f"{options.people} annotators for {options.minutes:g} minutes, closed loop. Answers by status: {statuses}.",
        f"Labels saved: {len(answers.saved)}, lost: {lost}, faults of the ledger: {len(ledger_faults)}.",
        f"Answers 5xx: {sum(n for code, n in statuses.items() if code >= 500)}; faults in the log: {faults}.",
        f"Memory of the server, MiB, medians of thirds of the time (without bounded caches): {memory}.",
        f"The goal for /info/ during inference is {GOAL_MS} ms at p95.",
    ]
    rounded = {kind: [round(value, 4) for value in taken] for kind, taken in answers.seconds.items()}
    mib = [(round(rss), round(rest)) for rss, rest in mib]
    figures = {"seconds": rounded, "statuses": statuses, "mib": mib, "saved": len(answers.saved), "lost": lost}
    command = f"python -m benchmarks.annotators --people {options.people} --minutes {options.minutes:g}"
    lines = markdown_table(["what", "answers", "median, ms", "p95, ms", "slowest, ms"], "lr", rows)
    write_result("annotators", command, figures, "\n".join([*lines, "", *notes]))
    for line in sorted({error for error in answers.errors if "No Train Tasks" not in error})[:10]:
        print(line, file=sys.stderr)
