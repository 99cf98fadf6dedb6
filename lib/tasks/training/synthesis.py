"""Images that a diffusion model makes for a task's student: learned from the training part alone, copies left out."""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lib.data.cases import Case, find_cases
from lib.data.patches.dataset import PatchDataset
from lib.data.patches.label_maps import Maps, maps_of, phantom_maps
from lib.data.phantom import PARTS
from lib.data.pipeline import ImageSpec, read
from lib.jobs.recorded import recorded
from lib.learning import synthetic
from lib.learning.loop import fit
from lib.learning.loop.progress import Report
from lib.learning.recipes.synthesise import Synthesise
from lib.models.denoiser import Denoiser
from lib.models.inference.engine import device_of
from lib.records.split import HELD_OUT, TRAIN, FrozenSplit
from lib.records.versions import new_name
from lib.tasks.serving.weights import shelf
from lib.tasks.spec import SEGMENTATION, SpecError, TaskSpec, load_app, require_kind

FOLDER = "synthetic"
"""Beside a task's versions."""
PHANTOM, LABELS = "phantom", "labels"
PER_CASE = 8


def synthetic_cases(app_dir: str | Path, task: TaskSpec) -> list[Case]:
    """Return the images that were made for a task, without their labels: a teacher says what they show."""
    folder = shelf(app_dir, task).root / FOLDER / synthetic.CASES
    return [replace(case, label=None) for case in find_cases(folder)] if folder.is_dir() else []


def synthesise(
    app_dir: str | Path,
    name: str,
    studies: str | Path,
    *,
    count: int,
    seed: int = 0,
    maps: str = PHANTOM,
    options: Mapping[str, Any] | None = None,
    device: str | torch.device | None = None,
    report: Report | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Teach a diffusion model a task's images under their labels, and make new ones; they replace those made before.

    Args:
        app_dir: The app's folder.
        name: The task: one that sees slices.
        studies: Folder of images with labels; of them the training part is learned from.
        count: Images to make.
        seed: Of maps and noise.
        maps: "phantom": label maps of procedural airways; "labels": those of the cases, mirrored at random.
        options: Of the recipe.
        device: Where to train.
        report: Told of every step.
        progress: Told of images made, and of all.
    Returns:
        What `lib.learning.synthetic.write` reports, and the folder.
    Raises:
        ValueError: If the task or the labels will not do, with the reason.
    """
    app = load_app(app_dir)
    task = app.task(name)
    _check(task, maps)
    place, spec = shelf(app_dir, task), synthetic.neighbours(task.image)
    cases = [case for case in find_cases(studies, pattern=app.patient_pattern) if case.label]
    split = FrozenSplit(place.ledger, held_out_patients=app.held_out_patients).assign(cases)
    if len({case.patient for case in split[TRAIN]}) < 2:
        raise ValueError("two patients at least must be learned from, or nothing tells a copy: submit more labels")
    device = device_of(device)
    recipe = Synthesise.from_options(dict(options or {}))
    folder, run = place.root / FOLDER, new_name()
    with recorded(place.ledger, task.name, run, kind="synthesise") as job:
        torch.manual_seed(recipe.seed)
        network = Denoiser(slices=len(spec.slice_offsets), classes=len(task.labels) + 1)
        patches = PatchDataset(
            split[TRAIN],
            spec,
            classes=len(task.labels) + 1,
            patches_per_epoch=recipe.patches_per_epoch,
            seed=recipe.seed,
            augment=recipe.augmentation(),
        )
        workdir = place.root / "runs" / run
        told = fit(recipe, network, patches, None, workdir=workdir, device=device, progress=report, track=False)
        network.load_state_dict(told.state_dict)
        learned, unseen = (_maps(split[part], spec) for part in (TRAIN, HELD_OUT))
        given = _given(maps, count, seed, spec, len(task.labels), learned)
        made = synthetic.make(
            network, given, learned, unseen if len(unseen.images) else None, seed=seed, progress=progress
        )
        partial = folder.with_name(f".{FOLDER}-{run}")
        answer = synthetic.write(made, spec, partial, learned)
        shutil.rmtree(folder, ignore_errors=True)
        partial.replace(folder)
        shutil.rmtree(workdir, ignore_errors=True)
        job |= {"made": answer["made"], "kept": answer["kept"]}
    return answer | {"folder": str(folder), "picture": str(folder / synthetic.PICTURE)}


def _check(task: TaskSpec, maps: str) -> None:
    require_kind(task, SEGMENTATION, "make images")
    if task.dimension != 2:
        raise SpecError(f"task '{task.name}': images are made slice by slice, for tasks that segment slices")
    if maps not in (PHANTOM, LABELS):
        raise ValueError(f"maps are '{PHANTOM}' or '{LABELS}', not '{maps}'")
    if maps == PHANTOM and task.labels != PARTS and len(task.labels) != 1:
        raise ValueError(f"phantoms have the labels {', '.join(PARTS)}, or one for all: take the maps '{LABELS}'")


def _maps(cases: list[Case], spec: ImageSpec) -> Maps:
    return maps_of(((case.patient, read(case.image, spec, case.label)) for case in cases), spec, per_case=PER_CASE)


def _given(
    maps: str, count: int, seed: int, spec: ImageSpec, classes: int, learned: Maps
) -> np.ndarray[Any, np.dtype[np.uint8]]:
    if maps == PHANTOM:
        return phantom_maps(count, seed, spec, united=classes == 1).labels
    rng = np.random.default_rng(seed)
    drawn = learned.labels[rng.choice(len(learned.labels), count, replace=count > len(learned.labels))]
    mirrored = rng.random(count) < 0.5
    return np.where(mirrored[:, None, None], drawn[:, ::-1], drawn)
