"""Build the C++ kernels once for the vector units of this machine, and load them."""

import ctypes
import functools
import hashlib
import logging
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import torch

logger = logging.getLogger(__name__)

SOURCES = tuple(sorted(Path(__file__).parent.glob("*.[ch]*")))
ISA_FLAGS = {
    "avx512": ("-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512dq", "-mfma", "-mprefer-vector-width=512"),
    "avx2": ("-mavx2", "-mfma"),
    "baseline": (),
}
COMMON_FLAGS = (
    "-std=c++17",
    "-O3",
    "-ffp-contract=fast",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-fPIC",
    "-fopenmp",
    "-Wno-psabi",
)


def machine_isa() -> str:
    """Return the widest vector units that torch detects on this machine: ``avx512``, ``avx2`` or ``baseline``."""
    return {"AVX512": "avx512", "AVX2": "avx2"}.get(torch.backends.cpu.get_cpu_capability(), "baseline")


def cache_dir() -> Path:
    """Return the folder of the builds, in the cache folder of the user."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "topolabel" / "native"


def build(isa: str, folder: Path | None = None) -> Path:
    """Compile the kernels, unless their library exists, and replace the file atomically.

    Args:
        isa: A key of `ISA_FLAGS`.
        folder: Folder of the library; None for `cache_dir`.
    Returns:
        Path of the shared library.
    Raises:
        OSError: If there is no compiler or the folder cannot be written.
        subprocess.CalledProcessError: If the compiler fails; ``stderr`` holds its messages.
    """
    compiler = shutil.which(os.environ.get("CXX", "g++"))
    if compiler is None:
        raise FileNotFoundError("no C++ compiler: install g++, or set CXX to a compiler")
    recipe = repr((compiler, COMMON_FLAGS, ISA_FLAGS[isa])).encode()
    digest = hashlib.sha256(b"\0".join([recipe, *(path.read_bytes() for path in SOURCES)])).hexdigest()[:16]
    folder = folder or cache_dir()
    library = folder / f"kernels-{isa}-{digest}.so"
    if library.exists():
        return library
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as work:
        partial = Path(work) / library.name
        sources = [str(path) for path in SOURCES if path.suffix == ".cpp"]
        link = () if _torch_openmp() else ("-lgomp",)
        # Compile with OpenMP but link without it, so that the copy of torch is used: two thread pools would compete.
        command = [compiler, *COMMON_FLAGS, *ISA_FLAGS[isa], "-c", *sources]
        subprocess.run(command, check=True, capture_output=True, text=True, cwd=work)
        command = [compiler, "-shared", *(f"{Path(source).stem}.o" for source in sources), "-o", partial.name, *link]
        subprocess.run(command, check=True, capture_output=True, text=True, cwd=work)
        os.replace(partial, library)
    return library


def _torch_openmp() -> Path | None:
    return next(iter(Path(torch.__file__).parent.glob("lib/libgomp*")), None)


@functools.cache
def open_library(isa: str) -> ctypes.CDLL:
    """Build the library if necessary and load it; the errors are those of `build`."""
    if openmp := _torch_openmp():
        ctypes.CDLL(str(openmp), ctypes.RTLD_GLOBAL)
    return ctypes.CDLL(str(build(isa)))


@functools.cache
def library() -> ctypes.CDLL | None:
    """Return the library for this machine; if it cannot be built, return None and log one warning."""
    try:
        return open_library(machine_isa())
    except (OSError, subprocess.CalledProcessError) as error:
        reason = getattr(error, "stderr", None) or error
        logger.warning(
            "C++ kernels not built, PyTorch is used and is several times slower: %s", str(reason).strip()[:300]
        )
        return None


def call(name: str, dtype: torch.dtype, *arguments: object) -> None:
    """Run a kernel of the library for this machine.

    Args:
        name: Name of the function, without the suffix for its dtype.
        dtype: float32 or float64.
        arguments: Pointers and integers as ctypes objects.
    Raises:
        ValueError: If the kernel does not support the sizes or the memory layout.
    """
    suffix = {torch.float32: "f32", torch.float64: "f64"}[dtype]
    if getattr(open_library(machine_isa()), f"{name}_{suffix}")(*arguments):
        raise ValueError(f"kernel {name} does not support these sizes or this memory layout")
