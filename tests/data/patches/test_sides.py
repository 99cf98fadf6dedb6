"""A mirrored patch never shows a left structure under the name of a right one, or the other way round."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from lib.data.intensity import Scale
from lib.data.patches.augment import Augmentation
from lib.data.patches.dataset import PatchDataset
from lib.data.patches.sides import AugmentSpec, mirror_pairs, sided_labels
from lib.data.pipeline import IGNORE, ImageSpec, Reading, read
from lib.data.volumes.grid import Grid
from lib.ops.mirror import Mirroring
from tests.data.conftest import make_affine

DATA = Path(os.environ.get("TOPOLABEL_DATA", Path(__file__).resolve().parents[4] / "shared" / "data"))
LEFT, RIGHT, MIDDLE = 1, 2, 3
NAMES = ("half_left", "half_right", "core")
PAIRS = AugmentSpec(mirror_pairs=(("half_left", "half_right"),))
WINDOW = (-1000.0, 1000.0)
"""Intensities are ten times the distance to the right of the middle, so that patches show from where they came."""


@pytest.mark.parametrize(
    "name",
    [
        "left_kidney", "Kidney right", "lung-L", "l.lung", "R_lung", "kidneyLeft", "LKidney", "LEFT", "rib_left_4",
        "left4", "4L", "ctx-lh-cuneus", "rh.pial", "RUL", "Niere links", "rechte Lunge", "rein_gauche", "rein droit",
        "riñón_izquierdo", "pulmón derecho", "rene_dx", "polmone sinistro", "pulmo_dexter", "ren sinister",
        "левая почка", "左腎", "leftkidney", "LEFTKIDNEY", "kidneyright", "lkidney", "rlungs", "LA", "RV",
        "lewa_nerka", "vänster njure", "høyre nyre", "linkernier", "linkeniere", "левого лёгкого", "ліва",
        "LVOT", "lpsoas",
    ],
)  # fmt: skip
def test_a_word_for_a_side_gives_a_label_a_side(name: str) -> None:
    assert sided_labels(["liver", name]) == [name]
    assert AugmentSpec().mirroring(["liver", name]) is None, "such a task is not mirrored"


@pytest.mark.parametrize(
    "name",
    [
        "upright", "cleft", "leftover", "bright", "lung", "liver2", "lens", "nasal_cavity", "sinuses", "larynx",
        "vertebra_L4", "T12-L1", "liver", "lr",
    ],
)  # fmt: skip  # fmt: skip
def test_other_words_and_vertebrae_have_no_side(name: str) -> None:
    assert sided_labels([name]) == [] and AugmentSpec().mirroring([name]) == Mirroring()


@pytest.mark.parametrize("pair", [("L4", "R4"), ("lkidney", "rkidney"), ("kidneyleft", "kidneyright"), ("C2l", "C2R")])
def test_a_counterpart_gives_both_labels_a_side(pair: tuple[str, str]) -> None:
    assert sided_labels(["liver", *pair]) == list(pair)


def test_pairs_become_label_values() -> None:
    assert PAIRS.mirroring(NAMES) == Mirroring(((LEFT, RIGHT),))
    assert AugmentSpec(mirror=True, mirror_pairs=PAIRS.mirror_pairs).mirroring(NAMES) == Mirroring(((LEFT, RIGHT),))
    assert AugmentSpec(mirror=False, mirror_pairs=PAIRS.mirror_pairs).mirroring(NAMES) is None
    assert AugmentSpec(mirror=False).mirroring(["liver"]) is None
    assert AugmentSpec(mirror_pairs=(("b", "a"),)).mirroring("abc") == Mirroring(((2, 1),)), (
        "names need not have a side"
    )


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (AugmentSpec(mirror=True), "the names half_left, half_right have a side.*or write mirror = false"),
        (AugmentSpec(mirror_pairs=(("half_left", "core"),)), "the names half_right have a side"),
        (AugmentSpec(mirror_pairs=(("half_left", "other"),)), "no label other; the labels are half_left, half_right"),
        (AugmentSpec(mirror_pairs=(("half_left", "half_left2"),)), "no label half_left2"),
        (AugmentSpec(mirror_pairs=(("core", "core"),)), "has core more than once"),
        (AugmentSpec(mirror_pairs=(("half_left", "half_right"), ("core", "half_left"))), "has half_left more than"),
    ],
)
def test_a_declaration_that_would_mix_the_sides_is_refused(spec: AugmentSpec, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        spec.mirroring(NAMES)


def by_position(label: torch.Tensor, right: torch.Tensor, grid: Grid) -> Reading:
    """Return a reading whose intensities are positions, and whose labels are divided into the sides.

    Args:
        label: Label of any values, ``(X, Y, Z)``.
        right: Distance to the right of the middle, ``(X, Y, Z)``; labels within 2 of the middle become `MIDDLE`.
        grid: Grid of both.
    """
    sides = torch.where(right < 0, LEFT, RIGHT).where(right.abs() > 2, MIDDLE)
    marks = torch.where(label > 0, sides, 0).to(torch.uint8)
    return Reading((10 * right)[None], marks, grid, scales=(Scale(*WINDOW),))


def divided(label: torch.Tensor, grid: Grid) -> Reading:
    """Return `by_position` with the position in samples along the first axis."""
    right = torch.arange(label.shape[0]) - (label.shape[0] - 1) / 2
    return by_position(label, right[:, None, None].expand(label.shape), grid)


def real_hippocampi() -> list[Reading]:
    folder = DATA / "hippocampus"
    if not folder.is_dir():
        pytest.skip(f"no real data: {folder} is missing; set TOPOLABEL_DATA")
    spec, readings = ImageSpec((1.0, 1.0, 1.0), WINDOW, (32, 32)), []
    for image in sorted((folder / "imagesTr").glob("[!.]*.nii.gz"))[:10]:
        reading = read(image, spec, folder / "labelsTr" / image.name)
        assert reading.label is not None
        readings.append(divided(reading.label, reading.grid))
    return readings


def oblique_volumes() -> list[Reading]:
    """Return volumes with permuted, flipped and turned axes; positions are along the right-left axis of the patient."""
    readings = []
    for seed in range(8):
        affine = make_affine(seed)
        shape = (24, 28, 20)
        indices = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1)
        mm = indices @ affine[:3, :3].T
        right = mm[..., 0] - mm[..., 0].mean()
        grid = Grid.over(shape, affine, (2.0, 2.0, 2.0))
        label = grid.label(np.ones(shape, np.uint8))
        readings.append(by_position(label, grid.image(right.astype(np.float32)), grid))
    return readings


def one_hot(reading: Reading) -> np.ndarray:
    """Return logits that predict the label of a reading, ``(Z, K, X, Y)``."""
    assert reading.label is not None
    return np.stack([10 * (reading.label == value).permute(2, 0, 1).numpy() for value in range(4)], 1).astype(
        np.float16
    )


def count_patches(
    readings: list[Reading], roi: tuple[int, ...], mirroring: Mirroring | None, count: int
) -> tuple[int, int, int]:
    """Return how many of `count` patches show a side, how many of these are mirrored, and how many name a wrong side.

    A patch is mirrored if its positions fall along its first axis. The positions also give the side from which a
    sample came, and in a mirrored patch that sample has to have the name of the other side.
    """
    spec, logits = ImageSpec((1.0, 1.0, 1.0), WINDOW, roi), [one_hot(reading) for reading in readings]
    augment = Augmentation(mirroring=mirroring, noise_sd=0.0, offset=0.0, prob=0.0)
    patches = PatchDataset(
        readings, spec, classes=4, patches_per_epoch=count, augment=augment, teacher_logits=logits
    )  # fmt: skip
    shown = mirrored = wrong = 0
    for patch in patches:
        right, label, drawn = 200 * patch["image"][0] - 100, patch["label"], patch["teacher"].argmax(0)
        checked = (label > 0) & (label != IGNORE) & (right.abs() > 4)
        if not checked.any():
            continue
        is_mirrored = bool(right.diff(dim=0).mean() < 0)
        named = torch.where((right < 0) != is_mirrored, LEFT, RIGHT)
        shown, mirrored = shown + 1, mirrored + is_mirrored
        wrong += bool((label != named)[checked].any() or (drawn == LEFT + RIGHT - named)[checked].any())
    return shown, mirrored, wrong


@pytest.mark.parametrize("roi", [(32, 32), (24, 24, 12)], ids=["2.5-D", "3-D"])
@pytest.mark.parametrize(("cases", "count"), [(real_hippocampi, 1000), (oblique_volumes, 150)])
def test_no_patch_shows_a_side_under_the_name_of_the_other(
    cases: Callable[[], list[Reading]], count: int, roi: tuple[int, ...]
) -> None:
    shown, mirrored, wrong = count_patches(cases(), roi, PAIRS.mirroring(NAMES), count)
    assert shown > 0.5 * count and wrong == 0
    assert 0.4 < mirrored / shown < 0.6


@pytest.mark.parametrize("roi", [(32, 32), (24, 24, 12)], ids=["2.5-D", "3-D"])
def test_without_pairs_no_patch_of_a_label_with_a_side_is_mirrored(roi: tuple[int, ...]) -> None:
    shown, mirrored, wrong = count_patches(oblique_volumes(), roi, AugmentSpec().mirroring(NAMES), 100)
    assert shown > 50 and mirrored == wrong == 0


def test_a_patch_that_is_mirrored_without_exchange_is_counted() -> None:
    """The count above can find the fault: names without a side hide that the two halves are sides."""
    shown, mirrored, wrong = count_patches(oblique_volumes(), (32, 32), AugmentSpec().mirroring(("a", "b", "c")), 100)
    assert wrong == mirrored > 0.3 * shown


@pytest.mark.parametrize("roi", [(32, 32), (24, 24, 12)])
def test_mirroring_changes_no_other_random_choice(roi: tuple[int, ...]) -> None:
    """The patches that are not mirrored are equal with and without mirroring, to the bit."""
    spec, readings, same = ImageSpec((1.0, 1.0, 1.0), WINDOW, roi), oblique_volumes(), 0
    with_mirror, without = (
        PatchDataset(readings, spec, classes=4, patches_per_epoch=60, augment=Augmentation(mirroring=mirroring))
        for mirroring in (Mirroring(), None)
    )
    for one, other in zip(with_mirror, without, strict=True):
        same += torch.equal(one["image"], other["image"]) and torch.equal(one["label"], other["label"])
    assert 15 < same < 45


def test_a_teacher_of_all_labels_together_has_no_channels_to_exchange() -> None:
    """Such a teacher has two channels, whatever the number of labels."""
    spec, reading = ImageSpec((1.0, 1.0, 1.0), WINDOW, (32, 32)), oblique_volumes()[0]
    united = [one_hot(reading)[:, :2]]
    augment = Augmentation(mirroring=Mirroring(((LEFT, RIGHT),)))
    patches = PatchDataset([reading], spec, classes=4, patches_per_epoch=8, augment=augment, teacher_logits=united)
    plain = Augmentation(mirroring=Mirroring())
    expected = PatchDataset([reading], spec, classes=4, patches_per_epoch=8, augment=plain, teacher_logits=united)
    assert all(torch.equal(a["teacher"], b["teacher"]) for a, b in zip(patches, expected, strict=True))


def test_pairs_of_one_side_are_refused() -> None:
    names = ("kidney_left", "lung_left", "kidney_right", "lung_right")
    wrong = AugmentSpec(mirror_pairs=(("kidney_left", "lung_left"), ("kidney_right", "lung_right")))
    with pytest.raises(ValueError, match="kidney_left and lung_left, which are on the same side"):
        wrong.mirroring(names)
    assert AugmentSpec(mirror_pairs=(("kidney_left", "kidney_right"), ("lung_left", "lung_right"))).mirroring(names)
    assert sided_labels(["Niere_li", "Niere_re", "rein_g", "rein_d", "kidney_sin", "kidney_dex"]) != []


@pytest.mark.parametrize(
    "pair",
    [
        ("kidney_left", "kidney_right"), ("left_rib_4", "right_rib_4"), ("L_lung", "R_lung"), ("lkidney", "rkidney"),
        ("leftkidney", "rightkidney"), ("linkeniere", "rechteniere"), ("Niere links", "Niere rechts"), ("LV", "RV"),
    ],
)  # fmt: skip
def test_labels_that_differ_in_their_side_only_are_pairs(pair: tuple[str, str]) -> None:
    assert mirror_pairs(["liver", *pair[::-1]]) == [pair]
    AugmentSpec(mirror_pairs=(pair,)).mirroring(pair)


def test_labels_without_one_counterpart_are_no_pairs() -> None:
    assert mirror_pairs(["left_rib_4", "right_rib_5", "kidney_left", "spleen"]) == []
    assert mirror_pairs(list("ABCDEFGLR")) == [] and mirror_pairs(["C", "D", "L", "S"]) == [], (
        "letters alone are no side"
    )
    assert mirror_pairs(["zone_D", "zone_G", "LAD", "RML"]) == []
