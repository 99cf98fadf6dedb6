"""Frames of DICOM files: one slice with its geometry, from a file of one slice or of an enhanced multi-frame object."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.filereader import read_file_meta_info
from pydicom.uid import DeflatedExplicitVRLittleEndian

from lib.data.findings import reject

REMEDY = "Fetch one complete series from the archive again."
STACK_TAGS = (
    "AcquisitionNumber",
    "TemporalPositionIdentifier",
    "TemporalPositionIndex",
    "StackID",
    "EchoNumbers",
    "EchoTime",
    "EffectiveEchoTime",
    "TriggerTime",
    "NominalPercentageOfCardiacPhase",
    "NominalPercentageOfRespiratoryPhase",
    "DiffusionBValue",
    "ConvolutionKernel",
    "ImageType",
    "AcquisitionTime",
)
"""Tags that tell phases, echoes and stacks of one series apart, in the order in which they are tried."""
PHASE_TAGS = (
    "TemporalPositionIdentifier",
    "TemporalPositionIndex",
    "EchoNumbers",
    "NominalPercentageOfCardiacPhase",
    "NominalPercentageOfRespiratoryPhase",
    "DiffusionBValue",
    "ConvolutionKernel",
)
"""Those of them that are never different within one phase."""
PIXEL_TAGS = ("BitsAllocated", "PixelRepresentation", "PhotometricInterpretation")
"""Tags that say how a pixel is stored."""
INVERTED = "MONOCHROME1"
_TAGS = [
    "SOPInstanceUID",
    "SeriesInstanceUID",
    "PatientID",
    "Modality",
    "Rows",
    "Columns",
    "NumberOfFrames",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "BitsAllocated",
    "PixelRepresentation",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "InstanceNumber",
    "RescaleSlope",
    "RescaleIntercept",
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
    *STACK_TAGS,
]


@dataclass(frozen=True, eq=False)
class Frame:
    """Tags of one frame, as plain values.

    Args:
        path: The file.
        index: Place of the frame in the file, from 0.
        series: SeriesInstanceUID.
        modality: DICOM modality; None if the file has none.
        size: Number of columns and rows.
        frames: Number of frames in the file.
        components: Number of values per pixel.
        bytes_per_voxel: Size of a stored pixel, in bytes; a pixel of a palette stores one value for three components.
        geometry: Position (3) in mm LPS, row and column cosines (6), and spacing of rows and of columns (2) in mm; None
            if one of them is missing.
        has_spacing: Whether the pixel spacing is known.
        uid: SOPInstanceUID of the file.
        number: InstanceNumber, or the number of the frame in its stack; None if there is none.
        rescale: Slope and intercept of the stored values.
        stack: Values of `STACK_TAGS` as text.
        pixel_type: How a pixel is stored: bits, sign, and whether high values are dark.
        patient: PatientID.
    """

    path: Path
    index: int
    series: str
    modality: str | None
    size: tuple[int, int]
    frames: int
    components: int
    bytes_per_voxel: int
    geometry: NDArray[Any] | None
    has_spacing: bool = True
    uid: str = ""
    number: int | None = None
    rescale: tuple[float, float] = (1.0, 0.0)
    stack: Mapping[str, str] = field(default_factory=dict)
    pixel_type: tuple[str, ...] = ()
    patient: str = ""

    @property
    def is_inverted(self) -> bool:
        """Whether high values are dark on a screen (MONOCHROME1), which ITK turns round."""
        return INVERTED in self.pixel_type


def is_dicom(path: Path) -> bool:
    """Return whether the file has the DICOM marker."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"


def read_frames(path: Path) -> list[Frame]:
    """Return the frames of one file, in the order of the file.

    A file of several frames without functional groups, such as an ultrasound loop, is returned as one frame without a
    geometry.

    Raises:
        InputRejected: NOT_AN_IMAGE or TRUNCATED.
    """
    try:
        if read_file_meta_info(path).get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
            raise ValueError("the whole file is deflated, so its size in memory is unknown")
        with path.open("rb") as file:
            tags = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=_TAGS)
            left = path.stat().st_size - file.tell()
        found = _parse(path, tags)
        packed = "TransferSyntaxUID" in tags.file_meta and tags.file_meta.TransferSyntaxUID.is_compressed
    except OSError:
        raise
    except Exception as error:  # pydicom raises many kinds of exceptions for a damaged file
        raise reject("NOT_AN_IMAGE", f"'{path.name}' is not a readable DICOM image ({error}).", REMEDY) from error
    one = found[0]
    pixels = one.size[0] * one.size[1] * one.frames
    # Pixels of one bit, as in overlays, are packed in the file and take a byte in memory.
    need = -(-pixels // 8) if int(tags.get("BitsAllocated") or 16) == 1 else pixels * one.bytes_per_voxel
    if tags.get("PhotometricInterpretation") == "YBR_FULL_422":
        need = need * 2 // 3  # two pixels share their colour
    if left < need and not packed:
        raise reject("TRUNCATED", f"'{path.name}' holds only {left:,} of {need:,} bytes of voxels.", REMEDY)
    return found


def frame_groups(dataset: Dataset) -> list[list[Dataset]]:
    """Return the functional groups of each frame, those of all frames first; empty without functional groups."""
    shared = _items(dataset.get("SharedFunctionalGroupsSequence"))
    return [[*shared, *_items([one])] for one in dataset.get("PerFrameFunctionalGroupsSequence") or []]


def frame_geometry(sources: Iterable[Dataset]) -> NDArray[Any] | None:
    """Return position, cosines and spacing ``(11,)`` of the last sources that have them; None if one is missing."""
    found = [_last(sources, tag) for tag in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing")]
    try:
        geometry = np.array([value for values in found for value in values], np.float64)
    except (TypeError, ValueError):
        return None
    return geometry if geometry.shape == (11,) else None


def _items(groups: Any) -> list[Dataset]:
    """Return the items of all functional groups of a sequence, which have one item at most."""
    return [macro.value[0] for group in groups or [] for macro in group if macro.VR == "SQ" and len(macro.value or [])]


def _last(sources: Iterable[Dataset], tag: str) -> Any:
    values = [source.get(tag) for source in sources]
    return next((value for value in reversed(values) if value is not None and value != ""), None)


def _parse(path: Path, tags: Dataset) -> list[Frame]:
    groups = frame_groups(tags)
    count = int(tags.get("NumberOfFrames") or 1)
    if groups and len(groups) != count:
        raise ValueError(f"it announces {count} frames and describes {len(groups)}")
    return [_frame(path, tags, index, items, count) for index, items in enumerate(groups or [[]])]


def _frame(path: Path, tags: Dataset, index: int, items: list[Dataset], count: int) -> Frame:
    samples, sources = int(tags.get("SamplesPerPixel") or 1), [tags, *items]
    # The values of a palette are colours.
    components = 3 if tags.get("PhotometricInterpretation") == "PALETTE COLOR" else samples
    number = _last(sources, "InStackPositionNumber") if items else tags.get("InstanceNumber")
    slope, intercept = _last(sources, "RescaleSlope"), _last(sources, "RescaleIntercept")
    stack = {tag: str(value) for tag in STACK_TAGS if (value := _last(sources, tag)) is not None}
    return Frame(
        path=path,
        index=index,
        series=str(tags.get("SeriesInstanceUID")),
        modality=str(tags.Modality) if tags.get("Modality") else None,
        size=(int(tags.Columns), int(tags.Rows)),
        frames=count,
        components=components,
        bytes_per_voxel=max(samples * int(tags.get("BitsAllocated") or 16) // 8, 1),
        geometry=frame_geometry(sources) if items or count == 1 else None,
        has_spacing=_last(sources, "PixelSpacing") is not None,
        uid=str(tags.get("SOPInstanceUID") or ""),
        number=None if number is None else int(number),
        rescale=(1.0 if slope is None else float(slope), 0.0 if intercept is None else float(intercept)),
        stack=stack,
        pixel_type=tuple(str(tags.get(tag)) for tag in PIXEL_TAGS),
        patient=str(tags.get("PatientID") or "").strip(),
    )
