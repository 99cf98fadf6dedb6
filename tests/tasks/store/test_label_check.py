"""A found label is checked on a copy, and a check that fails is a reason to refuse it."""

from pathlib import Path

import pytest

from lib.data.findings import InputRejected, reject
from lib.records.label_checks import LabelCheck
from lib.tasks.store.label_check import FoundLabelCheck, several_labels


def files(folder: Path) -> tuple[Path, Path]:
    image, label = folder / "ct_1.nii.gz", folder / "labels" / "ct_1.nrrd"
    label.parent.mkdir()
    image.write_bytes(b"image")
    label.write_bytes(b"label")
    return image, label


def test_the_check_gets_a_copy_named_after_the_image(tmp_path: Path) -> None:
    image, label = files(tmp_path)

    def check(copy: Path, of: Path) -> None:
        assert (copy.name, of) == ("ct_1.nrrd", image) and copy.read_bytes() == b"label"
        copy.write_bytes(b"rewritten")

    with FoundLabelCheck(tmp_path, check, "").checked_copy(image, label) as copy:
        assert copy.read_bytes() == b"rewritten" and label.read_bytes() == b"label"
    assert not copy.exists()


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (reject("LABEL_GRID", "a", "b"), "LABEL_GRID"),
        (PermissionError(13, "denied"), "UNREADABLE"),
        (RuntimeError("broken"), "NOT_CHECKED"),
    ],
)
def test_a_check_that_fails_is_a_reason_to_refuse(tmp_path: Path, error: Exception, code: str) -> None:
    image, label = files(tmp_path)

    def check(copy: Path, of: Path) -> None:
        raise error

    found = FoundLabelCheck(tmp_path, check, "")
    with pytest.raises(InputRejected) as caught, found.checked_copy(image, label):
        pass
    assert caught.value.findings[0].code == code and caught.value.findings[0].remedy
    found.put([label], LabelCheck(found.facts(image, [label]), caught.value.findings[0]))
    assert (found.find(image, [label]) is None) == (code == "NOT_CHECKED"), "a failed check is made again"


def test_a_full_disk_is_no_reason_to_refuse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("lib.tasks.store.label_check.shutil.copyfile", fail)
    with pytest.raises(OSError, match="No space"):
        FoundLabelCheck(tmp_path, lambda *_: None, "").checked_copy(*files(tmp_path)).__enter__()


def test_a_result_ends_with_a_change_of_label_image_or_schema(tmp_path: Path) -> None:
    image, label = files(tmp_path)

    def make(schema: str = "labels a, b") -> FoundLabelCheck:
        return FoundLabelCheck(tmp_path / "app", lambda *_: None, schema)

    make().put([label], LabelCheck(make().facts(image, [label])))
    assert make().find(image, [label]) is not None and make("labels b, a").find(image, [label]) is None
    assert make().find(tmp_path / "absent.nii.gz", [label]) is None
    image.write_bytes(b"another image")
    assert make().find(image, [label]) is None
    make().put([label], LabelCheck(make().facts(image, [label])))
    label.write_bytes(b"another label")
    assert make().find(image, [label]) is None


def test_several_labels_are_named() -> None:
    finding = several_labels("ct_1", [Path("x/ct_1.nii"), Path("x/ct_1.nii.gz")])
    assert finding.code == "SEVERAL_LABELS" and "ct_1.nii, ct_1.nii.gz" in finding.reason
