"""Read one DICOM file, or the folder of one series with its slices sorted by position."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import SimpleITK as sitk
from numpy.typing import NDArray

from lib.data.findings import InputRejected, reject
from lib.data.formats.dicom_frames import REMEDY, Frame, is_dicom, read_frames
from lib.data.formats.slice_stack import assemble
from lib.data.formats.volume import Header
from lib.data.volumes.geometry import ras_from_itk

NEED_SPACING = ("CT", "MR", "PT")
"""Modalities whose images lie in the patient, so that a lost pixel spacing is a fault."""
LABEL_MODALITIES = ("SEG", "RTSTRUCT", "SR", "PR", "KO", "RTPLAN", "RTDOSE")
"""Modalities of objects that describe images."""
OTHER_SUFFIXES = (".txt", ".csv", ".json", ".xml", ".html", ".md", ".pdf", ".ini", ".png", ".jpg", ".jpeg", ".inf")
"""Suffixes of files beside the slices of a series that are no slices."""
OTHER_NAMES = ("dicomdir", "thumbs.db", "desktop.ini", "lockfile", "version")

__all__ = ["is_dicom", "patient_id", "read_header", "read_slice", "read_voxels", "series_slices"]


def patient_id(path: Path) -> str | None:
    """Return the PatientID of a DICOM file or of the first DICOM file of a folder, or None if there is none."""
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    first = next((file for file in files if is_dicom(file)), None)
    if first is None:
        return None
    try:
        tags = pydicom.dcmread(first, stop_before_pixels=True, specific_tags=["PatientID"])
        return str(tags.get("PatientID") or "") or None
    except Exception:  # as in `read_frames`; the input gate reports a damaged file later
        return None


def read_slice(path: Path) -> Frame:
    """Return the tags of the first frame of a file; see `read_frames`."""
    return read_frames(path)[0]


def _series_frames(path: Path) -> list[Frame]:
    """Return the frames of a file, or of all files of one series in a folder.

    Raises:
        InputRejected: NOT_AN_IMAGE, TRUNCATED, MANY_SERIES, MANY_PATIENTS, or UNREADABLE_FILES if a file of the folder
            is damaged.
    """
    if path.is_file():
        return read_frames(path)
    files = [file for file in sorted(path.iterdir()) if _may_be_slice(file)]
    damaged = [file for file in files if not is_dicom(file)]
    if len(damaged) == len(files):
        raise reject("NOT_AN_IMAGE", f"The folder '{path.name}' holds no DICOM files.", REMEDY)
    if damaged:
        some = ", ".join(f"'{file.name}' ({file.stat().st_size:,} bytes)" for file in damaged[:3])
        reason = f"{len(damaged)} of {len(files)} files in '{path.name}' are no readable DICOM, for example {some}."
        raise reject("UNREADABLE_FILES", reason, "Copy the series again, or remove files that are no slices of it.")
    frames = [frame for file in files for frame in read_frames(file)]
    count = len({frame.series for frame in frames})
    if count > 1:
        reason = f"The folder '{path.name}' holds files of {count} series."
        raise reject("MANY_SERIES", reason, "Put each series in its own folder.")
    patients = {frame.patient for frame in frames}
    if len(patients) > 1:
        # The IDs themselves are not named: messages are logged.
        reason = f"The files in '{path.name}' have {len(patients)} different PatientIDs."
        if "" in patients:
            reason = f"Some files in '{path.name}' have no PatientID, and others have one."
        raise reject("MANY_PATIENTS", reason, "Find out whose series it is; then fetch or export it again.")
    return frames


def series_slices(path: Path) -> list[Frame]:
    """Return the frames of a series in the order of its volume; see `read_header`."""
    return read_header(path).details


def read_header(path: Path) -> Header:
    """Return the header; see `lib.data.formats.read_header`. Its `details` are the frames of the slices, in order."""
    frames = _series_frames(path)
    if frames[0].modality in LABEL_MODALITIES:
        reason = f"'{path.name}' is a DICOM {frames[0].modality}: it describes images and is none."
        raise reject("UNKNOWN_MODALITY", reason, "Choose the series that it belongs to.")
    if len(frames) == 1:
        return _single(path, frames[0])
    if any(frame.frames > 1 and frame.geometry is None for frame in frames) and len({f.path for f in frames}) > 1:
        raise reject("WRONG_DIMENSION", f"The files in '{path.name}' are not single slices of one size.", REMEDY)
    stack, found = assemble(frames, path.name)
    if stack is None:
        raise InputRejected(found)
    ordered = [frames[index] for index in stack.order]
    one = ordered[0]
    return Header(
        path,
        "dicom",
        (*one.size, len(ordered)),
        one.components,
        one.bytes_per_voxel,
        stack.affine,
        one.modality,
        details=ordered,
        origins=stack.origins,
        notes=stack.notes,
    )


def _single(path: Path, one: Frame) -> Header:
    """Return the header of a file of one frame, or of several frames without functional groups."""
    if one.modality in NEED_SPACING and not one.has_spacing:
        reason = f"'{one.path.name}' is a {one.modality} image without PixelSpacing: the size of its pixels is unknown."
        raise reject("BAD_AFFINE", reason, REMEDY)
    if one.modality in NEED_SPACING and one.frames == 1 and one.geometry is None:
        reason = f"'{one.path.name}' is a {one.modality} image without position or orientation."
        raise reject("BAD_AFFINE", reason, REMEDY)
    if one.modality in NEED_SPACING and one.frames > 1:
        reason = f"'{one.path.name}' holds {one.frames} frames without positions."
        raise reject("BAD_AFFINE", reason, "Export it as an enhanced object, or as single slices with positions.")
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(one.path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise reject("NOT_AN_IMAGE", f"'{one.path.name}' cannot be decoded.", REMEDY) from error
    affine = ras_from_itk(reader.GetSpacing(), reader.GetOrigin(), reader.GetDirection())
    shape = tuple(reader.GetSize())
    notes = (f"The file holds {one.frames} frames without positions: each is an image of its own.",)
    return Header(
        path,
        "dicom",
        shape,
        one.components,
        one.bytes_per_voxel,
        affine,
        one.modality,
        details=[one],
        notes=notes if one.frames > 1 else (),
        has_loose_frames=one.frames > 1,
    )


def read_voxels(path: Path, header: Header) -> NDArray[Any]:
    """Return the rescaled voxels in the shape of the header, first axis fastest."""
    frames: list[Frame] = header.details
    try:
        if any(frame.is_inverted and frame.modality in NEED_SPACING for frame in frames):
            # The values of these modalities are measurements; ITK would return them as they look on a screen.
            return np.stack(_stored(frames)).T
        if len(frames) == 1 and frames[0].geometry is None:
            return sitk.GetArrayFromImage(sitk.ReadImage(str(frames[0].path))).T
        # ITK reads all files of a series in the pixel type and with the rescale of the first.
        alike = len({(frame.rescale, frame.pixel_type) for frame in frames}) == 1
        if all(frame.frames == 1 for frame in frames) and alike:
            reader = sitk.ImageSeriesReader()
            reader.SetFileNames([str(frame.path) for frame in frames])
            return sitk.GetArrayFromImage(reader.Execute()).T
        return np.stack(_decode(frames)).T
    # ITK raises RuntimeError; pydicom raises the others for damaged or unsupported pixels.
    except (RuntimeError, NotImplementedError, ValueError, AttributeError, KeyError, IndexError) as error:
        raise reject("TRUNCATED", f"The voxels of '{path.name}' cannot be decoded.", REMEDY) from error


def _decode(frames: Sequence[Frame]) -> list[NDArray[Any]]:
    """Return the rescaled pixels ``(rows, columns)`` of each frame, whatever file holds it."""
    planes: dict[tuple[Path, int], NDArray[Any]] = {}
    for file in {frame.path for frame in frames}:
        here = [frame for frame in frames if frame.path == file]
        if len({frame.rescale for frame in here}) == 1:
            # ITK rescales by the first frame.
            stored = sitk.GetArrayFromImage(sitk.ReadImage(str(file))).reshape(-1, *here[0].size[::-1])
            planes |= {(file, frame.index): stored[frame.index] for frame in here}
        else:
            planes |= {(file, f.index): plane for f, plane in zip(here, _stored(here), strict=True)}
    return [planes[frame.path, frame.index] for frame in frames]


def _stored(frames: Sequence[Frame]) -> list[NDArray[Any]]:
    """Return the stored pixels ``(rows, columns)`` of each frame after its own rescale, float32."""
    files = {file: _pixels(pydicom.dcmread(file)) for file in {frame.path for frame in frames}}
    planes = []
    for frame in frames:
        slope, intercept = frame.rescale
        stored = files[frame.path].reshape(-1, *frame.size[::-1])[frame.index]
        planes.append(stored * np.float32(slope) + np.float32(intercept))
    return planes


def _pixels(dataset: pydicom.Dataset) -> NDArray[Any]:
    """Return the stored pixels; bits above BitsStored are no part of them."""
    try:
        stored = dataset.pixel_array
    except OSError as error:  # of the image library that decodes, not of the disk
        raise RuntimeError(str(error)) from error
    bits = int(dataset.BitsStored)
    if stored.dtype.kind not in "iu" or bits >= int(dataset.BitsAllocated):
        return stored
    kept = stored.astype(np.int64) & ((1 << bits) - 1)
    sign = 1 << (bits - 1) if int(dataset.PixelRepresentation) else 0
    return (kept ^ sign) - sign


def _may_be_slice(file: Path) -> bool:
    """Return whether a file of a folder should be a slice: not hidden, not a folder, and no text or picture."""
    name = file.name.lower()
    return file.is_file() and not name.startswith(".") and name not in OTHER_NAMES and not name.endswith(OTHER_SUFFIXES)
