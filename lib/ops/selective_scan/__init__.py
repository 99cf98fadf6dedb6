"""Export the one selective scan that the models use; this is the only place where an implementation is chosen."""

from lib.ops.selective_scan.parallel import selective_scan_parallel as selective_scan
from lib.ops.selective_scan.reference import selective_scan_reference

__all__ = ["selective_scan", "selective_scan_reference"]
