"""Skeleton recall: the loss computed by hand, and the skeletons of the patches."""

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset

from lib.learning.losses.skeleton_recall import SkeletonTargets, skeleton_recall_loss, tubed_skeleton


def test_value_by_hand() -> None:
    prob = torch.zeros(1, 3, 1, 4)
    prob[0, 1] = torch.tensor([[0.5, 1.0, 0.25, 1.0]])
    skeleton = torch.tensor([[[1, 1, 0, 0]]], dtype=torch.uint8)
    # Class 1: (1.5 + 1) / (2 + 1); class 2 is absent: 1 / 1.
    assert skeleton_recall_loss(prob, skeleton).item() == pytest.approx(-(2.5 / 3 + 1) / 2)


def test_only_voxels_on_the_skeleton_get_a_gradient() -> None:
    prob = torch.full((1, 2, 1, 3), 0.5, requires_grad=True)
    skeleton_recall_loss(prob, torch.tensor([[[0, 1, 0]]])).backward()
    assert prob.grad is not None
    assert prob.grad[0, :, 0].tolist() == [[0, 0, 0], [0, -0.5, 0]]


def bar() -> np.ndarray:
    """Return a horizontal bar five voxels thick, its left half label 1 and its right half label 2."""
    label = np.zeros((11, 20), np.uint8)
    label[3:8, 2:10], label[3:8, 10:18] = 1, 2
    return label


def test_skeleton_runs_through_the_boundary_of_two_labels() -> None:
    thin = tubed_skeleton(bar(), radius=0)
    rows, columns = np.nonzero(thin)
    # The thinning may choose a row next to the middle row; the skeleton must be one line through both labels.
    assert set(rows) <= {4, 5, 6} and set(range(5, 15)) <= set(columns)
    assert (thin[:, 5:15].astype(bool).sum(0) == 1).all()
    assert thin[:, 7].max() == 1 and thin[:, 12].max() == 2


@pytest.mark.parametrize("radius", [1, 2])
def test_dilation_thickens_the_skeleton_and_stays_inside_the_label(radius: int) -> None:
    label, tube = bar(), tubed_skeleton(bar(), radius=radius)
    assert np.count_nonzero(tube[:, 10]) == 2 * radius + 1
    assert (tube[tube > 0] == label[tube > 0]).all() and not tube[label == 0].any()


@pytest.mark.parametrize("fill", [0, 255])
def test_an_empty_or_ignored_label_has_no_skeleton(fill: int) -> None:
    assert not tubed_skeleton(np.full((6, 6), fill, np.uint8)).any()


def test_ignored_voxels_have_no_skeleton() -> None:
    label = bar()
    label[label == 2] = 255
    assert set(np.unique(tubed_skeleton(label))) == {0, 1}


def test_three_dimensions() -> None:
    label = np.zeros((9, 9, 16), np.uint8)
    label[3:6, 3:6, 2:14] = 4
    thin = tubed_skeleton(label, radius=0)
    assert thin[4, 4, 5:11].tolist() == [4] * 6 and np.count_nonzero(thin) <= 14


class OnePatch(Dataset):
    """A data set of one patch that records its epoch."""

    epoch = 0

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return {"image": torch.zeros(1, 11, 20), "label": torch.from_numpy(bar()).long()}

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch


def test_skeletons_are_added_to_the_patch() -> None:
    patches = OnePatch()
    targets = SkeletonTargets(patches, radius=1)
    targets.set_epoch(3)
    patch = targets[0]
    assert len(targets) == 1 and patches.epoch == 3 and patch["image"].shape == (1, 11, 20)
    assert np.array_equal(patch["skeleton"].numpy(), tubed_skeleton(bar(), radius=1))
