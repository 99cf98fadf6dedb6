"""The largest Betti numbers that a label may have."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Expected:
    """The largest Betti numbers of a label, or of several labels together; None allows any number.

    They are counted after a closing by one voxel and without specks, so that gaps of partial volume in a thin fold are
    not reported as faults of the annotator.

    Args:
        labels: Names of the labels whose union is counted.
        components: Largest number of connected pieces.
        loops: Largest number of loops around unlabelled voxels.
        cavities: Largest number of enclosed holes.
    """

    labels: tuple[str, ...]
    components: int | None = None
    loops: int | None = None
    cavities: int | None = None

    @property
    def name(self) -> str:
        """Return the names of the labels as one text."""
        return " + ".join(self.labels)
