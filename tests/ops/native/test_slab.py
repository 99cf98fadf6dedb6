"""The slab kernels agree with PyTorch for all sizes and thread counts, and reject unsupported tensors."""

import pytest
import torch

from lib.ops.native import slab
from lib.ops.native.build import library

pytestmark = pytest.mark.skipif(library() is None, reason="no C++ compiler")


@pytest.mark.parametrize("sizes", [(1, 1, 1, 1), (2, 3, 8, 8), (2, 3, 7, 17), (3, 2, 33, 64), (14, 4, 70, 5)])
@pytest.mark.parametrize("innermost", ["Y", "Z"])
@pytest.mark.parametrize("threads", [1, 3])
def test_blend_overwrites_every_element_and_then_adds(sizes: tuple[int, ...], innermost: str, threads: int) -> None:
    generator = torch.Generator().manual_seed(1)
    classes, x, y, z = sizes
    window = torch.randn(sizes, generator=generator)
    if innermost == "Y":
        window = window.permute(3, 0, 1, 2).contiguous().permute(1, 2, 3, 0)
    weights = [torch.rand(size, generator=generator) for size in (x, y, z)]
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


def test_unsupported_layouts_raise() -> None:
    window, weights = torch.zeros(2, 8, 8, 8), [torch.ones(8)] * 3
    with pytest.raises(ValueError, match="blend"):
        slab.blend(window, window, weights, (0, 0, 0))


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_classes_are_those_of_the_largest_logit_for_all_thread_counts(threads: int) -> None:
    below, above = torch.randn(2, 9, 37, 131, generator=torch.Generator().manual_seed(2))
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        positions = [(torch.arange(size), torch.zeros(size)) for size in (37, 131)]
        found = slab.classes(below, above, 0.25, positions[0], positions[1])
    finally:
        torch.set_num_threads(before)
    assert torch.equal(found, torch.lerp(below, above, 0.25).argmax(0).to(torch.uint8))


def test_other_dtypes_and_empty_tensors_are_not_supported() -> None:
    assert slab.supports(torch.zeros(2)) and not slab.supports(torch.zeros(2), torch.zeros(2, dtype=torch.float64))
    assert not slab.supports(torch.zeros(0)) and not slab.supports(torch.zeros(2, dtype=torch.bfloat16))
