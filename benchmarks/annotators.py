"""Many annotators at one server: what they wait for, what is refused, whether a label is lost, and the server's memory.

``python -m benchmarks.annotators [--people 30] [--minutes 10]``
"""

import argparse
import hashlib
import json
import random
import shutil
import statistics
import subprocess
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

from benchmarks.busy import answers, free_port
from benchmarks.machine import keep
from lib.data.formats import read_header
from lib.data.phantom import write_cohort
from lib.records.ledger import Ledger
from lib.records.verify import verify

ROOT = Path(__file__).resolve().parents[1]
CASES, SEED, COPIES = 2, 0, 6
THINKS_SECONDS = (0.3, 2.0)
INFO_EVERY_SECONDS = 0.25
GOAL_MS = 50
CLICKS_A_SLICE = (2, 6)
WEIGHTS = {"click": 50, "next": 12, "save": 12, "look": 14, "admin": 8, "infer": 4}


@dataclass
class Heard:
    """What everybody saw. Threads share it."""

    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    statuses: Counter = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    saved: list[tuple[str, str]] = field(default_factory=list)
    infers: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def ask(self, what: str, method: str, url: str, **sent: object) -> requests.Response:
        """Send a request and remember what came of it."""
        began = time.perf_counter()
        answer = requests.request(method, url, timeout=900, **sent)  # type: ignore[arg-type]
        with self.lock:
            self.seconds[what].append(time.perf_counter() - began)
            self.statuses[answer.status_code] += 1
            if answer.status_code >= 400:
                self.wrong.append(f"{what}: {answer.status_code} {answer.text[:200]}")
        return answer


class Annotator(threading.Thread):
    """One person: looks, clicks, saves, takes the next study.

    Args:
        number: Seeds what this one does.
        url: The server.
        heard: Where to remember.
        images: The studies and their sizes.
        label: A label to save, by study.
        over: Set when the day ends.
    """

    def __init__(
        self,
        number: int,
        url: str,
        heard: Heard,
        images: dict[str, tuple[int, ...]],
        label: dict[str, bytes],
        over: threading.Event,
    ) -> None:
        super().__init__(name=f"annotator {number}", daemon=True)
        self.number, self.url, self.heard, self.images, self.label, self.over = number, url, heard, images, label, over
        self.random, self.saves = random.Random(number), 0
        self.image, self.clicks, self.left = self.random.choice(list(images)), [], 0

    def run(self) -> None:
        """Work until the day is over."""
        acts: dict[str, Callable[[], object]] = {name: getattr(self, name) for name in WEIGHTS}
        while not self.over.wait(self.random.uniform(*THINKS_SECONDS)):
            acts[self.random.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]]()

    def click(self) -> None:
        """Click in the middle of a slice, a few times before the next one: a request carries all its clicks."""
        point = [self.random.randrange(n // 4, 3 * n // 4) for n in self.images[self.image]]
        if self.left:
            point[2] = self.clicks[0][2]
        else:
            self.clicks, self.left = [], self.random.randint(*CLICKS_A_SLICE)
        self.clicks, self.left = [*self.clicks, point], self.left - 1
        params = {"foreground": self.clicks, "background": [], "result_extension": ".nrrd"}
        url = f"{self.url}/infer/sam_lora_2d?image={self.image}&output=image"
        what = "first click on a slice" if len(self.clicks) == 1 else "click"
        self.heard.ask(what, "POST", url, data={"params": json.dumps(params)})

    def infer(self) -> None:
        """Ask for all five parts."""
        with self.heard.lock:
            self.heard.infers += 1
        try:
            self.heard.ask("infer", "POST", f"{self.url}/infer/topowmamba?image={self.image}&output=image")
        finally:
            with self.heard.lock:
                self.heard.infers -= 1

    def next(self) -> None:
        """Take the study that the server chooses."""
        answer = self.heard.ask("next", "POST", f"{self.url}/activelearning/random", json={"client_id": self.name})
        self.image, self.left = answer.json().get("id") or self.image, 0

    def save(self) -> None:
        """Save a label that nobody else saves: a voxel says who made it and when."""
        self.saves += 1
        label = bytearray(self.label[self.image])
        label[-8:] = signature(self.number, 3) + signature(self.saves, 5)
        url = f"{self.url}/datastore/label?image={self.image}&tag=person_{self.number}"
        answer = self.heard.ask("save", "PUT", url, files={"label": ("label.nii", bytes(label))})
        if answer.ok:
            with self.heard.lock:
                self.heard.saved.append((self.image, hashlib.sha256(label).hexdigest()))

    def look(self) -> None:
        """Look at what there is."""
        path = self.random.choice(["/datastore/", "/datastore/?output=all", "/train/", "/info/"])
        self.heard.ask("look", "GET", self.url + path)

    def admin(self) -> None:
        """Look at it as an admin, or a monitor, does."""
        path = self.random.choice(["/ready", "/metrics", "/logs/?text=true", "/health"])
        self.heard.ask("admin", "GET", self.url + path)


def signature(number: int, voxels: int) -> bytes:
    """Return a number in voxels of six values, which all mean something."""
    return bytes(number // 6**place % 6 for place in range(voxels))


def main() -> None:
    """Let them work for a while, then count."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--people", type=int, default=30)
    asked.add_argument("--minutes", type=float, default=10.0)
    given = asked.parse_args()
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        app, studies = Path(folder) / "app", Path(folder) / "studies"
        shutil.copytree(ROOT / "apps" / "airway", app, ignore=shutil.ignore_patterns("model", "logs", "bin", "records"))
        write_cohort(studies, count=CASES, seed=SEED)
        labels = copies(studies)
        port = free_port()
        command = [sys.executable, "-m", "lib", "serve", str(app), "--studies", str(studies), "--port", str(port)]
        with (Path(folder) / "server.txt").open("w") as log:
            server = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)
            try:
                heard, mib = day(f"http://127.0.0.1:{port}", server.pid, studies, labels, given.people, given.minutes)
            finally:
                server.terminate()
                server.wait(60)
        faults = sum(" fault " in line for line in (Path(folder) / "server.txt").read_text().splitlines())
        report(given, heard, mib, lost(app, heard), [*verify(app, studies).faults], faults)


def copies(studies: Path) -> dict[str, bytes]:
    """Copy the studies to as many as a day needs, without their labels; return a label of each, by name."""
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
    """Return a NIfTI label without anything in it, on the grid of an image."""
    import nibabel as nib
    import numpy as np

    affine = nib.load(image).affine  # type: ignore[attr-defined]
    return nib.Nifti1Image(np.zeros(size, np.uint8), affine).to_bytes()


def day(
    url: str, pid: int, studies: Path, labels: dict[str, bytes], people: int, minutes: float
) -> tuple[Heard, list[tuple[float, float]]]:
    """Return what was heard, and every few seconds the server's memory, with its caches and without, in MiB."""
    while not answers(f"{url}/info/"):
        time.sleep(0.5)
    images = {name: read_header(studies / f"{name}.nii.gz").spatial_shape for name in labels}
    heard, over = Heard(), threading.Event()
    everybody = [Annotator(number, url, heard, images, labels, over) for number in range(people)]
    for person in everybody:
        person.start()
    end, mib, last = time.monotonic() + 60 * minutes, [], 0.0
    while time.monotonic() < end:
        what = "info during inference" if heard.infers else "info"
        heard.ask(what, "GET", f"{url}/info/")
        if time.monotonic() - last > 2:
            last = time.monotonic()
            rss = psutil.Process(pid).memory_info().rss / 2**20
            mib.append((rss, rss - cached_mib(url)))
        time.sleep(INFO_EVERY_SECONDS)
    over.set()
    for person in everybody:
        person.join(900)
    return heard, mib


def cached_mib(url: str) -> float:
    """Return what the server says that it keeps for the next request, which has its own bounds."""
    lines = requests.get(f"{url}/metrics", timeout=60).text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith("topolabel_cache_bytes{")) / 2**20


def lost(app: Path, heard: Heard) -> int:
    """Return how many labels that were answered 200 are not in the ledger, or not on the disk as they were sent."""
    rows = Ledger.of(app).rows("label")
    kept = {(row.subject, row.body["label"]) for row in rows if "label" in row.body}
    files = {Path(name).name for row in rows for name in row.body.get("files", {}) if (app / name).is_file()}
    names = {name.partition(".")[0] for name in files}
    return sum(each not in kept or each[1] not in names for each in heard.saved)


def report(
    given: argparse.Namespace,
    heard: Heard,
    mib: list[tuple[float, float]],
    lost: int,
    ledger_faults: list[str],
    faults: int,
) -> None:
    """Keep the table."""
    rows = ["| what | answers | median, ms | p95, ms | slowest, ms |", "|---|---:|---:|---:|---:|"]
    for what, seconds in sorted(heard.seconds.items()):
        p95 = statistics.quantiles(seconds, n=20, method="inclusive")[-1] if len(seconds) > 1 else seconds[0]
        figures = (statistics.median(seconds), p95, max(seconds))
        rows.append(f"| {what} | {len(seconds)} | " + " | ".join(f"{1000 * each:.0f}" for each in figures) + " |")
    third = max(1, len(mib) // 3)
    parts = [mib[:third], mib[third : 2 * third] or mib, mib[-third:]]
    medians = [[statistics.median(values) for values in zip(*part, strict=True)] for part in parts]
    memory = ", ".join(f"{rss:.0f} ({rest:.0f})" for rss, rest in medians)
    usual = {code: count for code, count in sorted(heard.statuses.items())}
    told = [
        f"{given.people} annotators for {given.minutes:g} minutes, closed loop. Answers by status: {usual}.",
        f"Labels saved: {len(heard.saved)}, lost: {lost}, faults of the ledger: {len(ledger_faults)}.",
        f"Answers 5xx: {sum(n for code, n in usual.items() if code >= 500)}; faults in the log: {faults}.",
        f"Memory of the server, MiB, medians of thirds, in parentheses without its bounded caches: {memory}.",
        f"The goal for /info/ during inference is {GOAL_MS} ms at p95.",
    ]
    rounded = {what: [round(each, 4) for each in taken] for what, taken in heard.seconds.items()}
    mib = [(round(rss), round(rest)) for rss, rest in mib]
    figures = {"seconds": rounded, "statuses": usual, "mib": mib, "saved": len(heard.saved), "lost": lost}
    command = f"python -m benchmarks.annotators --people {given.people} --minutes {given.minutes:g}"
    keep("annotators", command, figures, "\n".join([*rows, "", *told]))
    for line in sorted({each for each in heard.wrong if "No Train Tasks" not in each})[:10]:
        print(line, file=sys.stderr)


if __name__ == "__main__":
    main()
