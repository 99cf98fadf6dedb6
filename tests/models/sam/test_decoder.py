"""The optimised decoder agrees with the decoder of the package, at its real size."""

import pytest
import torch
from segment_anything.modeling import MaskDecoder, TwoWayTransformer

from lib.models.sam.decoder import decode_masks

DIM, SIDE = 256, 8


@pytest.fixture(scope="module")
def decoder() -> MaskDecoder:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = MaskDecoder(
            transformer_dim=DIM, transformer=TwoWayTransformer(depth=2, embedding_dim=DIM, mlp_dim=2048, num_heads=8)
        )
        # Randomise the biases, because the initial biases of the attention are nearly zero.
        for name, parameter in module.named_parameters():
            if name.endswith("bias"):
                torch.nn.init.normal_(parameter, std=0.2)
    return module.eval()


def random_inputs(prompts: int, points: int) -> list[torch.Tensor]:
    """Return embedding, positional encoding, sparse and dense embeddings with the variance of trained ones."""
    generator = torch.Generator().manual_seed(points)
    shapes = ((1, DIM, SIDE, SIDE), (1, DIM, SIDE, SIDE), (prompts, points, DIM), (prompts, DIM, SIDE, SIDE))
    return [torch.randn(shape, generator=generator) for shape in shapes]


def decode_by_package(decoder: MaskDecoder, inputs: list[torch.Tensor]) -> torch.Tensor:
    embedding, image_pe, sparse, dense = inputs
    return decoder(embedding, image_pe, sparse, dense, multimask_output=False)[0]


@pytest.mark.parametrize("prompts", [1, 3])
@pytest.mark.parametrize("points", [2, 7, 11, 12, 60])
def test_the_mask_equals_that_of_the_package(decoder: MaskDecoder, prompts: int, points: int) -> None:
    """The cases are a few clicks, a scribble, and the numbers of points at which the algorithm changes."""
    inputs = random_inputs(prompts, points)
    with torch.inference_mode():
        expected, found = decode_by_package(decoder, inputs), decode_masks(decoder, *inputs)
    assert found.shape == (prompts, 1, 4 * SIDE, 4 * SIDE)
    assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()


@pytest.mark.parametrize("points", [4, 30])
def test_the_gradient_equals_that_of_the_package(decoder: MaskDecoder, points: int) -> None:
    inputs = [tensor.double().requires_grad_() for tensor in random_inputs(2, points)]
    decoder = decoder.double()
    try:
        parts = [*inputs, *(parameter for name, parameter in decoder.named_parameters() if "transformer" in name)]
        wanted, found = (
            # The bias of the keys has no effect on the softmax: no gradient here, nearly zero in the package.
            torch.autograd.grad(decode(decoder).square().sum(), parts, allow_unused=True, materialize_grads=True)
            for decode in (lambda it: decode_by_package(it, inputs), lambda it: decode_masks(it, *inputs))
        )
    finally:
        decoder.float()
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-7, atol=1e-7)
