"""What a person should look at in a label before anything is learned from it, and where."""

from lib.evaluation.faults.expected import Expected
from lib.evaluation.faults.fault import Fault
from lib.evaluation.faults.inspect import inspect_label, not_checked

__all__ = ["Expected", "Fault", "inspect_label", "not_checked"]
