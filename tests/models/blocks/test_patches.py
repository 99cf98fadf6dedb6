"""Patch embedding, merging and expansion have the documented shapes and order of neighbours."""

import pytest
import torch
from torch import nn

from lib.models.blocks.patches import PatchEmbed, PatchExpand, PatchMerge


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_resolutions_change_as_documented(spatial_dims: int) -> None:
    shape = (8, 4, 12)[:spatial_dims]
    x = torch.rand(2, 8, *shape)
    assert PatchEmbed(spatial_dims, 8, 5, 4)(x).shape == (2, 5, *(size // 4 for size in shape))
    assert PatchMerge(spatial_dims, 8, 5)(x).shape == (2, 5, *(size // 2 for size in shape))
    assert PatchExpand(spatial_dims, 8, 5, 4)(x).shape == (2, 5, *(size * 4 for size in shape))


def test_merge_concatenates_neighbours_in_the_order_of_swin() -> None:
    merge = PatchMerge(2, 1, 4)
    merge.norm = nn.Identity()  # type: ignore[assignment]
    nn.init.eye_(merge.reduction.weight)
    x = torch.arange(8.0).view(1, 1, 2, 4)
    assert merge(x)[0, :, 0, 1].tolist() == [2, 6, 3, 7]


def test_expand_places_channels_at_neighbouring_positions() -> None:
    expand = PatchExpand(2, 4, 1)
    expand.norm = nn.Identity()  # type: ignore[assignment]
    nn.init.eye_(expand.expand.weight)
    x = torch.arange(8.0).view(1, 4, 1, 2)
    assert expand(x)[0, 0].tolist() == [[0, 2, 1, 3], [4, 6, 5, 7]]
