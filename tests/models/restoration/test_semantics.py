"""Boxes on a grid, masks without a gradient, features with one to the image and none to the network."""

import torch

from lib.models.restoration.semantics import RandomSemantics, SamSemantics, box_grid
from tests.models.sam.toys import taught, toy_network


def test_boxes_by_hand() -> None:
    """Two cells a side of 65 samples: the first centre lies at 1/4 and the box reaches 3/8 beyond it, cut at 0."""
    boxes = box_grid(2, 65)
    assert boxes.shape == (4, 4)
    assert boxes[0].tolist() == [0, 0, 40, 40]
    assert boxes[1].tolist() == [0, 24, 40, 64], "columns go first"
    assert boxes[3].tolist() == [24, 24, 64, 64]


def test_masks_are_those_of_the_boxes(scan: torch.Tensor) -> None:
    semantics = SamSemantics(taught(toy_network(32)), side=2)
    features = semantics.features(scan)
    masks = semantics.masks(features, (32, 32))
    assert masks.shape == (2, 4, 32, 32) and not masks.requires_grad
    assert masks.min() >= 0 and masks.max() <= 1
    assert not torch.allclose(masks[:, 0], masks[:, 3])


def test_an_image_of_another_size_keeps_it() -> None:
    semantics = SamSemantics(toy_network(32), side=1)
    features = semantics.features(torch.rand(1, 1, 40, 24))
    assert semantics.masks(features, (40, 24)).shape == (1, 1, 40, 24)


def test_a_gradient_reaches_the_image_and_no_weight(scan: torch.Tensor) -> None:
    semantics = SamSemantics(taught(toy_network(32)))
    image = scan.requires_grad_(True)
    semantics.features(image).square().sum().backward()
    assert image.grad is not None and image.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in semantics.parameters())


def test_a_hot_organ_leaves_the_rest_as_it_was(scan: torch.Tensor) -> None:
    """The scale is no image's own: what lies far from a bladder of ten times the counts is seen as before."""
    network = toy_network(32)
    seen: list[torch.Tensor] = []
    network.encode = lambda images: seen.append(images) or images  # type: ignore[method-assign]
    hot = scan.clone()
    hot[:, :, :4, :4] *= 10
    for image in (scan, hot):
        SamSemantics(network).features(image)
    assert torch.equal(seen[0][..., 4:], seen[1][..., 4:])
    assert seen[1].max() <= 1


def test_random_masks_have_nothing_to_do_with_the_image(scan: torch.Tensor) -> None:
    network = taught(toy_network(32))
    control, real = RandomSemantics(network, side=2), SamSemantics(network, side=2)
    features = control.features(scan)
    assert torch.equal(features, real.features(scan))
    one, other = (control.masks(features, (32, 32)) for _ in range(2))
    assert one.shape == (2, 4, 32, 32) and not torch.allclose(one, other)
    assert 0.02 < one.mean() < 0.5
