"""A DICOM SEG of the archive, as its metadata describe it."""

from dataclasses import dataclass

from pydicom.dataset import Dataset


@dataclass(frozen=True, order=True)
class ArchivedSegmentation:
    """A DICOM SEG of the archive; SEGs sort by their time of creation.

    Args:
        created: Date and time of its content, as DICOM writes them.
        study: UID of its study.
        series: UID of its own series.
        instance: UID of the instance.
        image: UID of the series that it segments; empty if the SEG names none.
        labels: Labels of its segments.
    """

    created: str
    study: str
    series: str
    instance: str
    image: str
    labels: tuple[str, ...] = ()


def parse_metadata(metadata: Dataset, study: str, series: str) -> ArchivedSegmentation:
    """Return the facts about an instance from the metadata that the archive sends."""
    created = f"{metadata.get('ContentDate', '')}{metadata.get('ContentTime', '')}"
    referred = metadata.get("ReferencedSeriesSequence") or []
    image = str(referred[0].SeriesInstanceUID) if referred else ""
    labels = tuple(str(item.get("SegmentLabel") or "") for item in metadata.get("SegmentSequence") or [])
    return ArchivedSegmentation(created, study, series, str(metadata.SOPInstanceUID), image, labels)
