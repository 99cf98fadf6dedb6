"""Write a label as a DICOM SEG of its series, on the slices themselves."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from lib.data.formats.dicom import series_slices

MANUFACTURER = "TopoLabel"
Code = tuple[str, str, str]
_CODE_PARTS = ("CodeValue", "CodingSchemeDesignator", "CodeMeaning")
FAMILY = ("123110", "DCM", "Artificial Intelligence")
"""Code of the algorithms that propose labels."""
CATEGORY, TISSUE = ("123037004", "SCT", "Anatomical Structure"), ("85756007", "SCT", "Tissue")
"""Codes (value, scheme, meaning) of a segment whose terminology is unknown."""
_OFTEN_MISSING = (
    "PatientID",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "StudyID",
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "ReferringPhysicianName",
)
"""Attributes that a SEG takes from its series, and that may be empty."""


@dataclass(frozen=True)
class Segment:
    """One label value of a SEG.

    Args:
        value: Label value.
        name: Label of the segment.
        description: Text about it.
        category: Code (value, scheme, meaning) of its category.
        kind: Code of what it is.
        rgb: Colour in a viewer, 0 to 255; None leaves it to the viewer.
    """

    value: int
    name: str
    description: str = ""
    category: Code = CATEGORY
    kind: Code = TISSUE
    rgb: tuple[int, int, int] | None = None


def segment_from_info(entry: Mapping[str, Any]) -> Segment:
    """Return the segment that an entry of ``label_info`` describes, as viewers send it.

    Args:
        entry: ``name`` and ``idx``; ``description``, ``color`` and ``segmentAttribute`` (as dcmqi writes it) may be
            absent, and what is not valid gets the default.
    """
    codes = entry.get("segmentAttribute")
    codes = codes if isinstance(codes, dict) else {}
    return Segment(
        value=int(entry["idx"]),
        name=str(entry["name"])[:64],
        description=str(entry.get("description") or "")[:64],
        category=_code(codes.get("SegmentedPropertyCategoryCodeSequence")) or CATEGORY,
        kind=_code(codes.get("SegmentedPropertyTypeCodeSequence")) or TISSUE,
        rgb=_rgb(entry.get("color")),
    )


def _code(item: Any) -> Code | None:
    found = [str(item.get(part) or "") for part in _CODE_PARTS] if isinstance(item, dict) else []
    return (found[0], found[1], found[2]) if found and all(found) else None


def _rgb(color: Any) -> tuple[int, int, int] | None:
    if not isinstance(color, list | tuple) or len(color) < 3:
        return None
    if not all(isinstance(part, int | float) for part in color[:3]):
        return None
    red, green, blue = (min(max(int(part), 0), 255) for part in color[:3])
    return red, green, blue


def build_segmentation(label: NDArray[np.uint8], slices: Path, segments: Sequence[Segment], title: str) -> Dataset:
    """Return a binary SEG of a label; slices without a segment have no frame.

    Args:
        label: ``(X, Y, Z)`` on the grid that `lib.data.formats.load` gives the series.
        slices: Folder with the files of the series.
        segments: One segment per label value to write, at least one.
        title: Description of the new series.
    """
    # Imported here, because the imports take a second and only a server with an archive needs them.
    import highdicom as hd

    frames = series_slices(slices)
    sources = {frame.path: _complete(pydicom.dcmread(frame.path, stop_before_pixels=True)) for frame in frames}
    numbers = np.zeros(256, np.uint8)
    for number, segment in enumerate(segments, start=1):
        numbers[segment.value] = number
    planes = numbers[label].transpose(2, 1, 0)
    if len(sources) == 1:  # a multi-frame object describes its frames in the order of the file
        planes = planes[np.argsort([frame.index for frame in frames], kind="stable")]
    algorithm = hd.AlgorithmIdentificationSequence(MANUFACTURER, hd.sr.CodedConcept(*FAMILY), "1")
    made = hd.seg.Segmentation(
        source_images=list(sources.values()),
        pixel_array=np.ascontiguousarray(planes),
        segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=[_describe(hd, number, one, algorithm) for number, one in enumerate(segments, start=1)],
        series_instance_uid=hd.UID(),
        series_number=300,
        sop_instance_uid=hd.UID(),
        instance_number=1,
        manufacturer=MANUFACTURER,
        manufacturer_model_name=MANUFACTURER,
        software_versions="1",
        device_serial_number="1",
        series_description=title[:64],
    )
    return made


def _complete(source: Dataset) -> Dataset:
    """Return an image with empty values for attributes that a SEG copies from it."""
    for name in _OFTEN_MISSING:
        if name not in source:
            setattr(source, name, "")
    if "PixelSpacing" in source and source.get("SliceThickness") is None:
        source.SliceThickness = 1
    return source


def _describe(hd: Any, number: int, segment: Segment, algorithm: Any) -> Any:
    """Return highdicom's description of a segment; `hd` is the package."""
    described = hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=segment.name,
        segmented_property_category=hd.sr.CodedConcept(*segment.category),
        segmented_property_type=hd.sr.CodedConcept(*segment.kind),
        algorithm_type=hd.seg.SegmentAlgorithmTypeValues.SEMIAUTOMATIC,
        algorithm_identification=algorithm,
    )
    if segment.description:
        described.SegmentDescription = segment.description
    if segment.rgb is not None:
        described.RecommendedDisplayCIELabValue = _cielab(segment.rgb)
    return described


def _cielab(rgb: tuple[int, int, int]) -> list[int]:
    """Return a colour as DICOM writes it: L* of 0 to 100, a* and b* of -128 to 127, each scaled to 0 to 65535."""
    from skimage.color import rgb2lab

    lightness, a, b = (float(value) for value in rgb2lab(np.array(rgb, np.float64).reshape(1, 1, 3) / 255)[0, 0])
    return [round(lightness / 100 * 65535), round((a + 128) / 255 * 65535), round((b + 128) / 255 * 65535)]
