"""What the metadata of a SEG say, and which SEG is the newest."""

from pydicom.dataset import Dataset

from lib.tasks.store.archived_segmentation import parse_metadata


def metadata(created: str, *labels: str, image: str = "1.2.3") -> Dataset:
    found = Dataset()
    found.ContentDate, found.ContentTime, found.SOPInstanceUID = created[:8], created[8:], "1.2.9"
    if image:
        referred = Dataset()
        referred.SeriesInstanceUID = image
        found.ReferencedSeriesSequence = [referred]
    segments = [Dataset() for _ in labels]
    for segment, label in zip(segments, labels, strict=True):
        segment.SegmentLabel = label
    found.SegmentSequence = segments
    return found


def test_metadata_are_read() -> None:
    found = parse_metadata(metadata("20260101120000", "tube", "cavity"), "1.1", "1.2")
    assert (found.study, found.series, found.instance, found.image) == ("1.1", "1.2", "1.2.9", "1.2.3")
    assert found.labels == ("tube", "cavity")
    assert parse_metadata(metadata("20260101120000", image=""), "1.1", "1.2").image == ""


def test_the_newest_sorts_last() -> None:
    times = ("20260101120000", "20251231235959", "20260101120001")
    found = [parse_metadata(metadata(time), "1.1", f"1.2.{number}") for number, time in enumerate(times)]
    assert max(found).series == "1.2.2"
