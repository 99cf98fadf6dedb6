"""Draw bone scans from seeds: a body with its skeleton, lesions at known places, and what a gamma camera sees."""

from lib.data.scintigraphy.skeleton.case import ScanCase, make_case

__all__ = ["ScanCase", "make_case"]
