"""Run an experiment: every arm with every number of labels and every seed; store each run as it ends."""

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
from lib.learning.experiment.arms import ArmTrainer
from lib.learning.experiment.plan import Plan
from lib.learning.experiment.pool import load_pool
from lib.learning.experiment.report import TEACHER, Score, report
from lib.learning.loop.validation import mean_score
from lib.models.inference.engine import select_device

Progress = Callable[[int, int], None]


def run(
    plan: Plan,
    out: Path,
    *,
    at_once: int = 1,
    device: str | torch.device | None = None,
    progress: Progress = lambda done, of: None,
) -> dict[str, Any]:
    """Run the missing runs of an experiment and write ``table.md``, ``findings.json`` and ``curves.png``.

    Args:
        plan: The experiment.
        out: Output folder; runs of the same plan that it already holds are not repeated.
        at_once: Number of parallel processes, which share the threads of the processor or the GPU.
        device: Device on which networks run; None takes a GPU if there is one.
        progress: Called after every unit with (runs done, runs in all).
    Returns:
        The findings.
    Raises:
        ValueError: If the folder holds another experiment.
    """
    runs = Runs(out, plan.as_dict())
    # Run as many seeds in parallel as there are processes. Then each process makes the shared networks of its own seed,
    # and no process waits for another one.
    units = [(seed, labels) for seed in range(plan.seeds) for labels in sorted(plan.labels)]
    units.sort(key=lambda unit: (unit[0] // at_once, unit[1]))
    arms = (TEACHER, *plan.arms)
    total = len(units) * len(arms)
    progress(len(runs.all()), total)
    missing = [unit for unit in units if any(runs.get(_run_name(arm, unit[1], unit[0])) is None for arm in arms)]
    load_pool(plan, out / "data")
    threads = max(1, (os.cpu_count() or 1) // at_once)
    with ProcessPoolExecutor(
        at_once, mp_context=get_context("spawn"), initializer=torch.set_num_threads, initargs=(threads,)
    ) as pool:
        jobs = [pool.submit(_run_unit, plan, out, seed, labels, select_device(device)) for seed, labels in missing]
        try:
            for job in as_completed(jobs):
                job.result()
                progress(len(runs.all()), total)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    shutil.rmtree(out / "shared", ignore_errors=True)
    return report(scores(runs), plan, out)


def scores(runs: Runs) -> list[Score]:
    """Return the scores of the finished runs."""
    results = runs.all().values()
    return [Score(run["arm"], run["labels"], run["seed"], run["dice"], run["seconds"]) for run in results]


def _run_name(arm: str, labels: int, seed: int) -> str:
    return f"{arm}-{labels}-{seed}"


def _copy_synthesis_reports(out: Path) -> None:
    """Copy the reports and pictures of the synthetic images to `out`, because the folder ``shared`` is removed."""
    for folder in sorted((out / "shared").glob("synthetic-*/")):
        for name in (synthetic.REPORT, synthetic.PICTURE):
            if (folder / name).is_file():
                shutil.copy(folder / name, out / f"{folder.name}{Path(name).suffix}")


def _run_unit(plan: Plan, out: Path, seed: int, labels: int, device: torch.device) -> None:
    """Train and score the teacher and all arms of one seed and one number of labels."""
    np.random.seed(seed)
    runs, shared = Runs(out, plan.as_dict()), out / "shared"
    shared.mkdir(exist_ok=True)
    device_name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    trainer = ArmTrainer(plan, load_pool(plan, out / "data"), seed, shared, device)
    for arm in (TEACHER, *plan.arms):
        if runs.get(_run_name(arm, labels, seed)) is not None:
            continue
        began = time.monotonic()
        network = trainer.tuned_teacher(labels) if arm == TEACHER else trainer.train_student(arm, labels)
        seconds = time.monotonic() - began
        cases = trainer.score(network, teacher=arm == TEACHER)
        result = {"arm": arm, "labels": labels, "seed": seed, "dice": mean_score(cases), "seconds": seconds}
        runs.put(_run_name(arm, labels, seed), result | {"device": device_name, "cases": cases})
    _copy_synthesis_reports(out)
