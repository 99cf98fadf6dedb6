"""Restoration of rapid scans: the network that is served, and the cascade with segment-anything that trains it."""

from lib.models.restoration.build import build_cascade, nafnet_gopro, nafnet_sidd, nafnet_small, nafnet_tiny
from lib.models.restoration.cascade import Cascade
from lib.models.restoration.nafnet import NAFNet
from lib.models.restoration.restorer import (
    bootstrap_deviation,
    camera_field,
    match_recorded_counts,
    predict_counts,
    restore_counts,
)

__all__ = [
    "Cascade",
    "NAFNet",
    "bootstrap_deviation",
    "build_cascade",
    "camera_field",
    "match_recorded_counts",
    "nafnet_gopro",
    "nafnet_sidd",
    "nafnet_small",
    "nafnet_tiny",
    "predict_counts",
    "restore_counts",
]
