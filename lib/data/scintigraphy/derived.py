"""Write a restored scan as a derived NM DICOM image that names its source, its processing and the software."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from lib.data.files.atomic import replacing

NOTICE = "PROCESSED IMAGE: expected counts, estimated from fewer recorded counts. Read it with its source, never alone."
MAX_STORED_COUNT = 65535
"""Largest count of a 16-bit pixel."""
_OUTDATED_TAGS = (
    "SmallestImagePixelValue",
    "LargestImagePixelValue",
    "PixelPaddingValue",
    "WindowCenter",
    "WindowWidth",
)


def whole_counts(expected: NDArray[Any]) -> NDArray[np.uint16]:
    """Round expected counts to integers so that each sum along a row of pixels changes by at most one count.

    Rounding each pixel on its own would turn a background of 0.4 counts into 0. Here the running sum is rounded, so
    regions and the whole image keep their counts.

    Args:
        expected: Expected counts ``(V, H, W)``, not negative.
    Returns:
        Integer counts of the same shape.
    Raises:
        ValueError: If a value is negative, not finite, or more than a pixel can store.
    """
    if not (np.isfinite(expected).all() and expected.min() >= 0 and expected.max() < MAX_STORED_COUNT):
        raise ValueError(
            f"expected counts must be between 0 and {MAX_STORED_COUNT}, got {expected.min():g} to {expected.max():g}"
        )
    running = np.rint(np.cumsum(expected.ravel(), dtype=np.float64))
    return np.diff(running, prepend=0).reshape(expected.shape).astype(np.uint16)


def write_derived(
    source: str | Path,
    expected: NDArray[Any],
    path: str | Path,
    *,
    description: str,
    software: str,
    notice: str = NOTICE,
    process: str = "restored",
) -> Path:
    """Write restored counts as a new series of the same patient and study.

    Args:
        source: The NM file that was restored.
        expected: Expected counts ``(V, H, W)``, in the shape of the source.
        path: Output file, written atomically.
        description: What was done, such as "restored from half the counts by version 7 of nafnet_small".
        software: Name and version of the software.
        notice: Warning for the readers of the image.
        process: Participle that is appended to the series description, such as "restored".
    Returns:
        The path of the file.
    Raises:
        ValueError: If the counts do not have the shape of the source, or cannot be stored.
    """
    dataset = pydicom.dcmread(source, stop_before_pixels=True)
    shape = (int(dataset.get("NumberOfFrames") or 1), int(dataset.Rows), int(dataset.Columns))
    if expected.shape != shape:
        raise ValueError(f"the restored counts have shape {expected.shape}, their source has {shape}")
    stored = whole_counts(expected)
    dataset.remove_private_tags()
    for name in _OUTDATED_TAGS:
        if name in dataset:
            delattr(dataset, name)
    _set_identity(dataset, description, software, notice, process)
    _set_pixels(dataset, stored)
    path = Path(path)
    with replacing(path) as temporary:
        pydicom.dcmwrite(temporary, dataset, write_like_original=False)
    return path


def _set_identity(dataset: Dataset, description: str, software: str, notice: str, process: str) -> None:
    """Mark a copy of the source image as a derived image: new UIDs, dates, and a reference to the source.

    See DICOM PS3.3 C.7.6.1, C.12.4 and C.7.5.2.

    Args:
        dataset: Copy of the source image, changed in place.
        description: How the image was made, in a sentence.
        software: Name and version of the software.
        notice: Warning that the image is derived, for the comments that viewers show.
        process: Name of the process, added to the series description.
    """
    now = datetime.now()
    reference = Dataset()
    reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = dataset.SOPClassUID, dataset.SOPInstanceUID
    reference.PurposeOfReferenceCodeSequence = [_code("121322", "Source image for image processing operation")]
    dataset.SourceImageSequence = [reference]
    dataset.SOPInstanceUID, dataset.SeriesInstanceUID = generate_uid(), generate_uid()
    dataset.ImageType = ["DERIVED", "SECONDARY", *list(dataset.get("ImageType") or ["", "", "STATIC", "EMISSION"])[2:]]
    dataset.DerivationDescription = f"{description}. {notice}"[:1024]
    dataset.SeriesDescription = f"{dataset.get('SeriesDescription') or 'Bone scan'}, {process}"[:64]
    dataset.ImageComments = notice
    dataset.InstanceCreationDate = dataset.ContentDate = dataset.SeriesDate = now.strftime("%Y%m%d")
    dataset.InstanceCreationTime = dataset.ContentTime = dataset.SeriesTime = now.strftime("%H%M%S")
    equipment = Dataset()
    equipment.Manufacturer, equipment.SoftwareVersions = "TopoLabel", software
    equipment.ContributionDescription = description[:1024]
    equipment.PurposeOfReferenceCodeSequence = [_code("109103", "Modifying Equipment")]
    dataset.ContributingEquipmentSequence = [*(dataset.get("ContributingEquipmentSequence") or []), equipment]


def _set_pixels(dataset: Dataset, stored: NDArray[np.uint16]) -> None:
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 0
    dataset.CountsAccumulated = int(stored.sum(dtype=np.int64))
    dataset.PixelData = stored.astype("<u2").tobytes()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.is_little_endian, dataset.is_implicit_VR = True, False
    dataset["PixelData"].VR = "OW"


def _code(value: str, meaning: str) -> Dataset:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, "DCM", meaning
    return code
