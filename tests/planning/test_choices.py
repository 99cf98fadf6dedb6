"""Each choice follows from the fingerprint and has a reason."""

import math
from dataclasses import replace

import pytest

from lib.data.cases import patient_from_name
from lib.planning.choices import MIN_STEPS, Plan, choose
from lib.planning.fingerprint import Fingerprint, LabelFacts

BALL = LabelFacts("ball", 1, 20, 3.0, (18.0, 18.0, 18.0), False, True)
TUBE = LabelFacts("tube", 2, 20, 1.0, (4.0, 60.0, 4.0), True, False)
MR = Fingerprint(20, 20, (160, 192, 160), (1.0, 1.0, 1.1), 1, (), False, 20.0, 900.0, 3.0, (BALL, TUBE), {})
CT = replace(MR, looks_like_ct=True, low=-80.0, high=240.0)
PHOTO = replace(MR, shape=(999, 960, 1), spacing_mm=(1.0, 1.0, 1.0), channels=3)


def plan(
    found: Fingerprint, stated: str = "", labels: tuple[str, ...] = ("ball", "tube"), us_per_voxel: float = 1.0
) -> Plan:
    """Plan 30 minutes on a machine that needs some microseconds per voxel of a step."""
    time_step = lambda name, roi, batch, channels: math.prod(roi) * batch * us_per_voxel * 1e-6  # noqa: E731
    return choose(found, labels, minutes=30, stated=stated, time_step=time_step)


def test_every_choice_has_a_reason() -> None:
    for found in (MR, CT, PHOTO):
        for key, choice in plan(found).choices.items():
            assert choice.reason or choice.value is None, key


@pytest.mark.parametrize(
    ("found", "stated", "modality", "intensity"),
    [
        (MR, "", "MR", "zscore"),
        (CT, "", "CT", "window"),
        (MR, "CT", "CT", "window"),
        (CT, "MRI", "MR", "zscore"),
        (MR, "T1w", "MR", "zscore"),
        (replace(CT, dicom=("MR",)), "CT", "MR", "zscore"),
        (replace(MR, dicom=("CR", "DX"), shape=(900, 900, 1)), "", "XR", "percentile"),
        (replace(MR, shape=(900, 900, 1)), "", "any", "percentile"),
        (replace(MR, low=-50.0), "", "any", "zscore"),
        (PHOTO, "", "RGB", "unit"),
    ],
)
def test_modality_and_intensity(found: Fingerprint, stated: str, modality: str, intensity: str) -> None:
    chosen = plan(found, stated)
    assert (chosen["modality"], chosen["intensity"]) == (modality, intensity)


def test_the_window_of_a_ct_shows_the_labelled_voxels() -> None:
    low, high = plan(CT)["window"]
    assert low <= -160 and 320 <= high < 400
    assert plan(replace(CT, labelled=0))["window"] == [-1000.0, 1000.0]
    assert plan(MR)["window"] is None


def test_thick_slices_and_pictures_are_segmented_in_two_dimensions() -> None:
    assert plan(MR)["dimensions"] == 3 and len(plan(MR)["roi"]) == 3 and "slice_offsets" not in plan(MR).choices
    thick = plan(replace(MR, spacing_mm=(0.7, 0.7, 5.0), shape=(320, 320, 24)))
    assert thick["dimensions"] == 2 and thick["slice_offsets"] == [-1, 0, 1]
    photo = plan(PHOTO)
    assert photo["dimensions"] == 2 and "slice_offsets" not in photo.choices


def test_the_patch_is_the_largest_that_is_trained_often_enough() -> None:
    fast, slow = plan(MR, us_per_voxel=0.1), plan(MR, us_per_voxel=20.0)
    assert math.prod(fast["roi"]) > 4 * math.prod(slow["roi"])
    assert all(side % 8 == 0 for side in (*fast["roi"], *slow["roi"]))
    assert math.prod(slow["roi"]) * slow["batch_size"] * 20e-6 * MIN_STEPS <= 1.3 * 30 * 60
    small = plan(replace(MR, shape=(35, 50, 36), labels=()), us_per_voxel=0.1)
    assert small["roi"] == [40, 56, 40], "a small image is taken whole, rounded up"


def test_a_large_organ_on_a_slow_machine_is_segmented_slice_by_slice() -> None:
    large = replace(BALL, extent=(150.0, 150.0, 120.0))
    chosen = plan(replace(MR, labels=(large,)), labels=("ball",), us_per_voxel=20.0)
    assert chosen["dimensions"] == 2 and "smaller than the largest label" in chosen.choices["dimensions"].reason


def test_sides_and_forms_of_labels() -> None:
    both = plan(MR, labels=("kidney_left", "kidney_right"))
    assert both["mirror_pairs"] == [["kidney_left", "kidney_right"]]
    assert plan(MR, labels=("kidney_left", "liver"))["mirror"] is False
    assert "mirror" not in plan(MR).choices and plan(MR)["tubular"] == ["tube"] and plan(MR)["one_piece"] == ["ball"]


def test_the_two_sides_of_one_patient_stay_together() -> None:
    def chosen(*names: str) -> Plan:
        return choose(PHOTO, ("vessel",), names, minutes=30, stated="", time_step=lambda *_: 0.1)

    pattern = chosen("Image_01L", "Image_01R", "Image_02L", "Image_02R")["patient_pattern"]
    assert [patient_from_name(name, pattern) for name in ("Image_01L", "Image_01R", "p2_OD")] == [
        "Image_01",
        "Image_01",
        "p2",
    ]
    assert "patient_pattern" not in chosen("colour", "far", "near").choices, "these end with R by chance"


def test_what_the_owner_should_know() -> None:
    unseen = replace(BALL, name="rare", cases=0)
    assert "No label was seen of 'rare'." in plan(replace(MR, labels=(BALL, unseen))).notes
    assert "trains by itself" in " ".join(plan(replace(MR, labelled=0)).notes)
