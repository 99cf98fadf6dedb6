"""Thousands of random series against a slow reference: every pixel is placed by its tags, or the series is refused."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lib.data.formats.dicom_frames import Frame
from lib.data.formats.slice_stack import SAME_POSITION_MM, UNEVEN_FRACTION, SliceStack, assemble
from tests.data.formats.series import SIZE, Series, place, random_series

CORNERS = [(0, 0), (SIZE[0] - 1, 0), (0, SIZE[1] - 1), (SIZE[0] - 1, SIZE[1] - 1)]


def assert_placed(series: Series, stack: SliceStack) -> None:
    """Check the place of every corner of every slice, and that slices are in the order of their positions."""
    placed = [series.frames[index] for index in stack.order]
    assert len(placed) == len(series.frames) - series.scouts
    depths = []
    for k, frame in enumerate(placed):
        for column, row in CORNERS:
            expected = place(frame, column, row)
            found = stack.affine[:3] @ [column, row, k, 1]
            if stack.origins is not None:
                in_plane = stack.affine[:3, :2] @ [column, row]
                np.testing.assert_allclose(stack.origins[k] + in_plane, expected, atol=1e-6)
            else:
                # An even series may leave a slice off the grid by the fraction that counts as even, over the series.
                step = np.linalg.norm(stack.affine[:3, 2])
                assert np.linalg.norm(found - expected) <= UNEVEN_FRACTION * step * np.sqrt(len(placed)) + 1e-6
        normal = np.cross(stack.affine[:3, 0], stack.affine[:3, 1])
        depths.append(normal @ place(frame, 0, 0) / np.linalg.norm(normal))
    assert (np.diff(depths) > SAME_POSITION_MM).all(), "slices follow each other along the normal"
    assert np.linalg.det(stack.affine[:3, :3]) > 0, "columns, rows and slices keep their hand: left stays left"


@pytest.mark.parametrize("block", range(20))
def test_random_series_are_placed_by_their_tags_or_refused(block: int) -> None:
    outcomes = {True: 0, False: 0}
    for seed in range(block * 200, block * 200 + 200):
        series = random_series(seed)
        stack, faults = assemble(series.frames, "series")
        assert (stack is None) == bool(faults)
        if series.fault:
            assert [fault.code for fault in faults][:1] == [series.fault], (seed, series.kinds)
        else:
            assert stack is not None, (seed, series.kinds, faults)
            assert (stack.origins is None) == series.regular, (seed, series.kinds)
            assert_placed(series, stack)
            assert any("left out" in note for note in stack.notes) == bool(series.scouts)
        outcomes[stack is None] += 1
    assert min(outcomes.values()) > 20, "both outcomes occur"


def test_the_order_of_the_files_does_not_matter() -> None:
    for seed in range(100):
        series = random_series(seed)
        one, _ = assemble(series.frames, "series")
        other, _ = assemble(series.frames[::-1], "series")
        assert (one is None) == (other is None)
        if one is not None and other is not None:
            np.testing.assert_array_equal(one.affine, other.affine)
            assert [series.frames[i].uid for i in one.order] == [series.frames[::-1][i].uid for i in other.order]


def frames(steps: list[float], **tags: object) -> list[Frame]:
    depths = np.append(0.0, np.cumsum(steps))
    template = Frame(Path("a.dcm"), 0, "1", "CT", SIZE, 1, 1, 2, None)
    geometry = [np.array([0, 0, z, 1, 0, 0, 0, 1, 0, 1, 1.0]) for z in depths]
    return [replace(template, geometry=one, path=Path(f"{k}.dcm"), **tags) for k, one in enumerate(geometry)]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "steps",
    [
        [4] * 13 + [1.08] + [7] * 13,  # as scanners change the spacing from the base of the skull to the vertex
        [2.5] * 6 + [5] * 6,
        [5] * 6 + [2.5] * 6,
        [2.0, 2.5, 2.2, 2.7, 2.1, 2.4],
    ],
)
def test_moderately_uneven_series_are_placed_slice_by_slice(steps: list[float]) -> None:
    stack, faults = assemble(frames(steps), "series")
    assert stack is not None and not faults and stack.origins is not None
    np.testing.assert_allclose(np.diff(stack.origins[:, 2]), steps)
    assert "mm apart" in stack.notes[0]


@pytest.mark.parametrize(
    "steps", [[3, 3, 6, 3, 3], [3, 3, 3, 9], [6, 3, 3, 3], [2.5] * 5 + [5] * 2 + [2.5] * 5, [1, 1, 9]]
)
def test_missing_slices_are_refused(steps: list[float]) -> None:
    stack, faults = assemble(frames(steps), "series")
    assert stack is None and [fault.code for fault in faults] == ["MISSING_SLICES"]


def test_slice_numbers_tell_missing_slices_from_a_change_of_the_protocol() -> None:
    series = frames([2.5] * 8 + [5] * 4 + [2.5] * 4)
    numbers = np.cumsum([1, *[1] * 8, *[2] * 4, *[1] * 4])
    skipping = [replace(frame, number=int(number)) for frame, number in zip(series, numbers, strict=True)]
    assert assemble(skipping, "series")[1][0].code == "MISSING_SLICES"
    counting = [replace(frame, number=k) for k, frame in enumerate(series)]
    assert assemble(counting, "series")[0] is not None


def test_the_remedy_for_phases_names_the_tag_that_tells_them_apart() -> None:
    series = frames([3] * 5)
    phases = [replace(frame, stack={"AcquisitionNumber": str(n)}) for n in (1, 2) for frame in series]
    _, (fault,) = assemble(phases, "series")
    assert fault.code == "MANY_PHASES" and "AcquisitionNumber (1, 2)" in fault.remedy
    numbered = [replace(frame, number=6 * n + k) for n in (0, 1) for k, frame in enumerate(series)]
    _, (fault,) = assemble(numbered, "series")
    assert "InstanceNumber 0 to 5, 6 to 11" in fault.remedy


def test_two_stacks_of_different_orientation_are_refused() -> None:
    axial = frames([3] * 5)
    coronal = [replace(f, geometry=np.array([0, 3 * k, 0, 1, 0, 0, 0, 0, -1, 1, 1.0])) for k, f in enumerate(axial)]
    stack, (fault,) = assemble([*axial, *coronal], "series")
    assert stack is None and "2 stacks" in fault.reason


def test_declared_localizers_are_left_out_whatever_their_number() -> None:
    axial = frames([3] * 5)
    turned = np.array([0, 0, 0, 1, 0, 0, 0, 0, -1, 1, 1.0])
    scouts = [
        replace(f, geometry=turned + np.eye(11)[1] * k, stack={"ImageType": "['ORIGINAL', 'PRIMARY', 'LOCALIZER']"})
        for k, f in enumerate(axial)
    ]
    stack, _ = assemble([*scouts, *axial], "series")
    assert stack is not None and stack.order == tuple(range(6, 12)) and "6 localizers" in stack.notes[0]


def test_small_differences_that_add_up_are_an_uneven_series() -> None:
    """Half of the steps 1.43 mm, half 1.57 mm: every step is near the median, and the middle slice is 3.5 mm off."""
    stack, faults = assemble(frames([1.43] * 100 + [1.57] * 100), "s")
    assert stack is not None and not faults and stack.origins is not None
    assert "up to 7.0 mm off along the stack" in stack.notes[0]
    np.testing.assert_allclose(np.abs(np.diff(stack.origins[:, 2])), [1.43] * 100 + [1.57] * 100)


def test_phases_that_are_not_quite_at_one_position_are_phases() -> None:
    series = frames([0.03, 2.98, 0.02, 2.96, 0.05, 2.97, 0.03])
    _, (fault,) = assemble(series, "series")
    assert fault.code == "MANY_PHASES" and "2 frames at each of 4 positions" in fault.reason


def test_a_slice_that_is_turned_a_little_is_no_localizer() -> None:
    axial = frames([3] * 9)
    cosine, sine = np.cos(0.1), np.sin(0.1)
    for turned in ([cosine, sine, 0, -sine, cosine, 0], [1, 0, 0, 0, cosine, sine]):
        last = replace(axial[-1], geometry=np.array([0, 0, 27, *turned, 1, 1.0]))
        stack, (fault,) = assemble([*axial[:-1], last], "series")
        assert stack is None and "2 stacks" in fault.reason


def test_the_message_of_missing_slices_names_a_smaller_regular_distance() -> None:
    series = frames([3, 6, 6, 3, 3, 3])
    numbers = [0, 1, 3, 5, 6, 7, 8]
    _, (fault,) = assemble([replace(f, number=n) for f, n in zip(series, numbers, strict=True)], "series")
    assert "6.00 mm between" in fault.reason and "where 3.00 mm is regular" in fault.reason
    every_other = frames([6, 6, 6, 6, 3, 3, 3, 3])
    numbers = [0, 2, 4, 6, 8, 9, 10, 11, 12]
    _, (fault,) = assemble([replace(f, number=n) for f, n in zip(every_other, numbers, strict=True)], "series")
    assert "6.00 mm between" in fault.reason and "where 3.00 mm is regular" in fault.reason


def test_phases_of_which_one_lacks_slices_are_refused() -> None:
    depths = sorted([3.0 * k for k in range(20)] + [3.0 * k + 0.1 for k in range(15)])
    stack, faults = assemble(frames(np.diff(depths).tolist()), "series")
    assert stack is None and faults[0].code == "DOUBLED_SLICES"


def test_phases_between_each_other_are_found_by_their_tag() -> None:
    series = frames([1.3, 1.7] * 8)
    phases = [replace(f, stack={"TemporalPositionIdentifier": str(k % 2)}) for k, f in enumerate(series)]
    stack, faults = assemble(phases, "series")
    assert stack is None and faults[0].code == "MANY_PHASES" and "TemporalPositionIdentifier" in faults[0].reason
    blocks = [replace(f, stack={"ConvolutionKernel": "a" if k < 8 else "b"}) for k, f in enumerate(frames([3] * 16))]
    assert assemble(blocks, "series")[0] is not None, "one part after the other is no phase"
