"""Build the C++ kernels for this machine's vector units, once, and open them."""

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
FLAGS = {
    "avx512": ("-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512dq", "-mfma", "-mprefer-vector-width=512"),
    "avx2": ("-mavx2", "-mfma"),
    "baseline": (),
}
COMMON = (
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
    """Return the widest vector units that torch found on this machine: ``avx512``, ``avx2`` or ``baseline``."""
    return {"AVX512": "avx512", "AVX2": "avx2"}.get(torch.backends.cpu.get_cpu_capability(), "baseline")


def cache_dir() -> Path:
    """Return where builds are kept, the user's cache folder."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "topolabel" / "native"


def build(isa: str, folder: Path | None = None) -> Path:
    """Compile the kernels unless it is there, atomically.

    Args:
        isa: A key of `FLAGS`.
        folder: Where to keep it; the user's cache by default.
    Returns:
        The shared library.
    Raises:
        OSError: If there is no compiler or the folder cannot be written.
        subprocess.CalledProcessError: If the compiler fails; ``stderr`` says why.
    """
    compiler = shutil.which(os.environ.get("CXX", "g++"))
    if compiler is None:
        raise FileNotFoundError("no C++ compiler (g++, or what CXX names)")
    recipe = repr((compiler, COMMON, FLAGS[isa])).encode()
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
        # Compiled with OpenMP but linked without: torch's own copy serves, and one pool of threads does not fight two.
        command = [compiler, *COMMON, *FLAGS[isa], "-c", *sources]
        subprocess.run(command, check=True, capture_output=True, text=True, cwd=work)
        command = [compiler, "-shared", *(f"{Path(source).stem}.o" for source in sources), "-o", partial.name, *link]
        subprocess.run(command, check=True, capture_output=True, text=True, cwd=work)
        os.replace(partial, library)
    return library


def _torch_openmp() -> Path | None:
    return next(iter(Path(torch.__file__).parent.glob("lib/libgomp*")), None)


@functools.cache
def open_library(isa: str) -> ctypes.CDLL:
    """Return the built library; the errors are those of `build`."""
    if openmp := _torch_openmp():
        ctypes.CDLL(str(openmp), ctypes.RTLD_GLOBAL)
    return ctypes.CDLL(str(build(isa)))


@functools.cache
def library() -> ctypes.CDLL | None:
    """Return the library for this machine; None, and one line in the log, where it cannot be built."""
    try:
        return open_library(machine_isa())
    except (OSError, subprocess.CalledProcessError) as error:
        reason = getattr(error, "stderr", None) or error
        logger.warning("the kernels stay in PyTorch, several times slower: %s", str(reason).strip()[:300])
        return None


def call(name: str, dtype: torch.dtype, *arguments: object) -> None:
    """Run a kernel of this machine's library for a floating type.

    Args:
        name: The function, without the suffix of its type.
        dtype: float32 or float64.
        arguments: Pointers and integers, as ctypes takes them.
    Raises:
        ValueError: If the kernel refuses the sizes.
    """
    suffix = {torch.float32: "f32", torch.float64: "f64"}[dtype]
    if getattr(open_library(machine_isa()), f"{name}_{suffix}")(*arguments):
        raise ValueError(f"{name} cannot take these sizes")
