"""Seed inputs: ordinary images and requests, and some attacks."""

import gzip
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from tests.fuzz.targets import SUFFIXES
from tests.server.attacks.files import files
from tests.server.attacks.tables import PARAMS, QUERY_DOORS, TRAVERSALS

MAX_BYTES = 8000


def write_seeds(target: str, folder: Path) -> None:
    """Write the seeds of a target to a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(readers() if target == "readers" else guard()):
        (folder / f"seed-{number:04d}").write_bytes(seed)


def readers() -> Iterator[bytes]:
    """Yield small images of all formats, and files that are not images."""
    voxels = np.random.default_rng(0).integers(-1000, 1000, (6, 5, 4)).astype(np.int16)
    with tempfile.TemporaryDirectory() as folder:
        for suffix in SUFFIXES[:4]:
            yield _with_suffix(suffix, _image_bytes(voxels, Path(folder) / f"a{suffix}"))
        yield _with_suffix(".dcm", _image_bytes(voxels[:1], Path(folder) / "a.dcm"))
        for suffix in (".png", ".jpg"):
            yield _with_suffix(suffix, _image_bytes(voxels[0].astype(np.uint8), Path(folder) / f"a{suffix}"))
    for name, content in files("/nowhere").values():
        suffix = next((known for known in (".nii.gz", *SUFFIXES) if name.endswith(known)), ".nii")
        if len(content) < MAX_BYTES:
            yield _with_suffix(suffix, content)
            yield _with_suffix(".nii.gz", gzip.compress(content)[:MAX_BYTES])


def guard() -> Iterator[bytes]:
    """Yield requests with method, target, host and body."""
    for name in TRAVERSALS:
        yield f"GET /ohif/{name}?{name}\nlocalhost\n{{}}".encode()
    for method, door in QUERY_DOORS:
        yield f"{method} {door.format('ct_0')}\nlocalhost:8000\nhttp://localhost".encode()
    for params in PARAMS:
        yield f"POST /infer/tubes?image=a\n[::1]:80\n{params[:2000]}".encode()


def _with_suffix(suffix: str, content: bytes) -> bytes:
    return bytes([SUFFIXES.index(suffix)]) + content


def _image_bytes(voxels: np.ndarray, path: Path) -> bytes:
    sitk.WriteImage(sitk.GetImageFromArray(voxels), str(path))
    return path.read_bytes()
