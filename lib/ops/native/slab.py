"""C++ kernels for slabs of logits: the weighted sum of windows, and the classes between samples."""

import ctypes
from collections.abc import Sequence

import torch
from torch import Tensor

from lib.ops.native.build import call, library

_POINTER, _NUMBER = ctypes.c_void_p, ctypes.c_int64


class _Blend(ctypes.Structure):
    _fields_ = [
        ("window", _POINTER),
        ("slab", _POINTER),
        ("weights", _POINTER * 3),
        *[(name, _NUMBER * size) for name, size in (("sizes", 4), ("from", 4), ("to", 4), ("overlap", 3))],
        ("threads", _NUMBER),
    ]


class _Classes(ctypes.Structure):
    _fields_ = [
        *[(name, _POINTER) for name in ("below", "above", "rows", "columns", "down", "across", "corners", "result")],
        *[(name, _NUMBER) for name in ("K", "X", "Y")],
        *[(name, _NUMBER * 3) for name in ("below_strides", "above_strides")],
        *[(name, _NUMBER) for name in ("height", "width", "threads")],
        ("fraction", ctypes.c_float),
    ]


def supports(*tensors: Tensor) -> bool:
    """Return whether the kernels are built and accept the tensors: on a CPU, float32, and not empty."""
    fit = all(
        tensor.device.type == "cpu" and tensor.dtype == torch.float32 and tensor.numel() > 0 for tensor in tensors
    )
    return fit and bool(library())


def blend(slab: Tensor, window: Tensor, weights: Sequence[Tensor], overlap: Sequence[int]) -> None:
    """Add a weighted window to a slab in place, and overwrite the samples that no earlier window covers.

    Args:
        slab: ``(K, X, Y, Z)``, Y innermost in memory.
        window: ``(K, X, Y, Z)``, Y or Z innermost in memory.
        weights: Weights along X, Y and Z, contiguous, ``(X,)``, ``(Y,)`` and ``(Z,)``.
        overlap: Leading samples along X, Y and Z that earlier windows cover.
    Raises:
        ValueError: If the memory layout is another one.
    """
    pointers = (_POINTER * 3)(*(axis_weights.data_ptr() for axis_weights in weights))
    sizes, strides = (_NUMBER * 4)(*slab.shape), [(_NUMBER * 4)(*tensor.stride()) for tensor in (window, slab)]
    threads = torch.get_num_threads()
    task = _Blend(window.data_ptr(), slab.data_ptr(), pointers, sizes, *strides, (_NUMBER * 3)(*overlap), threads)
    call("blend", slab.dtype, ctypes.byref(task))


def classes(
    below: Tensor, above: Tensor, fraction: float, rows: tuple[Tensor, Tensor], columns: tuple[Tensor, Tensor]
) -> Tensor:
    """Return the class of the largest interpolated logit at positions of a slice between two others.

    Args:
        below: Logits of the slice below, ``(K, X, Y)``, in any memory layout.
        above: Logits of the slice above, ``(K, X, Y)``, in any memory layout.
        fraction: Distance of the slice from `below` towards `above`, in [0, 1].
        rows: Positions along X: index of the sample at or below each position, int64, and the distance towards the next
            sample, float32.
        columns: Positions along Y, in the same form.
    Returns:
        uint8 ``(rows, columns)``.
    """
    height, width = len(rows[0]), len(columns[0])
    corners = torch.empty(below.shape[1:], dtype=torch.uint8)
    result = torch.empty((height, width), dtype=torch.uint8)
    tensors = (below, above, rows[0], columns[0], rows[1], columns[1], corners, result)
    strides = [(_NUMBER * 3)(*logits.stride()) for logits in (below, above)]
    numbers = (height, width, torch.get_num_threads())
    task = _Classes(*(tensor.data_ptr() for tensor in tensors), *below.shape, *strides, *numbers, fraction)
    call("classes", below.dtype, ctypes.byref(task))
    return result
