"""What bounds the C++ scan on this processor: arithmetic where states are many, memory where they are few."""

import ctypes
import functools
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from lib.ops.native.build import COMMON, FLAGS, SOURCES, machine_isa
from lib.ops.selective_scan.native import _problem

CHAINS, TILE = 12, 32
LANES = {"avx512": 16, "avx2": 8, "baseline": 4}
# Instructions of one state, token and vector that only the multiply-add units can take, counted in scan.cpp and scan.h:
# the decay's argument and polynomial, the input's product, the recurrence and the answer.
MULTIPLIES = {"avx512": 1 + 6 + 3, "avx2": 1 + 4 + 3, "baseline": 1 + 12 + 6}


@functools.cache
def open_limits() -> ctypes.CDLL:
    """Compile the micro-kernels as the scan itself is compiled, and open them."""
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "limits.so"
        source = Path(__file__).with_suffix(".cpp")
        compiler = shutil.which(os.environ.get("CXX", "g++")) or "g++"
        flags = (*COMMON, *FLAGS[machine_isa()], f"-I{SOURCES[0].parent}", "-shared")
        subprocess.run([compiler, *flags, str(source), "-o", str(library)], check=True, capture_output=True)
        return ctypes.CDLL(str(library))


def seconds(call: Callable[[], object]) -> float:
    """Return the least time of twenty calls: a limit is what the machine can do."""
    taken = []
    for _ in range(20):
        begin = time.perf_counter()
        call()
        taken.append(time.perf_counter() - begin)
    return min(taken)


def limits(states: int, elements: int) -> dict[str, float]:
    """Return the least seconds a scan of `elements` tokens times channels can take, by what limits it."""
    library, isa = open_limits(), machine_isa()
    vectors, rounds = elements / LANES[isa], 100_000
    multiply_add = seconds(lambda: library.multiply_adds(ctypes.c_int64(rounds))) / (rounds * CHAINS)
    one = torch.ones(1, TILE, LANES[isa])
    rows = torch.ones(1, TILE, 1, states)
    ones = torch.ones(LANES[isa])
    problem, _alive = _problem(
        one, one, None, -torch.ones(LANES[isa], states), rows, rows, ones, ones, one, None, None, False
    )
    walk = seconds(lambda: library.walk_tiles(ctypes.byref(problem), ctypes.c_int64(1000))) / (1000 * TILE)
    arrays = torch.ones(3, elements)
    pointers = [ctypes.c_void_p(each.data_ptr()) for each in arrays]
    memory = seconds(lambda: library.add_arrays(*pointers, ctypes.c_int64(elements)))
    return {
        "multiply-adds": multiply_add * MULTIPLIES[isa] * states * vectors,
        "states in L1": walk * vectors,
        "memory": memory,
    }
