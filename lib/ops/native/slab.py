"""The C++ kernels of a slab of logits: windows added up in it, and the classes between its samples."""

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
        *[(name, _NUMBER * size) for name, size in (("sizes", 4), ("from", 4), ("to", 4), ("fresh", 3))],
        ("threads", _NUMBER),
    ]


class _Classes(ctypes.Structure):
    _fields_ = [
        *[(name, _POINTER) for name in ("below", "above", "rows", "columns", "down", "across", "corners", "result")],
        *[(name, _NUMBER) for name in ("K", "X", "Y")],
        *[(name, _NUMBER * 3) for name in ("below_strides", "above_strides")],
        *[(name, _NUMBER) for name in ("height", "width", "threads")],
        ("share", ctypes.c_float),
    ]


def serves(*tensors: Tensor) -> bool:
    """Say whether the kernels can take tensors: on a CPU, in single precision, not empty, and built."""
    known = all(each.device.type == "cpu" and each.dtype == torch.float32 and each.numel() > 0 for each in tensors)
    return known and bool(library())


def blend(slab: Tensor, window: Tensor, weights: Sequence[Tensor], fresh: Sequence[int]) -> None:
    """Add a weighted window to a slab in place, and write where no other has been.

    Args:
        slab: ``(K, X, Y, Z)``, Y innermost in memory.
        window: ``(K, X, Y, Z)``, Y or Z innermost in memory.
        weights: Contiguous, ``(X,)``, ``(Y,)`` and ``(Z,)``.
        fresh: Where along X, Y and Z no other window has been.
    Raises:
        ValueError: If the layouts are others.
    """
    pointers = (_POINTER * 3)(*(each.data_ptr() for each in weights))
    sizes, steps = (_NUMBER * 4)(*slab.shape), [(_NUMBER * 4)(*each.stride()) for each in (window, slab)]
    threads = torch.get_num_threads()
    task = _Blend(window.data_ptr(), slab.data_ptr(), pointers, sizes, *steps, (_NUMBER * 3)(*fresh), threads)
    call("blend", slab.dtype, ctypes.byref(task))


def classes(
    below: Tensor, above: Tensor, share: float, rows: tuple[Tensor, Tensor], columns: tuple[Tensor, Tensor]
) -> Tensor:
    """Return the class of the largest logit at samples of a slice between two others.

    Args:
        below: ``(K, X, Y)`` in any layout.
        above: ``(K, X, Y)`` in any layout.
        share: How far the slice lies towards `above`.
        rows: Along X, the sample before each new one, int64, and how far it lies towards the next, float32.
        columns: The same along Y.
    Returns:
        uint8 ``(rows, columns)``.
    """
    height, width = len(rows[0]), len(columns[0])
    corners = torch.empty(below.shape[1:], dtype=torch.uint8)
    result = torch.empty((height, width), dtype=torch.uint8)
    tensors = (below, above, rows[0], columns[0], rows[1], columns[1], corners, result)
    strides = [(_NUMBER * 3)(*each.stride()) for each in (below, above)]
    numbers = (height, width, torch.get_num_threads())
    task = _Classes(*(each.data_ptr() for each in tensors), *below.shape, *strides, *numbers, share)
    call("classes", below.dtype, ctypes.byref(task))
    return result
