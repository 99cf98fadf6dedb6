"""The Haar kernel agrees with the transform in PyTorch, for all thread counts, and writes every element."""

import pytest
import torch

from lib.ops import wavelet
from lib.ops.native import haar
from lib.ops.native.build import library

pytestmark = pytest.mark.skipif(library() is None, reason="no C++ compiler")
SHAPES = [(1, 1, 2, 2), (2, 3, 8, 6), (1, 17, 7, 9), (3, 40, 5, 4), (1, 1, 2, 2, 2), (2, 5, 7, 4, 9), (1, 33, 4, 6, 2)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("last", [False, True])
def test_values_and_gradients_equal_those_of_pytorch(
    shape: tuple[int, ...], dtype: torch.dtype, last: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(shape, dtype=dtype, generator=generator)
    if last:
        x = x.movedim(1, -1).contiguous().movedim(-1, 1)
    scale = torch.randn(*shape[:2], 2 ** (len(shape) - 2), *[1] * (len(shape) - 2), dtype=dtype, generator=generator)

    def run(x: torch.Tensor) -> list[torch.Tensor]:
        x = x.clone().requires_grad_()
        bands = wavelet.dwt(x)
        y = wavelet.idwt(bands * scale, x.shape[2:])
        (y**2).sum().backward()
        assert x.grad is not None
        return [bands.detach(), y.detach(), x.grad]

    native = run(x)
    monkeypatch.setattr(haar, "supports", lambda x: False)
    for got, wanted in zip(native, run(x.double() if dtype == torch.float64 else x), strict=True):
        torch.testing.assert_close(got, wanted, atol=2e-5 if dtype == torch.float32 else 1e-12, rtol=1e-5)


def test_every_element_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.randn(2, 6, 4, 19)
    poisoned = lambda self, shape: self.new_full(shape, float("nan"))  # noqa: E731
    monkeypatch.setattr(torch.Tensor, "new_empty", poisoned)
    bands = haar.haar_op(x)
    assert bands.isfinite().all() and haar.haar_inverse_op(bands).isfinite().all()


def test_the_result_does_not_depend_on_the_number_of_threads() -> None:
    x, threads = torch.randn(2, 8, 6, 4, 7), torch.get_num_threads()
    try:
        results = []
        for count in (1, 2, 5):
            torch.set_num_threads(count)
            bands = haar.haar_op(x)
            results.append(torch.stack((bands.view(x.shape), haar.haar_inverse_op(bands))))
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(results[0], result) for result in results[1:])


def test_gradcheck_and_opcheck() -> None:
    x = torch.randn(1, 4, 6, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(haar.haar_op, x) and torch.autograd.gradgradcheck(haar.haar_op, x)
    torch.library.opcheck(haar.haar_op, (torch.randn(1, 4, 2, 3, requires_grad=True),))
    torch.library.opcheck(haar.haar_inverse_op, (torch.randn(1, 2, 2, 4, 3, requires_grad=True),))


def test_empty_and_half_precision_tensors_are_not_supported() -> None:
    assert not haar.supports(torch.zeros(0, 2)) and not haar.supports(torch.zeros(2, dtype=torch.bfloat16))
    assert wavelet.dwt(torch.ones(1, 2, 4, 4, dtype=torch.bfloat16)).dtype == torch.bfloat16
