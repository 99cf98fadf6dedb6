"""Test the files of a written cohort."""

import json

import numpy as np
import pytest
from nibabel.nifti1 import Nifti1Image
from nibabel.orientations import aff2axcodes

from lib.data.phantom import write_cohort
from lib.data.phantom.cohort import case_seed


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    out = tmp_path_factory.mktemp("cohort")
    calls: list[tuple[int, int]] = []
    options = {"fov": "face", "pixel_mm": 3.0, "slice_mm": 5.0, "grid_mm": 2.5}
    paths = write_cohort(out, count=2, seed=3, progress=lambda done, of: calls.append((done, of)), **options)
    return out, paths, calls


def test_the_layout_is_that_of_a_studies_folder(written):
    out, paths, calls = written
    assert [p.name for p in paths] == ["phantom_0000.nii.gz", "phantom_0001.nii.gz"]
    assert calls == [(1, 2), (2, 2)]
    for path in paths:
        image, label = Nifti1Image.from_filename(path), Nifti1Image.from_filename(out / "labels" / "final" / path.name)
        assert image.get_data_dtype() == np.int16
        assert label.get_data_dtype() == np.uint8
        assert image.shape == label.shape
        assert image.affine is not None
        assert label.affine is not None
        assert np.allclose(image.affine, label.affine)
        assert aff2axcodes(image.affine) == ("R", "A", "S")
    assert (out / "about" / "cohort.png").stat().st_size > 1000


def test_the_records_have_seed_view_and_centreline(written):
    out, _, _ = written
    records = json.loads((out / "about" / "topology.json").read_text())
    assert records["phantom_0001"]["seed"] == case_seed(3, 1)
    assert records["phantom_0000"]["fov"] == "face"
    assert {"components", "loops", "parts", "centreline", "spacing_mm"} <= set(records["phantom_0000"])


def test_case_seeds_differ_by_index_and_cohort():
    assert len({case_seed(s, i) for s in range(3) for i in range(50)}) == 150
