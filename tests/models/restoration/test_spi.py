"""Modulation by masks is the identity at first, and then depends on the masks nearby."""

import torch

from lib.models.restoration.spi import SemanticModulation


def test_a_new_module_is_the_identity() -> None:
    x = torch.randn(2, 3, 4, 4)
    assert torch.equal(SemanticModulation(3, 2)(x, torch.rand(2, 2, 4, 4)), x)


def test_modulation_matches_values_worked_by_hand() -> None:
    """With the biases only, scale 1/2 and shift -1, x = 4 becomes 4 x 1.5 - 1."""
    modulation = SemanticModulation(1, 1)
    modulation.scale_shift.bias.data = torch.tensor([0.5, -1.0])
    assert modulation(torch.full((1, 1, 2, 2), 4.0), torch.rand(1, 1, 2, 2)).unique().tolist() == [5.0]


def test_a_mask_changes_only_positions_nearby() -> None:
    torch.manual_seed(0)
    modulation = SemanticModulation(2, 1)
    torch.nn.init.normal_(modulation.scale_shift.weight)
    x, masks = torch.randn(1, 2, 9, 9), torch.zeros(1, 1, 9, 9)
    before = modulation(x, masks)
    masks[..., 0, 0] = 1
    changed = (modulation(x, masks) - before).abs().sum(1)[0] > 0
    assert changed[:3, :3].any() and not changed[3:].any() and not changed[:, 3:].any()


def test_finer_masks_are_averaged() -> None:
    torch.manual_seed(0)
    modulation = SemanticModulation(2, 1)
    torch.nn.init.normal_(modulation.scale_shift.weight)
    x, coarse = torch.randn(1, 2, 4, 4), torch.rand(1, 1, 4, 4)
    fine = coarse.repeat_interleave(2, 2).repeat_interleave(2, 3)
    torch.testing.assert_close(modulation(x, fine), modulation(x, coarse))
