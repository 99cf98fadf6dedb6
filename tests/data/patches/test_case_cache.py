"""Cases are read once, and mapped from files that are named by everything that changes a reading."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from lib.data.cases import Case
from lib.data.intensity import Scale
from lib.data.patches import case_cache
from lib.data.patches.dataset import PatchDataset
from lib.data.pipeline import ImageSpec

FLAT = ImageSpec((1.0, 1.0, 1.0), (-1000.0, 400.0), (16, 12), (-2, 0, 3))
SHAPE = (40, 36, 20)
HU = (Scale(-1000.0, 400.0),)


class TestCache:
    @pytest.fixture
    def case(self, nifti: Callable[..., Path], head: Callable[..., np.ndarray]) -> Case:
        hu = head(SHAPE)
        label = nifti((hu < -500).astype(np.uint8), name="label.nii.gz")
        return Case("a", nifti(hu), label, "a")

    def patch(self, case: Case, cache: Path | None, spec: ImageSpec = FLAT) -> torch.Tensor:
        return PatchDataset([case], spec, classes=2, patches_per_epoch=2, cache=cache)[1]["image"]

    def test_second_run_reads_the_cache(self, tmp_path: Path, case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
        fresh = self.patch(case, None)
        assert torch.equal(self.patch(case, tmp_path / "cache"), fresh)
        monkeypatch.setattr(case_cache, "read", lambda *_: pytest.fail("read again"))
        assert torch.equal(self.patch(case, tmp_path / "cache"), fresh)

    def test_other_content_or_grid_gets_another_cache_file(
        self, tmp_path: Path, case: Case, nifti: Callable[..., Path], head: Callable[..., np.ndarray]
    ) -> None:
        cache = tmp_path / "cache"
        self.patch(case, cache)
        self.patch(case, cache, replace(FLAT, spacing_mm=(2.0, 2.0, 2.0)))
        nifti(head(SHAPE, seed=9))
        self.patch(case, cache)
        for changed in (
            replace(FLAT, window=(-500.0, 100.0)),
            replace(FLAT, crop_margin_mm=5.0),
            replace(FLAT, intensity="zscore"),
            replace(FLAT, modality="any"),
        ):
            self.patch(case, cache, changed)
        assert len({path.name.partition(".")[0] for path in cache.iterdir()}) == 7
        self.patch(case, cache, replace(FLAT, roi=(8, 8), slice_offsets=(0,)))
        assert len({path.name.partition(".")[0] for path in cache.iterdir()}) == 7, (
            "the patch does not change a reading"
        )

    def test_arrays_are_mapped_from_the_cache(self, tmp_path: Path, case: Case) -> None:
        cache = case_cache.CaseCache(tmp_path / "cache", FLAT)
        arrays = cache.load(case, optional=False)
        assert isinstance(arrays.image, np.memmap) and isinstance(arrays.label, np.memmap)
        assert arrays.image.dtype == np.int16 and arrays.scales == HU
        arrays.image[:] = 0
        assert cache.load(case, optional=False).image.any(), "a change in memory does not reach the file"


@pytest.mark.parametrize("intensity", ["unit", "percentile", "zscore"])
def test_an_image_between_0_and_1_is_not_rounded(intensity: str, nifti: Callable[..., Path], tmp_path: Path) -> None:
    voxels = np.random.default_rng(0).random(SHAPE, np.float32)
    case = Case("a", nifti(voxels), nifti((voxels > 0.9).astype(np.uint8), name="label.nii.gz"), "a")
    spec = replace(FLAT, intensity=intensity, modality="MR")
    arrays = case_cache.CaseCache(tmp_path, spec).load(case, optional=False)
    assert arrays.image.dtype == np.float32
    np.testing.assert_array_equal(arrays.image[:, 0], voxels.transpose(2, 0, 1))
