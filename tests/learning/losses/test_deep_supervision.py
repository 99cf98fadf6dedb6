"""Deep supervision: the weights of the scales, and labels on the grid of each output."""

import pytest
import torch

from lib.learning.losses.deep_supervision import deep_supervision_loss, scale_weights


@pytest.mark.parametrize(("count", "weights"), [(1, [1]), (2, [2 / 3, 1 / 3]), (4, [8 / 15, 4 / 15, 2 / 15, 1 / 15])])
def test_weights(count: int, weights: list[float]) -> None:
    assert scale_weights(count) == pytest.approx(weights)


def test_weighted_sum_by_hand() -> None:
    outputs = [torch.full((1, 2, 4, 4), 1.0), torch.full((1, 2, 2, 2), 10.0), torch.full((1, 2, 1, 1), 100.0)]
    loss = deep_supervision_loss(lambda logits, _: logits.mean(), outputs, torch.zeros(1, 4, 4, dtype=torch.long))
    assert loss.item() == pytest.approx((4 * 1 + 2 * 10 + 100) / 7)


def test_with_one_output_the_result_is_its_loss() -> None:
    target = torch.tensor([[[1, 255]]])
    loss = deep_supervision_loss(lambda logits, label: logits.sum() + label.sum(), torch.ones(1, 1, 1, 2), target)
    assert loss.item() == 258


def test_labels_are_resampled_by_nearest_neighbour_and_keep_their_type() -> None:
    target = torch.arange(16).view(1, 4, 4)
    target[0, 2, 2] = 255
    labels: list[torch.Tensor] = []

    def record_label(logits: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        labels.append(label)
        return logits.sum()

    deep_supervision_loss(record_label, [torch.ones(1, 1, 4, 4), torch.ones(1, 1, 2, 2)], target)
    assert torch.equal(labels[0], target)
    assert torch.equal(labels[1], torch.tensor([[[0, 2], [8, 255]]])) and labels[1].dtype == torch.int64
