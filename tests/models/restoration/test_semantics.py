"""Box grid, masks without a gradient, and features with a gradient to the image but not to the network."""

import torch

from lib.models.restoration.semantics import RandomSemantics, SamSemantics, box_grid
from tests.models.sam.toys import randomise_adapters, toy_network


def test_the_box_grid_matches_values_worked_by_hand() -> None:
    """Two cells along 65 samples: the first centre is at 1/4, and its box extends 3/8 around it, clipped at 0."""
    boxes = box_grid(2, 65)
    assert boxes.shape == (4, 4)
    assert boxes[0].tolist() == [0, 0, 40, 40]
    assert boxes[1].tolist() == [0, 24, 40, 64], "the column varies fastest"
    assert boxes[3].tolist() == [24, 24, 64, 64]


def test_masks_differ_between_boxes_and_have_no_gradient(scan: torch.Tensor) -> None:
    semantics = SamSemantics(randomise_adapters(toy_network(32)), side=2)
    features = semantics.features(scan)
    masks = semantics.masks(features, (32, 32))
    assert masks.shape == (2, 4, 32, 32) and not masks.requires_grad
    assert masks.min() >= 0 and masks.max() <= 1
    assert not torch.allclose(masks[:, 0], masks[:, 3])


def test_masks_have_the_size_of_the_image() -> None:
    semantics = SamSemantics(toy_network(32), side=1)
    features = semantics.features(torch.rand(1, 1, 40, 24))
    assert semantics.masks(features, (40, 24)).shape == (1, 1, 40, 24)


def test_features_have_a_gradient_to_the_image_but_not_to_the_weights(scan: torch.Tensor) -> None:
    semantics = SamSemantics(randomise_adapters(toy_network(32)))
    image = scan.requires_grad_(True)
    semantics.features(image).square().sum().backward()
    assert image.grad is not None and image.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in semantics.parameters())


def test_a_hot_organ_does_not_change_the_input_elsewhere(scan: torch.Tensor) -> None:
    """The intensity scale does not depend on the image, so a bladder with ten times the counts changes only itself."""
    network = toy_network(32)
    seen: list[torch.Tensor] = []
    network.encode = lambda images: seen.append(images) or images  # type: ignore[method-assign]
    hot = scan.clone()
    hot[:, :, :4, :4] *= 10
    for image in (scan, hot):
        SamSemantics(network).features(image)
    assert torch.equal(seen[0][..., 4:], seen[1][..., 4:])
    assert seen[1].max() <= 1


def test_random_masks_do_not_depend_on_the_image(scan: torch.Tensor) -> None:
    network = randomise_adapters(toy_network(32))
    control, real = RandomSemantics(network, side=2), SamSemantics(network, side=2)
    features = control.features(scan)
    assert torch.equal(features, real.features(scan))
    one, other = (control.masks(features, (32, 32)) for _ in range(2))
    assert one.shape == (2, 4, 32, 32) and not torch.allclose(one, other)
    assert 0.02 < one.mean() < 0.5
