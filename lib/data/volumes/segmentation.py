"""A DICOM SEG, whoever made it, as a label on the grid of its series."""

import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from lib.data.findings import reject

logger = logging.getLogger(__name__)


def read_segmentation(seg: Dataset, slices: Path, values: Mapping[str, int]) -> NDArray[np.uint8]:
    """Return a label ``(X, Y, Z)``, its axes those of the series read by ITK.

    Segments are known by their labels, whatever their numbers and case; others are left out. Where two overlap, the
    later one has the voxel, as viewers paint. A fractional segment is where it is at least half.

    Args:
        seg: The SEG.
        slices: Folder with the files of the series that it segments.
        values: The value of each label.
    Raises:
        InputRejected: If it segments other slices than these, or nothing that has a name here.
    """
    # A second of imports that a server without an archive never needs.
    import SimpleITK as sitk
    from highdicom.seg import Segmentation

    names = {name.casefold(): value for name, value in values.items()}
    try:
        segmentation = Segmentation.from_dataset(seg, copy=False)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise reject("BAD_SEG", f"It is no DICOM SEG that can be read: {error}.", "Export it again.") from error
    numbers = [int(number) for number in segmentation.segment_numbers]
    found = {number: segmentation.get_segment_description(number).segment_label for number in numbers}
    known = {number: names[label.casefold()] for number, label in found.items() if label.casefold() in names}
    if not known:
        reason = f"Its segments are {', '.join(sorted(set(found.values())))}."
        raise reject("LABEL_NAMES", reason, f"Name them as the app does: {', '.join(values)}.")
    if left := sorted(set(found.values()) - {found[number] for number in known}):
        logger.warning("segments that are none of the app's are left out: %s", ", ".join(left))
    files = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(slices))
    instances = [str(pydicom.dcmread(file, specific_tags=["SOPInstanceUID"]).SOPInstanceUID) for file in files]
    referred = {instance for _, _, instance in segmentation.get_source_image_uids()}
    if not referred or not referred <= set(instances):
        reason = f"It refers to {len(referred)} images, and {len(referred & set(instances))} are of its series here."
        raise reject("LABEL_GRID", reason, "Export it with the series as reference.")
    label, shared = None, 0
    for number, value in known.items():
        try:
            planes = segmentation.get_pixels_by_source_instance(
                instances, segment_numbers=[number], assert_missing_frames_are_empty=True, ignore_spatial_locations=True
            )[..., 0]
        except (KeyError, RuntimeError, ValueError) as error:
            raise reject(
                "LABEL_GRID", f"It is not on the slices of its series: {error}.", "Export it again."
            ) from error
        mask = planes >= 0.5 if planes.dtype.kind == "f" else planes > 0
        label = np.zeros(mask.shape, np.uint8) if label is None else label
        shared += int(np.count_nonzero(label[mask]))
        label[mask] = value
    if shared:
        logger.warning("segments overlap in %d voxels, which the later one has", shared)
    assert label is not None, "a segment is known"
    return np.ascontiguousarray(label.transpose(2, 1, 0))
