"""Write inference results in the format that a request asks for, and find the centre of each class."""

import os
import tempfile
from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lib.data.formats import PICTURE_SUFFIXES, SUFFIXES
from lib.data.volumes.save import write_temporary_volume

PICTURE = ".png"
RESULT_SUFFIXES = (".nrrd", ".nii.gz", ".nii", PICTURE)
RESULT_DTYPES = ("uint8", "uint16", "int16")


class RequestError(ValueError):
    """Raised if a request asks for a format that is not available."""


def first(value: Any) -> Any:
    """Return the first item of a list: a client that sets no option sends the list of choices, the default first."""
    return value[0] if isinstance(value, list | tuple) and value else value


def result_suffix(request: Mapping[str, Any]) -> str:
    """Return the file suffix that a request asks for, by default the suffix of the image; ``.png`` for any picture.

    Raises:
        RequestError: If the suffix is not one of `RESULT_SUFFIXES`.
    """
    asked = first(request.get("result_extension"))
    if asked:
        suffix = asked if str(asked).startswith(".") else f".{asked}"
        if suffix not in RESULT_SUFFIXES:
            raise RequestError(f"result_extension is one of {', '.join(RESULT_SUFFIXES)}, not {asked!r}")
        return suffix
    name = str(request["image"]).lower()
    if name.endswith(PICTURE_SUFFIXES):
        return PICTURE
    suffix = next((s for s in SUFFIXES if name.endswith(s)), "")
    return suffix if suffix in RESULT_SUFFIXES else ".nrrd"


def result_dtype(request: Mapping[str, Any]) -> str:
    """Return the data type of label values that a request asks for, by default "uint8".

    Raises:
        RequestError: If the type is not one of `RESULT_DTYPES`.
    """
    dtype = first(request.get("result_dtype")) or "uint8"
    if dtype not in RESULT_DTYPES:
        raise RequestError(f"result_dtype is one of {', '.join(RESULT_DTYPES)}, not {dtype!r}")
    return dtype


def write_result(label: NDArray[np.uint8], affine: ArrayLike, suffix: str, dtype: str) -> str:
    """Write a label to a new temporary file and return its path; the caller removes the file.

    Args:
        label: Label values on the source grid, ``(X, Y)`` or ``(X, Y, Z)``.
        affine: Affine of the source grid, ``(4, 4)``, in mm.
        suffix: One of `RESULT_SUFFIXES`.
        dtype: One of `RESULT_DTYPES`.
    Raises:
        RequestError: If a picture is asked for that cannot hold the label.
    """
    if suffix == PICTURE and (dtype == "int16" or label.size != prod(label.shape[:2])):
        found = f"{dtype} values of {label.size // prod(label.shape[:2])} slices"
        raise RequestError(f"a {PICTURE} holds one slice of uint8 or uint16 values, not {found}: ask for .nrrd")
    handle, path = tempfile.mkstemp(suffix=suffix)
    os.close(handle)
    write_temporary_volume(np.asarray(label, dtype), affine, path)
    return path


def centroids(label: NDArray[np.uint8], values: Mapping[str, int], first_slice: int = 0) -> dict[str, list[str]]:
    """Return the voxel of each class that is nearest to the centre of mass of the class.

    Args:
        label: Label values, ``(X, Y)`` or ``(X, Y, Z)``.
        values: Label value of each class by name.
        first_slice: Index of the label's first slice along the third axis, if the label is a part of a volume.
    Returns:
        Voxel indices by name of each class that has voxels; strings, because OHIF reads strings.
    """
    found = {}
    for name, value in values.items():
        voxels = np.argwhere(label == value)
        if len(voxels):
            # The centre of mass of a bent tube lies outside of it, so take the nearest voxel of the tube.
            nearest = voxels[np.argmin(((voxels - voxels.mean(axis=0)) ** 2).sum(axis=1))]
            nearest[2:] += first_slice
            found[name] = [str(int(index)) for index in nearest]
    return found
