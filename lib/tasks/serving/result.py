"""What an infer task answers with: a label file as the request wants it, and where its classes lie."""

import os
import tempfile
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lib.data.formats import SUFFIXES
from lib.data.volumes.save import put_volume

RESULT_SUFFIXES = (".nrrd", ".nii.gz", ".nii")
RESULT_DTYPES = ("uint8", "uint16", "int16")


class RequestError(ValueError):
    """Raised for a request that asks for a result that is not offered."""


def first(value: Any) -> Any:
    """Return item 0 of a list: list-valued options arrive whole when a client sends nothing."""
    return value[0] if isinstance(value, list | tuple) and value else value


def result_suffix(request: Mapping[str, Any]) -> str:
    """Return the suffix that a request wants its label file to have; the image's own where it does not say.

    Raises:
        RequestError: If it is not offered.
    """
    asked = first(request.get("result_extension"))
    if asked:
        suffix = asked if str(asked).startswith(".") else f".{asked}"
        if suffix not in RESULT_SUFFIXES:
            raise RequestError(f"result_extension is one of {', '.join(RESULT_SUFFIXES)}, not {asked!r}")
        return suffix
    name = str(request["image"]).lower()
    own = next((s for s in SUFFIXES if name.endswith(s)), "")
    return own if own in RESULT_SUFFIXES else ".nrrd"


def result_dtype(request: Mapping[str, Any]) -> str:
    """Return the type that a request wants its labels to have.

    Raises:
        RequestError: If it is not offered.
    """
    dtype = first(request.get("result_dtype")) or "uint8"
    if dtype not in RESULT_DTYPES:
        raise RequestError(f"result_dtype is one of {', '.join(RESULT_DTYPES)}, not {dtype!r}")
    return dtype


def write_result(label: NDArray[np.uint8], affine: ArrayLike, suffix: str, dtype: str) -> str:
    """Return the path of a new temporary file that holds a label; whoever sends it removes it.

    Args:
        label: On the source grid.
        affine: Of that grid, ``(4, 4)``.
        suffix: One of `RESULT_SUFFIXES`.
        dtype: One of `RESULT_DTYPES`.
    """
    handle, path = tempfile.mkstemp(suffix=suffix)
    os.close(handle)
    put_volume(np.asarray(label, dtype), affine, path)
    return path


def centroids(label: NDArray[np.uint8], values: Mapping[str, int], first_slice: int = 0) -> dict[str, list[str]]:
    """Return the middle voxel of each class that is there.

    Args:
        label: Label values, ``(X, Y)`` or ``(X, Y, Z)``.
        values: The value of each class, by name.
        first_slice: The place of the label's first slice along the third axis, where it is a part of a larger one.
    Returns:
        Voxel indices by name, as strings, which is what OHIF reads.
    """
    found = {}
    for name, value in values.items():
        voxels = np.argwhere(label == value)
        if len(voxels):
            # The centre of a bent tube lies outside it; the voxel nearest to the centre does not.
            nearest = voxels[np.argmin(((voxels - voxels.mean(axis=0)) ** 2).sum(axis=1))]
            nearest[2:] += first_slice
            found[name] = [str(int(index)) for index in nearest]
    return found
