"""DICOM SEGs as other programs write them."""

import highdicom as hd
import numpy as np
from highdicom.seg import SegmentationTypeValues, SegmentDescription
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes


def segmentation(
    source: list[Dataset],
    planes: np.ndarray,
    names: list[str],
    kind: SegmentationTypeValues = SegmentationTypeValues.BINARY,
) -> Dataset:
    """Return a SEG of ``planes (Z, rows, columns, segments)``."""
    segments = [
        SegmentDescription(number, name, codes.SCT.Tissue, codes.SCT.Tissue, hd.seg.SegmentAlgorithmTypeValues.MANUAL)
        for number, name in enumerate(names, start=1)
    ]
    return hd.seg.Segmentation(
        source_images=source,
        pixel_array=planes,
        segmentation_type=kind,
        segment_descriptions=segments,
        series_instance_uid=hd.UID(),
        series_number=2,
        sop_instance_uid=hd.UID(),
        instance_number=1,
        manufacturer="another vendor",
        manufacturer_model_name="a viewer",
        software_versions="1",
        device_serial_number="1",
    )
