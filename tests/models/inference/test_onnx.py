"""ONNX Runtime gives the logits of torch; int8 gives similar logits with a smaller graph."""

import pytest
import torch

from lib.models import BUILDERS
from lib.models.inference import onnx
from lib.models.inference.engine import Engine
from lib.models.inference.onnx import OnnxNetwork, export, quantise
from lib.models.student import StudentConv

pytest.importorskip("onnxruntime", reason="ONNX Runtime is optional and not installed")


def student(dims: int = 2, **options) -> StudentConv:
    """Return a student with updated running statistics."""
    torch.manual_seed(0)
    network = BUILDERS["student_conv"](spatial_dims=dims, in_channels=3, out_channels=4, **options)
    assert isinstance(network, StudentConv)
    with torch.no_grad():
        for _ in range(3):
            network(torch.rand(4, 3, *[64] * dims))
    return network.eval()


@pytest.mark.parametrize("shape", [(1, 3, 64, 64), (3, 3, 70, 45), (2, 3, 32, 160)])
@torch.inference_mode()
def test_logits_equal_those_of_torch_for_any_size_and_batch(shape: tuple[int, ...]) -> None:
    network, image = student(), torch.rand(shape)
    found, expected = OnnxNetwork(network)(image), network(image)
    assert found.shape == expected.shape and torch.allclose(found, expected, atol=1e-4 * float(expected.abs().max()))


@torch.inference_mode()
def test_logits_of_volumes_equal_those_of_torch() -> None:
    network, image = student(3, channels=(4, 8, 8), depths=(1, 1)), torch.rand(1, 3, 17, 24, 9)
    assert torch.allclose(OnnxNetwork(network)(image), network(image), atol=1e-4)


def test_export_uses_evaluation_mode_and_keeps_the_mode_of_the_network() -> None:
    network, image = student(), torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        expected = network(image)
    model = export(network.train(), 3)
    assert network.training
    with torch.inference_mode():
        assert torch.allclose(OnnxNetwork(network, model)(image), expected, atol=1e-4)


def test_normalisation_is_folded_into_the_convolutions() -> None:
    graph = pytest.importorskip("onnx").load_from_string(export(student(), 3)).graph
    assert not [node for node in graph.node if node.op_type == "BatchNormalization"]
    assert {value.name for value in (*graph.input, *graph.output)} == {"image", "logits"}


@torch.inference_mode()
def test_int8_is_smaller_and_close_to_float32() -> None:
    network = student()
    windows = [torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(seed)) for seed in range(4)]
    whole = export(network, 3)
    small = quantise(whole, windows)
    assert len(small) < 0.45 * len(whole)
    expected, found = network(windows[0]), OnnxNetwork(network, small)(windows[0])
    error = (found - expected).abs().mean() / expected.std()
    assert 0 < error < 0.1, "the error is small but not zero"


def test_the_engine_runs_a_student_on_the_cpu_by_onnx_runtime(monkeypatch: pytest.MonkeyPatch) -> None:
    network, image = student(), torch.rand(2, 3, 40, 40)
    batches: list[int] = []
    forward = OnnxNetwork.forward
    monkeypatch.setattr(OnnxNetwork, "forward", lambda self, x: batches.append(len(x)) or forward(self, x))
    logits = Engine(network)(image)
    assert batches == [2]
    monkeypatch.setattr(onnx, "find_spec", lambda _: None)
    assert torch.allclose(Engine(network)(image), logits, atol=1e-4) and batches == [2], (
        "torch is used without ONNX Runtime"
    )
    Engine(torch.nn.Conv2d(3, 2, 1))(image)
    assert batches == [2], "torch is used for other networks"
