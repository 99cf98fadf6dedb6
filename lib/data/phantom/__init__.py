"""Generate a procedural cohort of CT scans with exact airway labels, known topology and known centrelines."""

from lib.data.phantom.anatomy.canvas import PARTS as _VALUES
from lib.data.phantom.case import PhantomCase, make_case
from lib.data.phantom.cohort import write_cohort

PARTS = tuple(_VALUES)
"""Names of the label values 1, 2, ... of a phantom."""

__all__ = ["PARTS", "PhantomCase", "make_case", "write_cohort"]
