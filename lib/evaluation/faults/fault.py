"""A finding about a label: code, reason, place, size and remedy."""

from dataclasses import asdict, dataclass
from typing import Any

from lib.data.findings import Finding

WARNING, NOTE = "warning", "note"
Voxel = tuple[int, int, int]
Point = tuple[float, float, float]

REMEDIES = {
    "EMPTY": "Draw the label and submit it again. If the image shows nothing to label, no action is needed.",
    "BREAK": "Join the two ends. If the airway is closed at this place, leave the gap.",
    "LOOP": "Cut the bridge. If the image shows that the two places are connected, leave it.",
    "JOINED": "Cut the bridge. If the image shows that the two parts are connected, leave it.",
    "LEAK": "Erase the part beyond the wall.",
    "SPUR": "Erase the spur.",
    "ISLAND": "Erase the piece. If it belongs to the label, leave it.",
    "HOLE": "Fill the hole.",
    "COMPONENTS": "Join the pieces, erase the pieces that do not belong to the label, or give them the right label.",
    "OUTSIDE_BODY": "Erase the part outside the body.",
    "NOT_CHECKED": "The label is saved. Check it by eye.",
}


@dataclass(frozen=True, kw_only=True)
class Fault(Finding):
    """One finding about a label. It warns the annotator; the label is accepted all the same.

    Args:
        severity: `WARNING`, or `NOTE` if the label may be correct.
        label: Name of the label; empty if the finding concerns all labels.
        voxel: Place as voxel index, in the file's order of axes.
        ras_mm: Place in RAS coordinates, in mm. DICOM and ITK use LPS, with the first two numbers negated.
        volume_mm3: Volume of the affected part, in mm3.
        gap_mm: Distance between the two ends of a break, in mm.
    """

    severity: str = WARNING
    label: str = ""
    voxel: Voxel | None = None
    ras_mm: Point | None = None
    volume_mm3: float | None = None
    gap_mm: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the finding as plain data for JSON, without the fields that are None."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self).items()
            if value is not None
        }
