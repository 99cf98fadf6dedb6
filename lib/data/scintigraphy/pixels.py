"""Decode the pixels of an NM file, compressed or not."""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path
from typing import Any

import pydicom
import SimpleITK as sitk
from numpy.typing import NDArray
from pydicom.uid import MultiFrameGrayscaleWordSecondaryCaptureImageStorage

from lib.data.findings import reject

_REMEDY = "Copy or export the file again."


def decode(path: Path, shape: tuple[int, int, int]) -> NDArray[Any]:
    """Return the stored pixels ``(V, H, W)`` in an integer type.

    Args:
        path: A DICOM file whose size was checked.
        shape: Shape ``(V, H, W)`` that the header announces.
    Raises:
        InputRejected: TRUNCATED, if the pixels cannot be decoded, have another shape or are not integers.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dataset = pydicom.dcmread(path)
            packed = dataset.file_meta.TransferSyntaxUID.is_compressed
            pixels = _decompress(dataset) if packed else dataset.pixel_array
        if pixels.dtype.kind not in "iu":
            raise ValueError(f"pixels of the type {pixels.dtype}")
        return pixels.reshape(shape)
    except MemoryError:
        raise
    except Exception as error:  # both libraries raise many kinds of exceptions for damaged pixels
        raise reject("TRUNCATED", f"The pixels of '{path.name}' cannot be decoded.", _REMEDY) from error


def _decompress(dataset: pydicom.Dataset) -> NDArray[Any]:
    """Return the decompressed pixels of a data set, by ITK's GDCM.

    The SOP class of the data set becomes that of a secondary capture: GDCM needs positions that few NM images have.
    """
    dataset.SOPClassUID = MultiFrameGrayscaleWordSecondaryCaptureImageStorage
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / "plain.dcm"
        pydicom.dcmwrite(plain, dataset, write_like_original=False)
        return sitk.GetArrayFromImage(sitk.ReadImage(str(plain)))
