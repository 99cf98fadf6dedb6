"""Read a DICOM SEG of any program as a label on the grid of its series."""

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
    """Return a label ``(X, Y, Z)`` with the axes of the series as ITK reads it.

    Segments are matched by their labels, ignoring upper and lower case; segments with other labels are left out. Where
    segments overlap, the later one wins, as viewers draw them. A fractional segment covers voxels of at least 0.5.

    Args:
        seg: The DICOM SEG.
        slices: Folder with the files of the segmented series.
        values: Label value of each label name.
    Raises:
        InputRejected: BAD_SEG, LABEL_NAMES if no segment has a known label, or LABEL_GRID if the SEG does not refer to
            these slices.
    """
    # Imported here, because the imports take a second and only a server with an archive needs them.
    import SimpleITK as sitk
    from highdicom.seg import Segmentation

    names = {name.casefold(): value for name, value in values.items()}
    try:
        segmentation = Segmentation.from_dataset(seg, copy=False)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise reject("BAD_SEG", f"The DICOM SEG cannot be read: {error}.", "Export it again.") from error
    numbers = [int(number) for number in segmentation.segment_numbers]
    found = {number: segmentation.get_segment_description(number).segment_label for number in numbers}
    known = {number: names[label.casefold()] for number, label in found.items() if label.casefold() in names}
    if not known:
        reason = (
            f"The segments of the SEG are {', '.join(sorted(set(found.values())))}, and none is a label of the app."
        )
        raise reject("LABEL_NAMES", reason, f"Rename the segments to labels of the app: {', '.join(values)}.")
    if left := sorted(set(found.values()) - {found[number] for number in known}):
        logger.warning("SEG: segments that are not labels of the app are left out: %s", ", ".join(left))
    files = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(slices))
    instances = [str(pydicom.dcmread(file, specific_tags=["SOPInstanceUID"]).SOPInstanceUID) for file in files]
    referred = {instance for _, _, instance in segmentation.get_source_image_uids()}
    if not referred or not referred <= set(instances):
        reason = (
            f"The SEG refers to {len(referred)} images, and {len(referred & set(instances))} of them are in its series."
        )
        raise reject("LABEL_GRID", reason, "Export the SEG again with the series as reference.")
    label, shared = None, 0
    for number, value in known.items():
        try:
            planes = segmentation.get_pixels_by_source_instance(
                instances, segment_numbers=[number], assert_missing_frames_are_empty=True, ignore_spatial_locations=True
            )[..., 0]
        except (KeyError, RuntimeError, ValueError) as error:
            raise reject(
                "LABEL_GRID", f"The SEG is not on the slices of its series: {error}.", "Export it again."
            ) from error
        mask = planes >= 0.5 if planes.dtype.kind == "f" else planes > 0
        label = np.zeros(mask.shape, np.uint8) if label is None else label
        shared += int(np.count_nonzero(label[mask]))
        label[mask] = value
    if shared:
        logger.warning("SEG: segments overlap in %d voxels, which are assigned to the later segment", shared)
    assert label is not None, "at least one segment is known"
    return np.ascontiguousarray(label.transpose(2, 1, 0))
