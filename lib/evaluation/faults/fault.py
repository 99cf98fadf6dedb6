"""A finding about a label: what, where, how large, and what to do about it."""

from dataclasses import asdict, dataclass
from typing import Any

from lib.data.findings import Finding

WARNING, NOTE = "warning", "note"
Voxel = tuple[int, int, int]
Point = tuple[float, float, float]

REMEDIES = {
    "EMPTY": "Submit it anyway if there is nothing to label; otherwise label it.",
    "BREAK": "Join the two ends, or leave it if the airway is closed there.",
    "LOOP": "Cut the bridge, unless the two places really meet.",
    "JOINED": "Cut the bridge, unless the two parts really meet.",
    "LEAK": "Erase what lies beyond the wall.",
    "SPUR": "Erase the spur.",
    "ISLAND": "Erase the piece, unless it belongs to the label.",
    "HOLE": "Fill the hole.",
    "COMPONENTS": "Join the pieces, erase what does not belong, or give a piece its own label's number.",
    "OUTSIDE_BODY": "Erase what lies outside the body.",
    "NOT_CHECKED": "Look at the label yourself; it is saved.",
}


@dataclass(frozen=True, kw_only=True)
class Fault(Finding):
    """One finding about a label; it warns and refuses nothing.

    Args:
        severity: `WARNING`, or `NOTE` where nothing is known to be wrong.
        label: Name of the label; empty for all of them.
        voxel: Where, as indices in the file's order of axes.
        ras_mm: Where, towards right, front and head, in mm; what DICOM and ITK write has the first two negated.
        volume_mm3: How much of the label it concerns.
        gap_mm: How far the ends of a break are apart.
    """

    severity: str = WARNING
    label: str = ""
    voxel: Voxel | None = None
    ras_mm: Point | None = None
    volume_mm3: float | None = None
    gap_mm: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain data for a JSON answer, without what is not known."""
        return {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(self).items() if v is not None}
