"""Names and values of labels come from the data set, the headers, the user, or the files."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from lib.data.cases import Case
from lib.data.findings import InputRejected
from lib.data.formats import read_header
from lib.planning.collect import Collection, collect
from lib.planning.label_values import find_labels, read_values
from tests.planning.conftest import make_case, write


def test_values_of_the_files_get_names_of_the_user_or_their_numbers(folders: tuple[Path, Path]) -> None:
    found = collect(*folders)
    assert find_labels(found) == {"label_1": 1, "label_2": 2}
    assert find_labels(found, ["ball", "tube"]) == {"ball": 1, "tube": 2}


def test_names_of_a_data_set_are_kept_and_may_be_chosen(folders: tuple[Path, Path]) -> None:
    found = Collection("nnU-Net", collect(*folders).cases, {"tube": 2, "Ball": 1})
    assert find_labels(found) == {"Ball": 1, "tube": 2}
    assert list(find_labels(found, ["tube", "ball"]).items()) == [("tube", 2), ("ball", 1)]
    for names in (["tube"], ["tube", "liver"]):
        with pytest.raises(ValueError, match="all labels of the data set, in any order: tube, Ball"):
            find_labels(found, names)
    with pytest.raises(ValueError, match=r"from 1 to 254: liver \(300\)"):
        find_labels(Collection("nnU-Net", found.cases, {"liver": 300}))


@pytest.mark.parametrize("names", [["a", "a"], ["a", "A"], ["kidney left", "kidney_left"], ["background"], ["a\nb"]])
def test_names_that_clash_or_mean_something_else_are_refused(folders: tuple[Path, Path], names: list[str]) -> None:
    with pytest.raises(ValueError, match=r"different names|is no label|is no name"):
        find_labels(collect(*folders), names)


def test_names_in_headers_are_read(tmp_path: Path) -> None:
    image, label = make_case(0)
    stored = sitk.GetImageFromArray(label.T)
    stored.SetSpacing((1, 1, 1.2))
    stored.SetDirection((-1, 0, 0, 0, -1, 0, 0, 0, 1))
    for number, (name, value) in enumerate({"ball": 1, "tube": 2}.items()):
        for key, text in {"Name": name, "LabelValue": value, "Layer": 0, "ID": f"s{number}"}.items():
            stored.SetMetaData(f"Segment{number}_{key}", str(text))
    sitk.WriteImage(stored, str(tmp_path / "p0.seg.nrrd"))
    case = Case("p0", write(tmp_path / "p0.nii.gz", image), tmp_path / "p0.seg.nrrd", "p0")
    sources = find_labels(Collection("folder", (case,), {}))
    assert sources == {"ball": 1, "tube": 2}
    plain = Case("p1", case.image, write(tmp_path / "p1_label.nii.gz", label), "p1")
    with pytest.raises(ValueError, match="1 label files name their segments and 1 do not"):
        find_labels(Collection("folder", (case, plain), {}))
    np.testing.assert_array_equal(read_values(tmp_path / "p0.seg.nrrd", read_header(case.image), sources), label)


def test_without_labels_names_are_needed(folders: tuple[Path, Path]) -> None:
    found = collect(folders[0])
    with pytest.raises(ValueError, match="--labels A,B"):
        find_labels(found)
    assert find_labels(found, ["ball"]) == {"ball": 1}


def test_a_mask_of_0_and_255_is_a_label(tmp_path: Path) -> None:
    image, label = make_case(0)
    mask = write(tmp_path / "mask.nii.gz", ((label == 1) * 255).astype(np.uint8))
    case = Case("p0", write(tmp_path / "p0.nii.gz", image), mask, "p0")
    sources = find_labels(Collection("folder", (case,), {}))
    assert sources == {"label_1": 255}
    assert find_labels(Collection("folder", (case,), {}), ["ball"]) == {"ball": 255}
    np.testing.assert_array_equal(read_values(mask, read_header(case.image), sources), label == 1)
    other = write(tmp_path / "other.nii.gz", np.where(label == 1, 1, 255).astype(np.uint8))
    cases = (case, Case("p1", case.image, other, "p1"))
    sources = find_labels(Collection("folder", cases, {}))
    assert sources == {"label_1": 1}, "255 is ignored where another file has a 1"
    assert set(np.unique(read_values(mask, read_header(case.image), sources))) == {0, 255}


def test_values_become_those_of_the_app(tmp_path: Path) -> None:
    _, label = make_case(0)
    file = write(tmp_path / "a.nii.gz", np.choose(label, [0, 7, 3]).astype(np.uint8))
    image = read_header(file)
    np.testing.assert_array_equal(read_values(file, image, {"tube": 3, "ball": 7}), np.choose(label, [0, 2, 1]))
    with pytest.raises(InputRejected, match="LABEL_VALUES"):
        read_values(file, image, {"tube": 3})
