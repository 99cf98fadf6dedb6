"""Run an experiment: every arm with every number of labels and every seed, each kept as it ends."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lib.data.files.runs import Runs
from lib.learning import synthetic
from lib.learning.experiment.lessons import Lessons
from lib.learning.experiment.plan import Plan
from lib.learning.experiment.pool import load_pool
from lib.learning.experiment.report import TEACHER, Score, report
from lib.learning.loop.validation import mean_score
from lib.models.inference.engine import device_of

Progress = Callable[[int, int], None]


def run(
    plan: Plan,
    out: Path,
    *,
    at_once: int = 1,
    device: str | torch.device | None = None,
    progress: Progress = lambda done, of: None,
) -> dict[str, Any]:
    """Run whatever is missing, and write ``table.md``, ``findings.json`` and ``curves.png``.

    Args:
        plan: The experiment.
        out: Folder to fill; what it holds of the same plan is not run again.
        at_once: Processes side by side, which share the processor's threads, or the GPU.
        device: Where networks run; None takes a GPU if there is one.
        progress: Told of runs done, and of all.
    Returns:
        The findings.
    Raises:
        ValueError: If the folder holds another experiment.
    """
    kept = Runs(out, plan.as_dict())
    # As many seeds side by side as processes: what a seed's arms share is made by one of them, and nobody waits for it.
    units = [(seed, labels) for seed in range(plan.seeds) for labels in sorted(plan.labels)]
    units.sort(key=lambda unit: (unit[0] // at_once, unit[1]))
    arms = (TEACHER, *plan.arms)
    total = len(units) * len(arms)
    progress(len(kept.all()), total)
    missing = [unit for unit in units if any(kept.get(_name(arm, unit[1], unit[0])) is None for arm in arms)]
    load_pool(plan, out / "data")
    threads = max(1, (os.cpu_count() or 1) // at_once)
    with ProcessPoolExecutor(
        at_once, mp_context=get_context("spawn"), initializer=torch.set_num_threads, initargs=(threads,)
    ) as pool:
        jobs = [pool.submit(_unit, plan, out, seed, labels, device_of(device)) for seed, labels in missing]
        try:
            for job in as_completed(jobs):
                job.result()
                progress(len(kept.all()), total)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    shutil.rmtree(out / "shared", ignore_errors=True)
    return report(scores(kept), plan, out)


def scores(kept: Runs) -> list[Score]:
    """Return what the runs that ended were judged at."""
    told = kept.all().values()
    return [Score(each["arm"], each["labels"], each["seed"], each["dice"], each["seconds"]) for each in told]


def _name(arm: str, labels: int, seed: int) -> str:
    return f"{arm}-{labels}-{seed}"


def _keep_pictures(out: Path) -> None:
    """Keep what was made beside real images, and how near it lies to them; the rest of what runs share goes."""
    for folder in sorted((out / "shared").glob("synthetic-*/")):
        for name in (synthetic.REPORT, synthetic.PICTURE):
            if (folder / name).is_file():
                shutil.copy(folder / name, out / f"{folder.name}{Path(name).suffix}")


def _unit(plan: Plan, out: Path, seed: int, labels: int, device: torch.device) -> None:
    """Run the teacher and all arms of one seed and one number of labels."""
    np.random.seed(seed)
    kept, shared = Runs(out, plan.as_dict()), out / "shared"
    shared.mkdir(exist_ok=True)
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    lessons = Lessons(plan, load_pool(plan, out / "data"), seed, shared, device)
    for arm in (TEACHER, *plan.arms):
        if kept.get(_name(arm, labels, seed)) is not None:
            continue
        began = time.monotonic()
        network = lessons.teacher(labels) if arm == TEACHER else lessons.teach(arm, labels)
        seconds = time.monotonic() - began
        cases = lessons.judge(network, teacher=arm == TEACHER)
        told = {"arm": arm, "labels": labels, "seed": seed, "dice": mean_score(cases), "seconds": seconds}
        kept.put(_name(arm, labels, seed), told | {"device": where, "cases": cases})
    _keep_pictures(out)
