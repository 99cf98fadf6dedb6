"""The kernels compiled for an H100 have no register spills and no unexpected shuffles; no GPU is needed."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="no Triton on this machine")

# Run in a separate process, because the choice of the interpreter is permanent. Prints shuffles and bytes of stack.
COMPILE = """
import json, re, subprocess, sys, tempfile
import triton, triton.language as tl
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from lib.ops.selective_scan import gpu, gpu_kernels

ptxas = triton.knobs.nvidia.ptxas.path
sizes = "batch L E G chunks row group spread span one width".split()
found = {}
for name, chunk, half, adjoint in json.loads(sys.argv[1]):
    options = dict(N=16, ADJOINT=adjoint, SOFTPLUS=True, TERMS=8, DTYPE=tl.float32, T=chunk, W=gpu.CHANNELS)
    kernel = getattr(gpu_kernels, name)
    constants = {key: options[key] for key in kernel.arg_names if key in options}
    narrow = "value u delta weights B C dy y du ddelta".split() if half else []
    types = {key: "*bf16" if key in narrow else "*fp32" for key in kernel.arg_names}
    types.update({key: "i32" for key in sizes if key in types}, **{key: "constexpr" for key in constants})
    types["order"] = "*i32"
    source = ASTSource(kernel, types, constexprs=constants)
    ptx = triton.compile(source, target=GPUTarget("cuda", 90, 32), options={"num_warps": 1}).asm["ptx"]
    with tempfile.NamedTemporaryFile("w", suffix=".ptx") as file:
        file.write(ptx), file.flush()
        command = [ptxas, "-v", "-arch=sm_90a", file.name, "-o", "/dev/null"]
        report = subprocess.run(command, check=True, capture_output=True, text=True).stderr
    stack = int(re.search(r"(\\d+) bytes stack", report)[1])
    found[f"{name} {chunk} {half} {adjoint}"] = len(re.findall("shfl", ptx)), stack
print(json.dumps(found))
"""


def compile_kernels(kernels: list[tuple[str, int, bool, bool]], cache: Path) -> dict[str, list[int]]:
    environment = {**os.environ, "PYTHONPATH": ".", "TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(cache)}
    command = [sys.executable, "-c", COMPILE, json.dumps(kernels)]
    run = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def test_scans_have_no_shuffles_and_no_spills(tmp_path: Path) -> None:
    """A shuffle or a spill in a scan would show that the compiler does not keep one channel per lane."""
    scans = [("chunk_ends", 32, False, False), ("chunk_ends", 16, False, True), ("scan_chunks", 32, False, False)]
    halves = [("scan_chunks", 32, True, False), ("scan_chunks", 16, True, False)]
    found = compile_kernels([*scans, *halves], tmp_path)
    assert len(found) == 5 and all(counts == [0, 0] for counts in found.values()), found


def test_the_gradient_has_shuffles_only_for_sums_over_channels(tmp_path: Path) -> None:
    found = compile_kernels([("differentiate_chunks", 16, half, False) for half in (False, True)], tmp_path)
    # dB and dC of 16 tokens; five exchanges sum 32 lanes.
    assert len(found) == 2 and all(counts == [2 * 16 * 5, 0] for counts in found.values()), found
