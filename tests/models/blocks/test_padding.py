"""Padding to a stride, and cropping to the original shape."""

import pytest
import torch

from lib.models.blocks.padding import crop, crop_outputs, pad_to_multiple


@pytest.mark.parametrize(("shape", "padded"), [((5, 8), (8, 8)), ((8, 16), (8, 16)), ((1, 9, 3), (8, 16, 8))])
def test_pad_to_multiple_and_crop_return_the_image(shape: tuple[int, ...], padded: tuple[int, ...]) -> None:
    x = torch.rand(1, 2, *shape)
    y = pad_to_multiple(x, 8)
    assert y.shape[2:] == padded
    assert torch.equal(crop(y, shape), x)


def test_a_small_image_gets_the_positions_that_a_norm_needs() -> None:
    x = torch.rand(1, 2, 5, 3)
    assert pad_to_multiple(x, 8, at_least=2).shape[2:] == (8, 16)
    assert torch.equal(crop(pad_to_multiple(x, 8, at_least=2), (5, 3)), x)
    assert pad_to_multiple(torch.rand(1, 2, 9, 3), 8, at_least=2).shape[2:] == (16, 8)


def test_padding_repeats_the_border() -> None:
    y = pad_to_multiple(torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]]), 3)
    assert y[0, 0].tolist() == [[1, 2, 2], [3, 4, 4], [3, 4, 4]]


def test_coarse_outputs_have_the_shape_of_a_strided_label() -> None:
    label = torch.zeros(1, 1, 13, 10)
    outputs = crop_outputs([torch.zeros(1, 1, 32 // 2**i, 32 // 2**i) for i in range(4)], (13, 10))
    assert [y.shape for y in outputs] == [label[..., :: 2**i, :: 2**i].shape for i in range(4)]
