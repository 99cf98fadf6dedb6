"""Train a diffusion model on a task's training part and generate images for its student, without copies."""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lib.data.cases import Case, find_cases
from lib.data.intensity import WINDOW
from lib.data.labels.coverage import covers
from lib.data.patches.dataset import PatchDataset
from lib.data.patches.label_maps import LabelMaps, case_maps, phantom_maps
from lib.data.phantom import PARTS
from lib.data.pipeline import ImageSpec, read
from lib.jobs.job_record import record_job
from lib.learning import synthetic
from lib.learning.loop import fit
from lib.learning.loop.progress import ProgressCallback
from lib.learning.recipes.synthesise import Synthesise
from lib.models.denoiser import Denoiser
from lib.models.inference.engine import select_device
from lib.records.labels import LabelVersions
from lib.records.split import HELD_OUT, TRAIN, FrozenSplit
from lib.records.versions import new_name
from lib.tasks.serving.weights import open_task_versions
from lib.tasks.spec import SEGMENTATION, SpecError, TaskSpec, load_app, require_kind
from lib.tasks.training.checked_cases import check_cases

FOLDER = "synthetic"
"""Folder of the generated images, beside a task's versions."""
PHANTOM, LABELS = "phantom", "labels"
PER_CASE = 8
"""Number of label maps per case."""


def synthetic_cases(app_dir: str | Path, task: TaskSpec) -> list[Case]:
    """Return the images generated for a task, without labels: the student learns from the teacher's outputs on them."""
    folder = open_task_versions(app_dir, task).root / FOLDER / synthetic.CASES
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
    report: ProgressCallback | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Train a diffusion model on a task's images and labels, and generate images that replace the former ones.

    Args:
        app_dir: The app's folder.
        name: Name of the task, which must segment slices.
        studies: Folder of images with labels; only the training part is used for training.
        count: Number of images to generate.
        seed: Random seed of label maps and noise.
        maps: Source of the label maps: "phantom", procedural airways; "labels", the cases' labels, mirrored at random
            where the task may mirror.
        options: Options of the recipe.
        device: Device to train on; None takes a GPU if there is one.
        report: Called with the progress of the training after each step.
        progress: Called with (images generated, images in all).
    Returns:
        The report of `lib.learning.synthetic`, and the paths of the folder and of the overview picture.
    Raises:
        ValueError: If the task or the labels are not suitable, with the reason.
    """
    app = load_app(app_dir)
    task = app.task(name)
    _check(task, maps)
    versions, spec = open_task_versions(app_dir, task), synthetic.contiguous_slices(task.image)
    labels = LabelVersions(app_dir, versions.ledger, app.tasks[0].labels)
    found = check_cases(app, labels, app.find_cases(studies))
    # A label map with classes that were not drawn would teach images without them.
    cases = [case for case in found if case.label and all(covers(case.covered, task.labels))]
    split = FrozenSplit(versions.ledger, held_out_patients=app.held_out_patients).assign(cases)
    if len({case.patient for case in split[TRAIN]}) < 2:
        raise ValueError(
            "the training part has labels of fewer than 2 patients, so copies cannot be detected: submit more labels"
        )
    device = select_device(device)
    recipe = Synthesise.from_options(dict(options or {}))
    folder, run = versions.root / FOLDER, new_name()
    with record_job(versions.ledger, task.name, run, kind="synthesise") as job:
        torch.manual_seed(recipe.seed)
        network = Denoiser(slices=len(spec.slice_offsets), classes=len(task.labels) + 1)
        patches = PatchDataset(
            split[TRAIN],
            spec,
            classes=len(task.labels) + 1,
            patches_per_epoch=recipe.patches_per_epoch,
            seed=recipe.seed,
            augment=recipe.augmentation(task.mirroring),
        )
        workdir = versions.root / "runs" / run
        result = fit(recipe, network, patches, None, workdir=workdir, device=device, progress=report, track=False)
        network.load_state_dict(result.state_dict)
        learned, unseen = (_read_maps(split[part], spec) for part in (TRAIN, HELD_OUT))
        given = _choose_maps(maps, count, seed, spec, task, learned)
        made = synthetic.generate(
            network, given, learned, unseen if len(unseen.images) else None, seed=seed, progress=progress
        )
        partial = folder.with_name(f".{FOLDER}-{run}")
        answer = synthetic.write_cases(made, spec, partial, learned)
        shutil.rmtree(folder, ignore_errors=True)
        partial.replace(folder)
        shutil.rmtree(workdir, ignore_errors=True)
        job |= {"made": answer["made"], "kept": answer["kept"]}
    return answer | {"folder": str(folder), "picture": str(folder / synthetic.PICTURE)}


def _check(task: TaskSpec, maps: str) -> None:
    require_kind(task, SEGMENTATION, "generate images")
    if task.dimension != 2:
        raise SpecError(f"task '{task.name}' segments volumes; generated images are slices: name a task with a 2-D roi")
    if task.image.intensity != WINDOW or task.image.channel_count != 1:
        raise SpecError(
            f"task '{task.name}' reads images by intensity = '{task.image.intensity}'; generated images need one "
            f"channel and intensity = '{WINDOW}', which says what a generated value stands for"
        )
    if maps not in (PHANTOM, LABELS):
        raise ValueError(f"maps is '{maps}'; it must be '{PHANTOM}' or '{LABELS}'")
    if maps == PHANTOM and task.labels != PARTS and len(task.labels) != 1:
        raise ValueError(
            f"task '{task.name}' has other labels than the phantoms ({', '.join(PARTS)}, or one for all): "
            f"choose the maps '{LABELS}'"
        )


def _read_maps(cases: list[Case], spec: ImageSpec) -> LabelMaps:
    return case_maps(((case.patient, read(case.image, spec, case.label)) for case in cases), spec, per_case=PER_CASE)


def _choose_maps(
    maps: str, count: int, seed: int, spec: ImageSpec, task: TaskSpec, learned: LabelMaps
) -> np.ndarray[Any, np.dtype[np.uint8]]:
    if maps == PHANTOM:
        return phantom_maps(count, seed, spec, united=len(task.labels) == 1).labels
    rng = np.random.default_rng(seed)
    drawn = learned.labels[rng.choice(len(learned.labels), count, replace=count > len(learned.labels))]
    mirrored = rng.random(count) < 0.5
    if task.mirroring is None:
        return drawn
    mirror_image = task.mirroring.exchange_labels(torch.from_numpy(drawn).flip(1)).numpy()
    return np.where(mirrored[:, None, None], mirror_image, drawn)
