"""Draw a cohort of labelled airway scans from seeds: exact labels, known topology, known centrelines."""

from lib.data.phantom.case import PhantomCase, make_case
from lib.data.phantom.cohort import write_cohort

__all__ = ["PhantomCase", "make_case", "write_cohort"]
