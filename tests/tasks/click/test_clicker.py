"""A clicker returns the same mask on every grid and under load, encodes once, and follows new versions."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from lib.evaluation.metrics.overlap import dice
from lib.records.versions import set_champion, write_version
from lib.tasks.click.clicker import Clicker
from lib.tasks.click.request import ClickRequest, Marks
from lib.tasks.serving.weights import build_network, versions_dir
from tests.tasks.click.taught import SHAPE, make_click_app, scan

ONE = {"airway": 1}


def click(seed: int, index: int, *, one_slice: bool = True) -> ClickRequest:
    row, column = scan(seed)[2]
    return ClickRequest({"airway": Marks(((row, column, index),))}, index if one_slice else None)


def test_a_click_finds_the_tube_on_its_slice_alone(clicker: Clicker, scans: list[Path]) -> None:
    drawn = clicker.draw(clicker.open(scans[0]), click(0, 4), ONE)
    assert drawn.label.shape == SHAPE and drawn.slices == (4,) and drawn.version == "starter"
    assert dice(drawn.label[..., 4] > 0, scan(0)[1][..., 4]) > 0.8


def test_the_second_click_encodes_nothing(click_app: Path, scans: list[Path]) -> None:
    clicker = Clicker.from_task(click_app, "sam", device="cpu", prefetch=False)
    opened = clicker.open(scans[0])
    first, second = (clicker.draw(opened, click(0, 4), ONE) for _ in range(2))
    assert first.encoded == 2 and second.encoded == 0, "one wide and one narrow frame"
    assert first.encode_seconds > 10 * second.encode_seconds
    assert np.array_equal(first.label, second.label)


def test_eight_first_clicks_at_once_encode_once(click_app: Path, scans: list[Path]) -> None:
    clicker = Clicker.from_task(click_app, "sam", device="cpu", prefetch=False)
    clicker.draw(clicker.open(scans[1]), click(1, 4), ONE)
    alone = clicker.embeddings.counts.made
    clicker.embeddings.clear()
    with ThreadPoolExecutor(8) as pool:
        jobs = [pool.submit(clicker.draw, clicker.open(scans[1]), click(1, 4), ONE) for _ in range(8)]
    assert clicker.embeddings.counts.made == 2 * alone
    assert sum(job.result().encoded for job in jobs) == 2
    assert len({job.result().label.tobytes() for job in jobs}) == 1


def test_two_concurrent_users_get_the_same_masks_as_alone(click_app: Path, scans: list[Path]) -> None:
    requests = [[click(seed, index) for index in (2, 3, 5)] for seed in range(2)]
    clickers = [Clicker.from_task(click_app, "sam", device="cpu", prefetch=False) for _ in range(3)]

    def clicks(clicker: Clicker, user: int) -> list[bytes]:
        return [clicker.draw(clicker.open(scans[user]), request, ONE).label.tobytes() for request in requests[user]]

    alone = [clicks(clickers[user], user) for user in range(2)]
    with ThreadPoolExecutor(2) as pool:
        together = [job.result() for job in [pool.submit(clicks, clickers[2], user) for user in range(2)]]
    assert together == alone and alone[0] != alone[1]


@pytest.mark.parametrize("codes", ["LPS", "PRS"])
def test_storage_order_changes_nothing(clicker: Clicker, scans: list[Path], tmp_path: Path, codes: str) -> None:
    image = nib.load(scans[0])
    to = nib.orientations.axcodes2ornt(codes)
    turn = nib.orientations.ornt_transform(nib.io_orientation(image.affine), to)
    nib.save(image.as_reoriented(turn), tmp_path / "turned.nii.gz")
    expected = clicker.draw(clicker.open(scans[0]), click(0, 4), ONE)
    there = np.linalg.inv(nib.load(tmp_path / "turned.nii.gz").affine) @ image.affine @ [*scan(0)[2], 4, 1]
    point = tuple(round(value) for value in there[:3])
    opened = clicker.open(tmp_path / "turned.nii.gz")
    drawn = clicker.draw(opened, ClickRequest({"airway": Marks((point,))}, point[2]), ONE)
    back = nib.as_closest_canonical(nib.Nifti1Image(drawn.label, opened.volume.affine))
    assert np.array_equal(np.asarray(back.dataobj), expected.label) and expected.label.any()


def test_a_volume_is_segmented_from_one_click(clicker: Clicker, scans: list[Path]) -> None:
    drawn = clicker.draw(clicker.open(scans[0]), click(0, 4, one_slice=False), ONE)
    assert drawn.slices == tuple(range(SHAPE[2])) and set(np.unique(drawn.label)) == {0, 1}
    assert dice(drawn.label > 0, scan(0)[1]) > 0.7


def test_a_new_version_answers_the_next_click_and_old_embeddings_are_removed(tmp_path: Path, scans: list[Path]) -> None:
    app = make_click_app(tmp_path / "app")
    clicker = Clicker.from_task(app, "sam", device="cpu", prefetch=False)
    opened, root = clicker.open(scans[0]), versions_dir(app, clicker.task)
    before = clicker.draw(opened, click(0, 4), ONE)
    state = build_network(clicker.task).state_dict()
    name = write_version(root, {key: value.clone() for key, value in state.items()}, {}).name
    set_champion(root, name)
    after = clicker.draw(opened, click(0, 4), ONE)
    assert (before.version, after.version) == ("starter", name) and after.encoded > 0
    assert not np.array_equal(before.label, after.label)
    assert clicker.embeddings.counts.held < clicker.embeddings.counts.made, (
        "embeddings of the former version are removed"
    )


def test_a_released_clicker_has_no_embeddings_and_loads_again(click_app: Path, scans: list[Path]) -> None:
    clicker = Clicker.from_task(click_app, "sam", device="cpu", prefetch=False)
    before = clicker.draw(clicker.open(scans[0]), click(0, 4), ONE)
    assert not clicker.release(60) and clicker.release(0) and clicker.embeddings.counts.held == 0
    assert np.array_equal(clicker.draw(clicker.open(scans[0]), click(0, 4), ONE).label, before.label)


def test_neighbouring_slices_are_embedded_in_the_background(click_app: Path, scans: list[Path]) -> None:
    clicker = Clicker.from_task(click_app, "sam", device="cpu")
    opened = clicker.open(scans[0])
    assert clicker.draw(opened, click(0, 4), ONE).encoded == 2
    end = time.monotonic() + 60
    while clicker.embeddings.counts.made < 3 + 4 * 2 and time.monotonic() < end:
        threading.Event().wait(0.1)
    drawn = clicker.draw(opened, click(0, 5), ONE)
    assert drawn.encoded == 0 and drawn.slices == (5,)


@pytest.mark.slow
def test_five_hundred_slices_stay_under_the_limit(click_app: Path, tmp_path: Path) -> None:
    path = tmp_path / "tall.nii.gz"
    nib.save(nib.Nifti1Image(np.tile(scan(0)[0], (1, 1, 42))[..., :500], np.diag([2.0, 2, 2, 1])), path)
    clicker = Clicker.from_task(click_app, "sam", device="cpu", prefetch=False, embedding_bytes=8 << 20)
    opened = clicker.open(path)
    for index in range(500):
        clicker.draw(opened, click(0, index), ONE)
        assert clicker.embeddings.counts.held_bytes <= 8 << 20
    assert clicker.embeddings.counts.made >= 1000
