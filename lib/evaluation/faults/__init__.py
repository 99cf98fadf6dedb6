"""Check a submitted label: find the places that a reviewer should look at before training uses the label."""

from lib.evaluation.faults.expected import Expected
from lib.evaluation.faults.fault import Fault
from lib.evaluation.faults.inspect import inspect_label, not_checked

__all__ = ["Expected", "Fault", "inspect_label", "not_checked"]
