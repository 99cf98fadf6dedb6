"""Lower limits of the time of the C++ scan on this processor: arithmetic for many states, memory for few states."""

import ctypes
import functools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks.harness.timing import time_call
from lib.ops.native.build import COMMON_FLAGS, ISA_FLAGS, SOURCES, machine_isa
from lib.ops.selective_scan.native import _problem

CHAINS, TILE = 12, 32
LANES = {"avx512": 16, "avx2": 8, "baseline": 4}
# Multiply-add instructions of one state, token and vector, counted in scan.cpp and scan.h: argument and polynomial of
# the decay, product of the input, recurrence and output.
MULTIPLIES = {"avx512": 1 + 6 + 3, "avx2": 1 + 4 + 3, "baseline": 1 + 12 + 6}


@functools.cache
def open_limits() -> ctypes.CDLL:
    """Compile the micro-kernels with the compiler options of the scan, and load them."""
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "limits.so"
        source = Path(__file__).with_suffix(".cpp")
        compiler = shutil.which(os.environ.get("CXX", "g++")) or "g++"
        flags = (*COMMON_FLAGS, *ISA_FLAGS[machine_isa()], f"-I{SOURCES[0].parent}", "-shared")
        subprocess.run([compiler, *flags, str(source), "-o", str(library)], check=True, capture_output=True)
        return ctypes.CDLL(str(library))


def least_seconds(call: Callable[[], object]) -> float:
    """Return the shortest time of twenty calls."""
    return min(time_call(call) for _ in range(20))


def limits(states: int, elements: int) -> dict[str, float]:
    """Return the lower limits in s of a scan of `elements` tokens times channels, by the limiting resource."""
    library, isa = open_limits(), machine_isa()
    vectors, rounds = elements / LANES[isa], 100_000
    multiply_add = least_seconds(lambda: library.multiply_adds(ctypes.c_int64(rounds))) / (rounds * CHAINS)
    one = torch.ones(1, TILE, LANES[isa])
    rows = torch.ones(1, TILE, 1, states)
    ones = torch.ones(LANES[isa])
    problem, _alive = _problem(
        one, one, None, -torch.ones(LANES[isa], states), rows, rows, ones, ones, one, None, None, False
    )
    walk = least_seconds(lambda: library.walk_tiles(ctypes.byref(problem), ctypes.c_int64(1000))) / (1000 * TILE)
    arrays = torch.ones(3, elements)
    pointers = [ctypes.c_void_p(array.data_ptr()) for array in arrays]
    memory = least_seconds(lambda: library.add_arrays(*pointers, ctypes.c_int64(elements)))
    return {
        "multiply-adds": multiply_add * MULTIPLIES[isa] * states * vectors,
        "states in L1": walk * vectors,
        "memory": memory,
    }
