"""Procedural bone scans: a body with skeleton and lesions at known places, and a simulated gamma camera."""

from lib.data.scintigraphy.skeleton.case import ScanCase, make_case
from lib.data.scintigraphy.skeleton.cohort import write_pairs

__all__ = ["ScanCase", "make_case", "write_pairs"]
