"""Patches show the right voxels, favour labelled voxels, repeat with their seed, and use the cache."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from lib.data.cases import Case
from lib.data.formats import Volume
from lib.data.intensity import Scale
from lib.data.patches.augment import Augmentation
from lib.data.patches.dataset import PatchDataset
from lib.data.pipeline import IGNORE, ImageSpec, Reading, read
from lib.data.volumes.grid import Grid
from lib.ops.mirror import Mirroring

FLAT = ImageSpec((1.0, 1.0, 1.0), (-1000.0, 400.0), (16, 12), (-2, 0, 3))
BOX = ImageSpec((1.0, 1.0, 1.0), (-1000.0, 400.0), (16, 12, 8))
SHAPE = (40, 36, 20)
HU = (Scale(-1000.0, 400.0),)


def reading(*classes: int, seed: int = 0) -> Reading:
    """Return noise with one small box of each class."""
    rng = np.random.default_rng(seed)
    label = np.zeros(SHAPE, np.uint8)
    for value in classes:
        at = [int(rng.integers(4, n - 8)) for n in SHAPE]
        label[at[0] : at[0] + 3, at[1] : at[1] + 3, at[2] : at[2] + 3] = value
    intensities = torch.from_numpy(rng.integers(-1000, 400, SHAPE).astype(np.float32))[None]
    grid = Grid.over(SHAPE, np.eye(4), (1.0, 1.0, 1.0))
    return Reading(intensities, torch.from_numpy(label), grid, scales=HU)


def make(spec: ImageSpec, cases: list[Reading], classes: int = 6, **options: object) -> PatchDataset:
    settings = {"patches_per_epoch": 30, "seed": 3, **options}
    return PatchDataset(cases, spec, classes=classes, **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("augment", [Augmentation(), None])
@pytest.mark.parametrize(
    ("spec", "image", "label"), [(FLAT, (3, 16, 12), (16, 12)), (BOX, (1, 16, 12, 8), (16, 12, 8))]
)
def test_shapes_types_and_range(
    spec: ImageSpec, image: tuple[int, ...], label: tuple[int, ...], augment: Augmentation | None
) -> None:
    for patch in DataLoader(make(spec, [reading(1, 2)], augment=augment), batch_size=10):
        assert patch["image"].shape == (10, *image) and patch["image"].dtype == torch.float32
        assert patch["label"].shape == (10, *label) and patch["label"].dtype == torch.int64
        assert patch["image"].min() >= 0 and patch["image"].max() <= 1
        assert set(patch["label"].unique().tolist()) <= {0, 1, 2, IGNORE}


@pytest.mark.parametrize("spec", [FLAT, BOX])
def test_unchanged_patch_is_found_in_the_volume(spec: ImageSpec) -> None:
    whole = reading(1, 2, 3)
    assert whole.label is not None
    volume, depth = whole.normalised()[0], spec.roi[2] if len(spec.roi) == 3 else 1
    for patch in make(spec, [whole], augment=None, patches_per_epoch=6):
        label = patch["label"].reshape(16, 12, depth)
        inside = (label != IGNORE).nonzero()
        low, high = inside.min(0).values, inside.max(0).values + 1
        known = label[low[0] : high[0], low[1] : high[1], low[2] : high[2]]
        spots = [s for s in _spots(whole.label, known) if _shows(volume, patch, spec, s, low, known.shape)]
        assert len(spots) == 1


def _spots(label: torch.Tensor, known: torch.Tensor) -> list[tuple[int, int, int]]:
    blocks = label.unfold(0, known.shape[0], 1).unfold(1, known.shape[1], 1).unfold(2, known.shape[2], 1)
    return [tuple(s) for s in (blocks == known).all(-1).all(-1).all(-1).nonzero().tolist()]


def _shows(volume: torch.Tensor, patch: dict, spec: ImageSpec, spot: tuple, low: torch.Tensor, size: tuple) -> bool:
    x, y, z = spot
    i, j, k = low.tolist()
    offsets = spec.slice_offsets if len(spec.roi) == 2 else (0,)
    for channel, offset in enumerate(offsets):
        planes = np.clip(np.arange(z, z + size[2]) + offset, 0, volume.shape[2] - 1)
        expected = volume[x : x + size[0], y : y + size[1], planes]
        image = patch["image"][channel].reshape(16, 12, -1)[i : i + size[0], j : j + size[1], k : k + size[2]]
        if not torch.allclose(image, expected, atol=2e-3):
            return False
    return True


def test_classes_are_drawn_equally_often_from_any_number_of_cases() -> None:
    cases = [reading(1, seed=0), reading(1, seed=1), reading(1, seed=2), reading(4, seed=3)]
    data = make(FLAT, cases, augment=None, patches_per_epoch=300)
    middles = Counter(int(patch["label"][8, 6]) for patch in data)
    assert 0.25 < middles[1] / 300 < 0.45 and 0.25 < middles[4] / 300 < 0.45 and middles[0] > 50


def test_patch_depends_only_on_seed_epoch_and_index() -> None:
    first, second = (make(FLAT, [reading(1)]) for _ in range(2))
    _ = first[0]
    assert torch.equal(first[7]["image"], second[7]["image"])
    assert not torch.equal(first[7]["image"], first[8]["image"])
    second.set_epoch(1)
    assert not torch.equal(first[7]["image"], second[7]["image"])
    assert not torch.equal(first[7]["image"], make(FLAT, [reading(1)], seed=4)[7]["image"])


@pytest.mark.parametrize("augment", [Augmentation(), None])
def test_roi_larger_than_the_volume(augment: Augmentation | None) -> None:
    spec = ImageSpec((1.0, 1.0, 1.0), (-1000.0, 400.0), (64, 64, 32))
    patch = make(spec, [reading(1)], augment=augment)[0]
    assert patch["image"].shape == (1, 64, 64, 32)
    assert (patch["label"] == IGNORE).float().mean() > 0.2


def test_case_without_classes_gives_background() -> None:
    assert (make(FLAT, [reading()], augment=None)[0]["label"] % IGNORE == 0).all()


def test_patches_are_drawn_from_labelled_slices_only() -> None:
    whole = reading(1, 2)
    assert whole.label is not None
    label = torch.full_like(whole.label, IGNORE)
    label[..., [3, 11]] = whole.label[..., [3, 11]]
    for patch in make(FLAT, [replace(whole, label=label)], augment=None):
        assert (patch["label"] != IGNORE).any()
    bare = make(FLAT, [replace(whole, label=label)], augment=None, allow_unlabelled=True)
    assert not all((patch["label"] != IGNORE).any() for patch in bare)


def test_unlabelled_cases_are_accepted_if_allowed() -> None:
    bare = replace(reading(), label=None)
    assert all((patch["label"] == IGNORE).all() for patch in make(FLAT, [bare, bare], allow_unlabelled=True))


def test_views_show_the_same_place() -> None:
    patches = make(FLAT, [reading(1)])
    first, second = patches.views(4, 2)
    assert torch.equal(first["image"], patches[4]["image"]) and not torch.equal(first["image"], second["image"])
    still = make(FLAT, [reading(1)], augment=None).views(4, 2)
    assert torch.equal(still[0]["image"], still[1]["image"])
    with pytest.raises(IndexError):
        patches.views(30, 2)


def test_faulty_cases_are_refused() -> None:
    with pytest.raises(ValueError, match=r"holds \[5\].*5 classes"):
        make(FLAT, [reading(5)], classes=5)
    with pytest.raises(ValueError, match="without a label"):
        make(FLAT, [read(Volume(np.zeros(SHAPE, np.int16), np.eye(4)), FLAT)])
    with pytest.raises(ValueError, match="no cases"):
        make(FLAT, [])
    with pytest.raises(ValueError, match="'a' has no label"):
        PatchDataset([Case("a", Path("a"), None, "a")], FLAT, classes=2, patches_per_epoch=1)
    with pytest.raises(IndexError):
        _ = make(FLAT, [reading(1)])[30]


def logits_of(case: Reading, classes: int = 3) -> np.ndarray:
    """Return logits that predict the label of a case: ten times its one-hot code, ``(Z, K, X, Y)``."""
    assert case.label is not None
    label = case.label.permute(2, 0, 1)
    return np.stack([(label == value).numpy() * 10 for value in range(classes)], 1).astype(np.float16)


@pytest.mark.parametrize("augment", [Augmentation(), None])
@pytest.mark.parametrize("spec", [FLAT, BOX])
def test_teacher_logits_are_rotated_and_scaled_with_the_image(spec: ImageSpec, augment: Augmentation | None) -> None:
    """The logits predict the label, except at samples between two classes."""
    whole = reading(1, 2)
    found = different = 0
    for patch in make(spec, [whole], augment=augment, teacher_logits=[logits_of(whole)]):
        assert patch["teacher"].shape == (3, *patch["label"].shape) and patch["seen"].shape == patch["label"].shape
        assert torch.equal(patch["seen"], patch["label"] != IGNORE), "all voxels of this case have a label"
        drawn = patch["teacher"].argmax(0)[patch["seen"]]
        found += int((patch["label"][patch["seen"]] > 0).sum())
        different += int((drawn != patch["label"][patch["seen"]]).sum())
        sure = patch["teacher"].amax(0)[patch["seen"]] > 9.9
        assert (drawn == patch["label"][patch["seen"]])[sure].all()
    assert found > 100 and different < (0.35 * found if augment else 1)


def test_unlabelled_case_is_centred_on_classes_that_the_teacher_predicts() -> None:
    whole = reading(2)
    bare = replace(whole, label=None)
    patches = list(make(FLAT, [bare], augment=None, teacher_logits=[logits_of(whole)]))
    assert all((patch["label"] == IGNORE).all() for patch in patches)
    assert any(patch["seen"].all() for patch in patches)
    shown = sum(bool((patch["teacher"].argmax(0) == 2).any()) for patch in patches)
    assert shown > 15, "a random patch seldom shows a box of 27 voxels"


def test_teacher_logits_are_needed_for_all_cases() -> None:
    with pytest.raises(ValueError):
        make(FLAT, [reading(1), reading(2)], teacher_logits=[logits_of(reading(1))])


def colours() -> Reading:
    """Return a photograph of one slice whose channels differ, as 8-bit values."""
    whole = reading(1)
    assert whole.label is not None
    image = torch.stack(
        [whole.intensities[0, ..., :1].abs() % 256, torch.full((40, 36, 1), 51.0), torch.zeros(40, 36, 1)]
    )
    return replace(whole, intensities=image, label=whole.label[..., :1], scales=(Scale(0, 255),) * 3)


def test_colours_are_channels_of_a_patch() -> None:
    spec = ImageSpec((1.0, 1.0, 1.0), (0.0, 1.0), (16, 12), modality="RGB", intensity="unit")
    for patch in make(spec, [colours()], augment=None):
        assert patch["image"].shape == (3, 16, 12)
        torch.testing.assert_close(patch["image"][1], torch.full((16, 12), 0.2), atol=1e-5, rtol=0)
        assert not patch["image"][2].any() and patch["image"][0].std() > 0.2
    assert make(spec, [colours()])[0]["image"].shape == (3, 16, 12)


def test_a_3d_patch_is_rotated_about_every_axis() -> None:
    """The intensities are the z of each voxel, so that a patch shows how its axes lie in the case."""
    z = torch.arange(20.0).expand(40, 36, 20)[None]
    case = replace(reading(1), intensities=z, scales=(Scale(0.0, 20.0),))
    how = Augmentation(offset=0.0, noise_sd=0.0, prob=0.0)
    slopes = [
        [float(patch["image"][0].diff(dim=axis).median()) * 20 for axis in range(3)]
        for patch in make(BOX, [case], augment=how)
    ]
    tilts = np.array(slopes)
    assert (tilts[:, 2] > 0.6).all() and (np.abs(tilts[:, :2]).max(0) > 0.08).all()


def written(tmp_path: Path, name: str, whole: Reading, covered: tuple[str, ...] | None) -> Case:
    import nibabel as nib

    assert whole.label is not None
    paths = tmp_path / f"{name}.nii.gz", tmp_path / f"{name}-label.nii.gz"
    for path, voxels in zip(paths, (whole.intensities[0].numpy().astype(np.int16), whole.label.numpy()), strict=True):
        nib.save(nib.Nifti1Image(voxels, np.eye(4)), path)
    return Case(name, paths[0], paths[1], name, covered)


def test_patches_say_what_their_label_covers_if_any_label_does_not_cover_all(tmp_path: Path) -> None:
    whole = written(tmp_path, "whole", reading(1, 2), None)
    part = written(tmp_path, "part", reading(1, seed=1), ("left",))
    labels = ("left", "right")
    assert "covered" not in PatchDataset([whole], FLAT, classes=3, labels=labels, patches_per_epoch=1)[0]
    patches = PatchDataset([whole, part], FLAT, classes=3, labels=labels, patches_per_epoch=60, augment=None)
    found = {tuple(patch["covered"].tolist()) for patch in patches}
    assert found == {(True, True, True), (True, True, False)}
    assert all(patch["covered"][2] for patch in patches if (patch["label"] == 2).any())
    batch = next(iter(DataLoader(patches, batch_size=10)))
    assert batch["covered"].shape == (10, 3) and batch["covered"].dtype == torch.bool


def test_a_mirrored_patch_covers_the_other_side(tmp_path: Path) -> None:
    part = written(tmp_path, "part", reading(1), ("left",))
    pairs = Augmentation(mirroring=Mirroring(((1, 2),)))
    patches = PatchDataset([part], FLAT, classes=3, labels=("left", "right"), patches_per_epoch=60, augment=pairs)
    sides = [(patch["label"].unique().tolist(), patch["covered"].tolist()) for patch in patches]
    assert any(1 in values for values, _ in sides) and any(2 in values for values, _ in sides)
    for values, covered in sides:
        assert all(covered[value] for value in values if value != IGNORE), "what is drawn is covered"
        assert covered in ([True, True, False], [True, False, True])


def test_a_label_that_does_not_cover_its_own_voxels_is_refused(tmp_path: Path) -> None:
    case = written(tmp_path, "wrong", reading(1, 2), ("left",))
    with pytest.raises(ValueError, match=r"label of 'wrong' holds \[2\], which it does not cover"):
        PatchDataset([case], FLAT, classes=3, labels=("left", "right"), patches_per_epoch=1)
