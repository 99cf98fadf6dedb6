"""Split images whose channels lie behind each other in one file, as the Medical Segmentation Decathlon stores them."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np

from lib.data.cases import Case
from lib.data.files.atomic import replacing
from lib.planning.collect import Collection


def unstack(
    found: Collection, folder: Path, progress: Callable[[int, int], None] = lambda done, total: None
) -> Collection:
    """Return a collection in which each channel of a case has a file of its own, in the type of the source.

    Args:
        found: A collection; one without stacked channels is returned unchanged.
        folder: Folder of the new files.
        progress: Called with the number of cases done and their total.
    Raises:
        ValueError: If an image has another number of channels than the data set says.
    """
    if not found.stacked:
        return found
    files: dict[str, dict[str, Path]] = {name: {} for name in found.stacked}
    cases: list[Case] = []
    for done, case in enumerate(found.cases, start=1):
        image = nib.load(case.image)
        if not isinstance(image, nib.Nifti1Image):
            raise ValueError(f"'{case.image.name}' is no NIfTI file, and only those have channels behind each other")
        count = image.shape[3] if len(image.shape) == 4 else 1
        if count != len(found.stacked):
            raise ValueError(f"'{case.image.name}' has {count} channels, and its data set names {len(found.stacked)}")
        voxels = np.asanyarray(image.dataobj)
        for number, name in enumerate(found.stacked):
            files[name][case.id] = _write(image, voxels[..., number], folder / f"{number}" / f"{case.id}.nii.gz")
        cases.append(replace(case, image=files[found.stacked[0]][case.id]))
        progress(done, len(found.cases))
    further = {name: files[name] for name in found.stacked[1:]}
    return replace(found, cases=tuple(cases), channels=further, stacked=())


def _write(image: nib.Nifti1Image, voxels: np.ndarray, path: Path) -> Path:
    header = image.header.copy()
    header.set_data_shape(voxels.shape)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as partial:
        nib.save(nib.Nifti1Image(voxels, image.affine, header), partial)
    return path
