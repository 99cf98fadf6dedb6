"""Channels that lie behind each other in one file become files of their own, in the type of the source."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from lib.data.cases import Case
from lib.planning.collect import Collection
from lib.planning.unstack import unstack
from tests.planning.conftest import write


def stacked(folder: Path, channels: int) -> Collection:
    voxels = np.arange(4 * 5 * 6 * channels, dtype=np.int16).reshape(4, 5, 6, channels)
    case = Case("a", write(folder / "a.nii.gz", voxels), None, "a")
    return Collection("Decathlon", (case,), {}, stacked=("flair", "t1"))


def test_each_channel_has_its_own_file(tmp_path: Path) -> None:
    source = stacked(tmp_path, 2)
    found = unstack(source, tmp_path / "split")
    before = nib.load(source.cases[0].image)  # type: ignore[attr-defined]
    for number, path in enumerate((found.cases[0].image, found.channels["t1"]["a"])):
        image = nib.load(path)  # type: ignore[attr-defined]
        assert image.get_data_dtype() == np.int16 and image.shape == (4, 5, 6)
        np.testing.assert_array_equal(image.dataobj, np.asarray(before.dataobj)[..., number])
        np.testing.assert_allclose(image.affine, before.affine)
    assert found.stacked == () and list(found.channels) == ["t1"]


def test_a_collection_without_stacked_channels_is_unchanged(tmp_path: Path) -> None:
    source = Collection("folder", (), {})
    assert unstack(source, tmp_path / "split") is source and not (tmp_path / "split").exists()


def test_another_number_of_channels_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"'a.nii.gz' has 3 channels, and its data set names 2"):
        unstack(stacked(tmp_path, 3), tmp_path / "split")
