"""How many components, loops and cavities a label may have."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Expected:
    """The Betti numbers of a label, or of several labels together, at most; None where any number may be right.

    They are counted after a closing by one voxel and without specks: what partial volume does to a thin fold is no
    fault of an annotator.

    Args:
        labels: Names of the labels that are taken together.
        components: Pieces.
        loops: Ways around something that is not labelled.
        cavities: Enclosed holes.
    """

    labels: tuple[str, ...]
    components: int | None = None
    loops: int | None = None
    cavities: int | None = None

    @property
    def name(self) -> str:
        """Return the names in one."""
        return " + ".join(self.labels)
