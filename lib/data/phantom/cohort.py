"""Write a procedural cohort as a studies folder of MONAI Label."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import nibabel as nib
import numpy as np
import torch

from lib.data.phantom.case import PhantomCase, make_case
from lib.data.phantom.picture import draw_cohort

_PICTURED = 6

ABOUT = "about"
"""Subfolder for the files that are not cases; MONAI Label would take a picture beside the cases for a study."""


def case_seed(seed: int, index: int) -> int:
    """Return the seed of one case of a cohort."""
    return int(np.random.SeedSequence([seed, index]).generate_state(1, np.uint32)[0])


def write_cohort(
    out: Path | str,
    *,
    count: int,
    seed: int,
    progress: Callable[[int, int], None] | None = None,
    processes: int | None = None,
    **options: object,
) -> list[Path]:
    """Write `count` cases with labels, ``about/topology.json`` and ``about/cohort.png``.

    Args:
        out: Output folder, for ``phantom_0000.nii.gz``, ``labels/final/phantom_0000.nii.gz`` and so on.
        count: Number of cases.
        seed: Seed of the cohort; a case depends only on this seed and the index of the case.
        progress: Called with the number of finished cases and the number of all cases.
        processes: Number of worker processes; None starts one per processor.
        **options: Keyword arguments of `make_case`.
    Returns:
        The image paths.
    """
    folder = Path(out)
    (folder / "labels" / "final").mkdir(parents=True, exist_ok=True)
    records: dict[str, dict[str, object]] = {}
    pictured: list[PhantomCase] = []
    work = partial(_make_and_write, folder=folder, seed=seed, options=options)
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        for done, (name, record, case) in enumerate(pool.map(work, range(count)), 1):
            records[name] = record
            pictured += [case] if case is not None else []
            if progress is not None:
                progress(done, count)
    (folder / ABOUT).mkdir(exist_ok=True)
    (folder / ABOUT / "topology.json").write_text(json.dumps(records, indent=1))
    draw_cohort(pictured, folder / ABOUT / "cohort.png")
    return [folder / f"{name}.nii.gz" for name in records]


def _make_and_write(
    index: int, *, folder: Path, seed: int, options: dict[str, object]
) -> tuple[str, dict[str, object], PhantomCase | None]:
    torch.set_num_threads(1)
    name = f"phantom_{index:04d}"
    case = make_case(case_seed(seed, index), **options)  # type: ignore[arg-type]
    save(case.image, case.affine, folder / f"{name}.nii.gz")
    save(case.label, case.affine, folder / "labels" / "final" / f"{name}.nii.gz")
    record = case.topology | {"centreline": case.centreline}
    return name, record, case if index < _PICTURED else None


def save(array: np.ndarray, affine: np.ndarray, path: Path) -> None:
    """Write an array as NIfTI in mm, with its dtype."""
    image = nib.Nifti1Image(array, affine, dtype=array.dtype)  # type: ignore[arg-type]
    image.header.set_xyzt_units("mm")
    image.set_sform(affine, 1)
    image.set_qform(affine, 1)
    nib.save(image, path)
