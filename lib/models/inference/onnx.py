"""Export a student as an ONNX graph in float32 or int8, and run it by ONNX Runtime on a CPU."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeGuard

import torch
from torch import nn

from lib.models.blocks.padding import crop, pad_to_multiple
from lib.models.student import StudentConv

IMAGE, LOGITS = "image", "logits"
OPSET = 17
FLOAT32_OPS = ("ConvTranspose",)
"""Operators that stay in float32, as the first convolution does: the layer that computes the logits."""


def is_supported(network: nn.Module) -> TypeGuard[StudentConv]:
    """Return whether ONNX Runtime is installed and can run the network."""
    return isinstance(network, StudentConv) and find_spec("onnxruntime") is not None


def with_fastest_runtime(network: nn.Module, device: str | torch.device) -> nn.Module:
    """Return the network with its fastest runtime: ONNX Runtime on a CPU if supported, otherwise torch."""
    return OnnxNetwork(network) if torch.device(device).type == "cpu" and is_supported(network) else network


def export(network: StudentConv, channels: int, dims: int = 2) -> bytes:
    """Export a student as an ONNX graph that maps ``image (B, C, *S)`` to ``logits (B, K, *S)``.

    The graph accepts images whose sides are multiples of ``network.stride``. Normalisation is folded into the
    convolutions.

    Args:
        network: The student, on the CPU and in any mode; it is not changed.
        channels: Number of channels C of an image.
        dims: Number of spatial axes, 2 or 3.
    """
    axes = {0: "batch"} | {2 + axis: f"side{axis}" for axis in range(dims)}
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        # The tracing exporter is deprecated, but its successor needs another package and gives the same graph.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            _PaddedForward(network),
            (torch.zeros(2, channels, *[2 * network.stride] * dims),),
            path := Path(folder) / "student.onnx",
            dynamo=False,
            opset_version=OPSET,
            input_names=[IMAGE],
            output_names=[LOGITS],
            dynamic_axes={IMAGE: axes, LOGITS: axes},
        )
        return path.read_bytes()


def quantise(model: bytes, windows: Sequence[torch.Tensor]) -> bytes:
    """Return a graph with int8 weights, with one scale per channel, and uint8 activations.

    Args:
        model: The graph in float32, from `export`.
        windows: Images ``(B, C, *S)`` for calibration, which determine the ranges of the activations.
    """
    import onnx
    from onnxruntime.quantization import (
        CalibrationDataReader,
        CalibrationMethod,
        QuantFormat,
        QuantType,
        quantize_static,
    )
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):
        """Return the windows, one per call."""

        remaining = iter(windows)

        def get_next(self) -> dict[str, Any] | None:
            image = next(self.remaining, None)
            return None if image is None else {IMAGE: image.float().numpy()}

    graph = onnx.load_from_string(model).graph
    first = next(node.name for node in graph.node if node.op_type == "Conv")
    excluded = [first, *(node.name for node in graph.node if node.op_type in FLOAT32_OPS)]
    with tempfile.TemporaryDirectory() as folder:
        source, prepared, quantised = (Path(folder) / f"{name}.onnx" for name in ("source", "prepared", "quantised"))
        source.write_bytes(model)
        quant_pre_process(source, prepared, skip_symbolic_shape=True)
        quantize_static(
            prepared,
            quantised,
            Reader(),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
            nodes_to_exclude=excluded,
        )
        return quantised.read_bytes()


class OnnxNetwork(nn.Module):
    """A student that ONNX Runtime runs, for images of any size.

    Args:
        network: The student. It is exported at the first image; later changes of its weights have no effect.
        model: A graph to run instead; None to export the network.
    """

    def __init__(self, network: StudentConv, model: bytes | None = None) -> None:
        super().__init__()
        self.network, self._model, self._session = network, model, None

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return logits ``(B, K, *S)`` of ``images (B, C, *S)``, float32."""
        if self._session is None:
            model = self._model or export(self.network, images.shape[1], images.ndim - 2)
            self._session = create_session(model)
        padded = pad_to_multiple(images.float(), self.network.stride).contiguous()
        (logits,) = self._session.run([LOGITS], {IMAGE: padded.numpy()})
        return crop(torch.from_numpy(logits), images.shape[2:])


def create_session(model: bytes) -> Any:
    """Create a session of ONNX Runtime with as many threads as torch uses."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = torch.get_num_threads(), 3
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


class _PaddedForward(nn.Module):
    def __init__(self, network: StudentConv) -> None:
        super().__init__()
        self.network = network
        # The exporter restores the mode of this module afterwards, and sets its submodules to the same mode.
        self.training = network.training

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.network.forward_padded(image)
