"""Pairs of a rapid and a standard scan of a patient, in one folder per patient."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lib.data.findings import reject
from lib.data.formats import dicom
from lib.data.scintigraphy.counts import CountScan
from lib.data.scintigraphy.scans import read_scan

RAPID, STANDARD = "rapid", "standard"
SAME_SPACING_MM = 0.01


@dataclass(frozen=True)
class Pair:
    """The rapid and the standard scan of one patient."""

    patient: str
    rapid: Path
    standard: Path


def find_pairs(folder: str | Path) -> list[Pair]:
    """Return the pairs of ``PATIENT/rapid*`` and ``PATIENT/standard*``, sorted by patient.

    Args:
        folder: Folder with one folder per patient; folders with neither scan are skipped.
    Raises:
        FileNotFoundError: If the folder does not exist.
        ValueError: If a patient does not have exactly one scan of each kind.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder '{folder}'")
    pairs = []
    for patient in sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")):
        rapid, standard = (_scans(patient, kind) for kind in (RAPID, STANDARD))
        if not rapid and not standard:
            continue
        if len(rapid) != 1 or len(standard) != 1:
            raise ValueError(
                f"'{patient.name}' has {len(rapid)} rapid and {len(standard)} standard scans: keep exactly one of each"
            )
        pairs.append(Pair(patient.name, rapid[0], standard[0]))
    return pairs


def _scans(folder: Path, kind: str) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.name.lower().startswith(kind) and dicom.is_dicom(path))


def read_pair(pair: Pair) -> tuple[CountScan, CountScan, float]:
    """Return the rapid scan, the standard scan, and the fraction of the counts of the rapid scan.

    The fraction is the ratio of the table velocities, or the ratio of the counts if a velocity is unknown. The scans
    are on one grid and are not registered, so a patient who moved between them is not aligned.

    Raises:
        InputRejected: If a file is rejected, PAIR_GRID if the scans are on different grids, or PAIR_COUNTS if the rapid
            scan does not have fewer counts.
    """
    rapid, standard = read_scan(pair.rapid), read_scan(pair.standard)
    apart = max(abs(a - b) for a, b in zip(rapid.spacing_mm, standard.spacing_mm, strict=True))
    if rapid.counts.shape != standard.counts.shape or rapid.views != standard.views or apart > SAME_SPACING_MM:
        reason = f"The rapid scan of '{pair.patient}' is {_grid(rapid)}, the standard scan {_grid(standard)}."
        raise reject("PAIR_GRID", reason, "Send two scans of one protocol that differ only in table speed.")
    fraction = float(rapid.counts.sum() / standard.counts.sum())
    if rapid.velocity_mm_s and standard.velocity_mm_s:
        fraction = standard.velocity_mm_s / rapid.velocity_mm_s
    if not 0 < fraction < 1:
        reason = f"The rapid scan of '{pair.patient}' holds {fraction:.2f} times the counts of the standard scan."
        raise reject(
            "PAIR_COUNTS", reason, "The standard scan must be the slower scan: check whether the files are swapped."
        )
    return rapid, standard, fraction


def _grid(scan: CountScan) -> str:
    views = ", ".join(view or "unnamed" for view in scan.views)
    return f"{scan.counts.shape} at {scan.spacing_mm[0]:g} x {scan.spacing_mm[1]:g} mm ({views})"
