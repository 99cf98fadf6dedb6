"""How a network is run: in which precision, compiled or not, and on how many images at once."""

from __future__ import annotations

import contextlib

import torch
from torch import nn

from lib.models.inference import onnx

CPU_BATCH, MOST_IMAGES = 4, 32
FREE_SHARE = 0.7
"""How much of a GPU's free memory a batch may take: others use it as well."""


def device_of(asked: str | torch.device | None = None) -> torch.device:
    """Return the device that was asked for; where nobody did, a GPU if there is one."""
    return torch.device(asked or ("cuda" if torch.cuda.is_available() else "cpu"))


class Engine:
    """Run a network on batches, fewer images at a time where memory runs out.

    On a GPU in bfloat16 where it has that, compiled, with CUDA graphs: batches are filled up to one size, since a graph
    serves only the shapes that it was recorded with. On a CPU as the network is: bfloat16 saves a fifth of the time
    where the processor computes in it, takes eight times as long where it does not (AVX2), and changes one voxel in 300
    of the airway. A student that ONNX Runtime can run is run by that.

    Args:
        network: Logits ``(B, K, *S)`` from ``(B, C, *S)``.
        device: Where it runs.
        batch_size: Images at once; None takes what a GPU's free memory holds, and four on a CPU.
    """

    def __init__(self, network: nn.Module, device: str | torch.device = "cpu", batch_size: int | None = None) -> None:
        self.device, self.batch_size = torch.device(device), batch_size
        self.network = network.to(self.device)
        self._graphs = self.device.type == "cuda"
        if self._graphs:
            self._run = torch.compile(network, mode="reduce-overhead", dynamic=False)
        else:
            self._run = onnx.quickest(network, self.device)

    def batch(self, image: torch.Tensor) -> int:
        """Return how many images like ``image (C, *S)`` to hand over at once."""
        if self.batch_size is None:
            self.batch_size = CPU_BATCH if self.device.type == "cpu" else self._fitting(image)
        return self.batch_size

    @torch.inference_mode()
    def __call__(self, images: torch.Tensor, notes: list[str] | None = None) -> torch.Tensor:
        """Return the logits of ``images (B, C, *S)``, float32 on the engine's device.

        Args:
            images: On any device.
            notes: Told when the batch had to shrink.
        Raises:
            torch.OutOfMemoryError: If one image alone does not fit.
        """
        size = min(len(images), self.batch(images[0]))
        try:
            parts = [self._forward(part, size) for part in images.split(size)]
            # To copy an answer that came in one piece would take as long as to use it.
            return torch.cat(parts) if len(parts) > 1 else parts[0]
        except torch.OutOfMemoryError:
            if size == 1:
                raise
        # Out of the handler, where the traceback would keep the failed pass's memory.
        self.batch_size = size // 2
        self._free()
        if notes is not None:
            notes.append(f"memory ran out: {self.batch_size} windows at once instead of {size}")
        return self(images, notes)

    def _forward(self, images: torch.Tensor, size: int) -> torch.Tensor:
        count, images = len(images), images.to(self.device)
        if self._graphs and count < size:
            images = torch.cat([images, images[-1:].expand(size - count, *images.shape[1:])])
        with self._precision():
            # A graph writes every answer to the same place.
            logits = self._run(images)[:count].float()
        return logits.clone() if self._graphs else logits

    def _precision(self) -> contextlib.AbstractContextManager:
        if self.device.type == "cuda" and torch.cuda.is_bf16_supported():
            return torch.autocast("cuda", torch.bfloat16)
        return contextlib.nullcontext()

    def _fitting(self, image: torch.Tensor) -> int:
        """Return how many images a GPU's free memory holds, from what one takes."""
        self._free()
        before = torch.cuda.memory_allocated(self.device)
        torch.cuda.reset_peak_memory_stats(self.device)
        with torch.inference_mode(), self._precision():
            self.network(image[None].to(self.device))
        one = torch.cuda.max_memory_allocated(self.device) - before
        self._free()
        free, _ = torch.cuda.mem_get_info(self.device)
        return int(min(max(free * FREE_SHARE // max(one, 1), 1), MOST_IMAGES))

    def _free(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
