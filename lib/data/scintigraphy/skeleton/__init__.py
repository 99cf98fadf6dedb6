"""Draw bone scans from seeds: a body with its skeleton, lesions at known places, and what a gamma camera sees."""

from lib.data.scintigraphy.skeleton.case import ScanCase, make_case
from lib.data.scintigraphy.skeleton.cohort import write_pairs

__all__ = ["ScanCase", "make_case", "write_pairs"]
