"""What the compiler makes of the kernels for an H100, on any machine: that is where their speed is decided."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="no Triton on this machine")

# In a process of its own, because the interpreter, once chosen, stays; prints the shuffles and the bytes of stack.
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
    constants = {each: options[each] for each in kernel.arg_names if each in options}
    narrow = "value u delta weights B C dy y du ddelta".split() if half else []
    types = {each: "*bf16" if each in narrow else "*fp32" for each in kernel.arg_names}
    types.update({each: "i32" for each in sizes if each in types}, **{each: "constexpr" for each in constants})
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


def compiled(kernels: list[tuple[str, int, bool, bool]], cache: Path) -> dict[str, list[int]]:
    environment = {**os.environ, "PYTHONPATH": ".", "TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(cache)}
    command = [sys.executable, "-c", COMPILE, json.dumps(kernels)]
    run = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def test_tokens_stay_within_a_lane_and_tiles_within_its_registers(tmp_path: Path) -> None:
    """One shuffle in a scan, or a spill, would show that the compiler laid the tile out otherwise."""
    scans = [("chunk_ends", 32, False, False), ("chunk_ends", 16, False, True), ("scan_chunks", 32, False, False)]
    halves = [("scan_chunks", 32, True, False), ("scan_chunks", 16, True, False)]
    found = compiled([*scans, *halves], tmp_path)
    assert len(found) == 5 and all(counts == [0, 0] for counts in found.values()), found


def test_the_gradient_shuffles_for_its_sums_over_channels_only(tmp_path: Path) -> None:
    found = compiled([("differentiate_chunks", 16, half, False) for half in (False, True)], tmp_path)
    # dB and dC of 16 tokens, five exchanges to add up 32 lanes.
    assert len(found) == 2 and all(counts == [2 * 16 * 5, 0] for counts in found.values()), found
