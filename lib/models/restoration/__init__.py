"""Restoration of rapid scans: a restorer that is served, and the cascade with segment-anything that only teaches it."""

from lib.models.restoration.build import cascade_of, nafnet_gopro, nafnet_sidd, nafnet_small, nafnet_tiny
from lib.models.restoration.cascade import Cascade
from lib.models.restoration.nafnet import NAFNet
from lib.models.restoration.restorer import (
    camera_field,
    keep_counts,
    network_counts,
    restore_counts,
    restored_deviation,
)

__all__ = [
    "Cascade",
    "NAFNet",
    "camera_field",
    "cascade_of",
    "keep_counts",
    "nafnet_gopro",
    "nafnet_sidd",
    "nafnet_small",
    "nafnet_tiny",
    "network_counts",
    "restore_counts",
    "restored_deviation",
]
