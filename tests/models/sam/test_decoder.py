"""The decoder with its sums in another order: the package's own is the reference, at its real size."""

import pytest
import torch
from segment_anything.modeling import MaskDecoder, TwoWayTransformer

from lib.models.sam.decoder import masks_of

DIM, SIDE = 256, 8


@pytest.fixture(scope="module")
def decoder() -> MaskDecoder:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = MaskDecoder(
            transformer_dim=DIM, transformer=TwoWayTransformer(depth=2, embedding_dim=DIM, mlp_dim=2048, num_heads=8)
        )
        # As made, the attention's biases are as good as none.
        for name, parameter in made.named_parameters():
            if name.endswith("bias"):
                torch.nn.init.normal_(parameter, std=0.2)
    return made.eval()


def given(prompts: int, points: int) -> list[torch.Tensor]:
    """Return embedding, places, sparse and dense embeddings, of the size that trained ones have."""
    draw = torch.Generator().manual_seed(points)
    shapes = ((1, DIM, SIDE, SIDE), (1, DIM, SIDE, SIDE), (prompts, points, DIM), (prompts, DIM, SIDE, SIDE))
    return [torch.randn(shape, generator=draw) for shape in shapes]


def package_s(decoder: MaskDecoder, asked: list[torch.Tensor]) -> torch.Tensor:
    embedding, places, sparse, dense = asked
    return decoder(embedding, places, sparse, dense, multimask_output=False)[0]


@pytest.mark.parametrize("prompts", [1, 3])
@pytest.mark.parametrize("points", [2, 7, 11, 12, 60])
def test_the_mask_is_that_of_the_package_s_decoder(decoder: MaskDecoder, prompts: int, points: int) -> None:
    """A few clicks, a scribble, and as many as divide the two ways."""
    asked = given(prompts, points)
    with torch.inference_mode():
        expected, found = package_s(decoder, asked), masks_of(decoder, *asked)
    assert found.shape == (prompts, 1, 4 * SIDE, 4 * SIDE)
    assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()


@pytest.mark.parametrize("points", [4, 30])
def test_and_so_is_its_gradient(decoder: MaskDecoder, points: int) -> None:
    asked = [each.double().requires_grad_() for each in given(2, points)]
    decoder = decoder.double()
    try:
        parts = [*asked, *(each for name, each in decoder.named_parameters() if "transformer" in name)]
        wanted, found = (
            # The bias of keys falls out of the softmax: its gradient is none here, and next to none in the package.
            torch.autograd.grad(way(decoder).square().sum(), parts, allow_unused=True, materialize_grads=True)
            for way in (lambda it: package_s(it, asked), lambda it: masks_of(it, *asked))
        )
    finally:
        decoder.float()
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-7, atol=1e-7)
