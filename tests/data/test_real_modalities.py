"""Real files of every modality, with the verdict that a task of their modality gives: codes, or size and channels."""

import os
from pathlib import Path

import data_store
import pydicom.data
import pytest

from lib.data.findings import InputRejected
from lib.data.pipeline import ImageSpec, open_image
from lib.data.validate import check

FOLDERS = (Path(data_store.__file__).parent / "data", Path(pydicom.data.__file__).parent / "test_files")
VERDICTS = {
    ("US1_UNCR.dcm", "US"): (640, 480, 1),
    ("US1_J2KI.dcm", "US"): (640, 480, 1),
    ("color-px.dcm", "US"): (256, 120, 1),
    ("color3d_jpeg_baseline.dcm", "US"): (640, 480, 120),
    ("OBXXXX1A.dcm", "US"): (800, 600, 1),
    ("OBXXXX1A_rle_2frame.dcm", "US"): (800, 600, 2),
    ("gdcm-US-ALOKA-16.dcm", "US"): (640, 480, 1),
    ("RG1_UNCR.dcm", "XR"): (1841, 1955, 1),
    ("RG3_J2KR.dcm", "XR"): (1760, 1760, 1),
    ("MR2_J2KR.dcm", "MR"): (1024, 1024, 1),
    ("MR-SIEMENS-DICOM-WithOverlays.dcm", "MR"): (484, 484, 1),
    ("MR_small.dcm", "MR"): (64, 64, 1),
    ("693_UNCI.dcm", "CT"): (512, 512, 1),
    ("JPEG-LL.dcm", "NM"): (256, 1024, 1),
    ("RG1_UNCR.dcm", "US"): "UNKNOWN_MODALITY",
    ("US1_UNCR.dcm", "CT"): "UNKNOWN_MODALITY",
    ("MR_small.dcm", "CT"): "UNKNOWN_MODALITY",
    ("emri_small.dcm", "MR"): "BAD_AFFINE",
    ("MR_truncated.dcm", "MR"): "TRUNCATED",
    ("SC_rgb.dcm", "RGB"): "UNKNOWN_MODALITY",
    ("OBXXXX1A.dcm", "RGB"): "UNKNOWN_MODALITY",
}


def find(name: str) -> Path:
    return next(folder / name for folder in FOLDERS if os.path.exists(folder / name))


@pytest.mark.parametrize(("name", "modality"), list(VERDICTS))
def test_verdict(name: str, modality: str) -> None:
    expected = VERDICTS[name, modality]
    if isinstance(expected, str):
        with pytest.raises(InputRejected, match=expected):
            check(find(name), modality=modality)
        return
    volume = check(find(name), modality=modality)
    assert volume.voxels.shape == expected and not volume.others
    assert float(volume.voxels.std()) > 0


@pytest.mark.parametrize("name", ["color3d_jpeg_baseline.dcm", "OBXXXX1A_rle_2frame.dcm"])
def test_a_loop_of_frames_is_no_volume(name: str) -> None:
    slices = ImageSpec((1.0, 1.0, 1.0), (0.0, 1.0), (64, 64), intensity="percentile", modality="US")
    assert "frames without positions: each is an image of its own" in open_image(find(name), slices).notes[0]
    volumes = ImageSpec((1.0, 1.0, 1.0), (0.0, 1.0), (64, 64, 16), intensity="percentile", modality="US")
    with pytest.raises(InputRejected, match="WRONG_DIMENSION: The file holds"):
        open_image(find(name), volumes)
