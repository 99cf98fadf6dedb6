"""A student as an ONNX graph, in float32 or int8, and ONNX Runtime as what runs it on a processor."""

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
FLOAT_OPS = ("ConvTranspose",)
"""What stays in float32 beside the first convolution: the layer that makes the logits."""


def runs(network: nn.Module) -> TypeGuard[StudentConv]:
    """Say whether a network is one that ONNX Runtime can run here."""
    return isinstance(network, StudentConv) and find_spec("onnxruntime") is not None


def quickest(network: nn.Module, device: str | torch.device) -> nn.Module:
    """Return a network as it is answered by fastest on a device: on a processor, what ONNX Runtime can run by that."""
    return OnnxNetwork(network) if torch.device(device).type == "cpu" and runs(network) else network


def export(network: StudentConv, channels: int, dims: int = 2) -> bytes:
    """Return a student as an ONNX graph, ``image (B, C, *S)`` to ``logits (B, K, *S)``.

    Its sides are any multiples of ``network.stride``; normalisation is folded into the convolutions.

    Args:
        network: In whatever mode and on the CPU; it is left as it was.
        channels: C.
        dims: Axes of S, 2 or 3.
    """
    axes = {0: "batch"} | {2 + axis: f"side{axis}" for axis in range(dims)}
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        # The exporter by tracing is deprecated; its successor needs another package and gives the same graph.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            _Whole(network),
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
    """Return a graph with int8 weights, one scale per channel, and uint8 activations.

    Args:
        model: What `export` returned.
        windows: Images ``(B, C, *S)`` as the network will see them, from which the ranges of activations are taken.
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
        """The windows, one after the other."""

        left = iter(windows)

        def get_next(self) -> dict[str, Any] | None:
            image = next(self.left, None)
            return None if image is None else {IMAGE: image.float().numpy()}

    graph = onnx.load_from_string(model).graph
    first = next(node.name for node in graph.node if node.op_type == "Conv")
    kept = [first, *(node.name for node in graph.node if node.op_type in FLOAT_OPS)]
    with tempfile.TemporaryDirectory() as folder:
        whole, ready, small = (Path(folder) / f"{name}.onnx" for name in ("whole", "ready", "small"))
        whole.write_bytes(model)
        quant_pre_process(whole, ready, skip_symbolic_shape=True)
        quantize_static(
            ready,
            small,
            Reader(),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
            nodes_to_exclude=kept,
        )
        return small.read_bytes()


class OnnxNetwork(nn.Module):
    """A student run by ONNX Runtime, for images of any size.

    Args:
        network: As it is at the first image; what changes in it later is not seen.
        model: A graph to run in its place; None exports the network.
    """

    def __init__(self, network: StudentConv, model: bytes | None = None) -> None:
        super().__init__()
        self.network, self._model, self._session = network, model, None

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return logits ``(B, K, *S)`` of ``images (B, C, *S)``, float32."""
        if self._session is None:
            model = self._model or export(self.network, images.shape[1], images.ndim - 2)
            self._session = session(model)
        padded = pad_to_multiple(images.float(), self.network.stride).contiguous()
        (logits,) = self._session.run([LOGITS], {IMAGE: padded.numpy()})
        return crop(torch.from_numpy(logits), images.shape[2:])


def session(model: bytes) -> Any:
    """Return ONNX Runtime's session on as many threads as torch has."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = torch.get_num_threads(), 3
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


class _Whole(nn.Module):
    def __init__(self, network: StudentConv) -> None:
        super().__init__()
        self.network = network
        # The exporter puts everything back into the mode of what it was given.
        self.training = network.training

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.network.whole(image)
