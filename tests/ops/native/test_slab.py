"""The kernels of a slab beside PyTorch, in all sizes, with threads, and where they do not serve."""

import pytest
import torch

from lib.ops.native import slab
from lib.ops.native.build import library

pytestmark = pytest.mark.skipif(library() is None, reason="no C++ compiler")


@pytest.mark.parametrize("sizes", [(1, 1, 1, 1), (2, 3, 8, 8), (2, 3, 7, 17), (3, 2, 33, 64), (14, 4, 70, 5)])
@pytest.mark.parametrize("innermost", ["Y", "Z"])
@pytest.mark.parametrize("threads", [1, 3])
def test_a_poisoned_slab_is_written_all_over(sizes: tuple[int, ...], innermost: str, threads: int) -> None:
    draw = torch.Generator().manual_seed(1)
    classes, x, y, z = sizes
    window = torch.randn(sizes, generator=draw)
    if innermost == "Y":
        window = window.permute(3, 0, 1, 2).contiguous().permute(1, 2, 3, 0)
    weights = [torch.rand(size, generator=draw) for size in (x, y, z)]
    target = torch.full((z, classes, x, y), float("nan")).permute(1, 2, 3, 0)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        slab.blend(target, window, weights, (0, 0, 0))
        torch.testing.assert_close(target, window * torch.einsum("x,y,z->xyz", *weights))
        slab.blend(target, window, weights, (x, y, z))
    finally:
        torch.set_num_threads(before)
    torch.testing.assert_close(target, 2 * window * torch.einsum("x,y,z->xyz", *weights))


def test_other_layouts_are_refused() -> None:
    window, weights = torch.zeros(2, 8, 8, 8), [torch.ones(8)] * 3
    with pytest.raises(ValueError, match="blend"):
        slab.blend(window, window, weights, (0, 0, 0))


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_classes_are_those_of_the_largest_logit_whatever_the_threads(threads: int) -> None:
    below, above = torch.randn(2, 9, 37, 131, generator=torch.Generator().manual_seed(2))
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        places = [(torch.arange(size), torch.zeros(size)) for size in (37, 131)]
        found = slab.classes(below, above, 0.25, places[0], places[1])
    finally:
        torch.set_num_threads(before)
    assert torch.equal(found, torch.lerp(below, above, 0.25).argmax(0).to(torch.uint8))


def test_other_types_and_empty_arrays_go_elsewhere() -> None:
    assert slab.serves(torch.zeros(2)) and not slab.serves(torch.zeros(2), torch.zeros(2, dtype=torch.float64))
    assert not slab.serves(torch.zeros(0)) and not slab.serves(torch.zeros(2, dtype=torch.bfloat16))
