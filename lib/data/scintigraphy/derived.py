"""Write a restored scan as a derived NM DICOM, which says what it is, of which image, and by what."""

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

NOTICE = "PROCESSED IMAGE: expected counts, estimated from fewer recorded ones. Read it beside its source, never alone."
MOST = 65535
_WRONG_NOW = ("SmallestImagePixelValue", "LargestImagePixelValue", "PixelPaddingValue", "WindowCenter", "WindowWidth")


def whole_counts(expected: NDArray[Any]) -> NDArray[np.uint16]:
    """Return expected counts as whole ones that keep every sum along a row of pixels to within one count.

    Rounding each pixel by itself would make all of a background of 0.4 counts nothing. Here the running sum is rounded,
    so regions keep their counts, and the image its total.

    Args:
        expected: ``(V, H, W)``, not negative.
    Raises:
        ValueError: If a value is negative, no number, or more than a pixel can store.
    """
    if not (np.isfinite(expected).all() and expected.min() >= 0 and expected.max() < MOST):
        raise ValueError(f"expected counts lie between 0 and {MOST}, got {expected.min():g} to {expected.max():g}")
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
    made: str = "restored",
) -> Path:
    """Write restored counts beside their source: its patient, study and views, and a series of their own.

    Args:
        source: The NM file that was restored.
        expected: Expected counts, ``(V, H, W)`` as `lib.data.scintigraphy.counts` reads the source.
        path: Where to; written atomically.
        description: What was done, as "restored from half the counts by version 7 of nafnet_small".
        software: Name and version of what did it.
        notice: What whoever reads the image must know.
        made: What became of it, for the series' description.
    Returns:
        The path.
    Raises:
        ValueError: If the counts are not of the source's shape, or cannot be stored.
    """
    dataset = pydicom.dcmread(source, stop_before_pixels=True)
    shape = (int(dataset.get("NumberOfFrames") or 1), int(dataset.Rows), int(dataset.Columns))
    if expected.shape != shape:
        raise ValueError(f"restored counts have shape {expected.shape}, their source {shape}")
    stored = whole_counts(expected)
    dataset.remove_private_tags()
    for name in _WRONG_NOW:
        if name in dataset:
            delattr(dataset, name)
    _name(dataset, description, software, notice, made)
    _store(dataset, stored)
    path = Path(path)
    with replacing(path) as temporary:
        pydicom.dcmwrite(temporary, dataset, write_like_original=False)
    return path


def _name(dataset: Dataset, description: str, software: str, notice: str, made: str) -> None:
    """Give the image its own identity, and the way back to its source (PS3.3 C.7.6.1, C.12.4, C.7.5.2)."""
    now = datetime.now()
    reference = Dataset()
    reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = dataset.SOPClassUID, dataset.SOPInstanceUID
    reference.PurposeOfReferenceCodeSequence = [_code("121322", "Source image for image processing operation")]
    dataset.SourceImageSequence = [reference]
    dataset.SOPInstanceUID, dataset.SeriesInstanceUID = generate_uid(), generate_uid()
    dataset.ImageType = ["DERIVED", "SECONDARY", *list(dataset.get("ImageType") or ["", "", "STATIC", "EMISSION"])[2:]]
    dataset.DerivationDescription = f"{description}. {notice}"[:1024]
    dataset.SeriesDescription = f"{dataset.get('SeriesDescription') or 'Bone scan'}, {made}"[:64]
    dataset.ImageComments = notice
    dataset.InstanceCreationDate = dataset.ContentDate = dataset.SeriesDate = now.strftime("%Y%m%d")
    dataset.InstanceCreationTime = dataset.ContentTime = dataset.SeriesTime = now.strftime("%H%M%S")
    equipment = Dataset()
    equipment.Manufacturer, equipment.SoftwareVersions = "TopoLabel", software
    equipment.ContributionDescription = description[:1024]
    equipment.PurposeOfReferenceCodeSequence = [_code("109103", "Modifying Equipment")]
    dataset.ContributingEquipmentSequence = [*(dataset.get("ContributingEquipmentSequence") or []), equipment]


def _store(dataset: Dataset, stored: NDArray[np.uint16]) -> None:
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
