"""Run a network on batches of images: device, precision, compilation and batch size."""

from __future__ import annotations

import contextlib

import torch
from torch import nn

from lib.models.inference import onnx

CPU_BATCH, MAX_BATCH = 4, 32
MAX_MEMORY_FRACTION = 0.7
"""Largest fraction of the free memory of a GPU that a batch may use; other processes use the GPU as well."""


def select_device(device: str | torch.device | None = None) -> torch.device:
    """Return the given device; for None a GPU if there is one, otherwise the CPU."""
    return torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))


def has_bfloat16_units() -> bool:
    """Return whether the GPU multiplies bfloat16 itself; GPUs before Ampere emulate it, which is slow."""
    return torch.cuda.is_bf16_supported(including_emulation=False)


class Engine:
    """Run a network on batches of images, with smaller batches if memory runs out.

    On a GPU the network is compiled with CUDA graphs and runs in bfloat16, if the GPU has units for it. Batches are
    padded to one size, because a graph accepts only the shapes that it was recorded with. On a CPU the network runs in
    its own precision. There, bfloat16 would save a fifth of the time on a CPU with bfloat16 units, take eight times as
    long on a CPU without them (AVX2), and change one voxel in 300 of the airway. ONNX Runtime runs the students that it
    supports.

    Args:
        network: Maps images ``(B, C, *S)`` to logits ``(B, K, *S)``.
        device: Device of the network.
        batch_size: Images per forward pass; None for as many as fit into the free memory of a GPU, and four on a CPU.
    """

    def __init__(self, network: nn.Module, device: str | torch.device = "cpu", batch_size: int | None = None) -> None:
        self.device, self.batch_size = torch.device(device), batch_size
        self.network = network.to(self.device)
        self._graphs = self.device.type == "cuda"
        if self._graphs:
            self._run = torch.compile(network, mode="reduce-overhead", dynamic=False)
        else:
            self._run = onnx.with_fastest_runtime(network, self.device)

    def batch(self, image: torch.Tensor) -> int:
        """Return the number of images like ``image (C, *S)`` per forward pass."""
        if self.batch_size is None:
            self.batch_size = CPU_BATCH if self.device.type == "cpu" else self._max_batch(image)
        return self.batch_size

    @torch.inference_mode()
    def __call__(self, images: torch.Tensor, notes: list[str] | None = None) -> torch.Tensor:
        """Return the logits of ``images (B, C, *S)``, float32 on the engine's device.

        Args:
            images: Images ``(B, C, *S)``, on any device.
            notes: List that receives a message when the batch size is reduced.
        Raises:
            torch.OutOfMemoryError: If the memory is too small for one image.
        """
        size = min(len(images), self.batch(images[0]))
        try:
            parts = [self._forward(part, size) for part in images.split(size)]
            # Do not copy a single part, because the copy would take as long as the use of the logits.
            return torch.cat(parts) if len(parts) > 1 else parts[0]
        except torch.OutOfMemoryError:
            if size == 1:
                raise
        # Continue outside the except block, because its traceback holds the memory of the failed pass.
        self.batch_size = size // 2
        self._release_memory()
        if notes is not None:
            notes.append(f"memory ran out: {self.batch_size} windows at once instead of {size}")
        return self(images, notes)

    def _forward(self, images: torch.Tensor, size: int) -> torch.Tensor:
        count, images = len(images), images.to(self.device)
        if self._graphs and count < size:
            images = torch.cat([images, images[-1:].expand(size - count, *images.shape[1:])])
        with self._precision():
            # A CUDA graph writes every output to the same memory, so the logits are cloned below.
            logits = self._run(images)[:count].float()
        return logits.clone() if self._graphs else logits

    def _precision(self) -> contextlib.AbstractContextManager:
        if self.device.type == "cuda" and has_bfloat16_units():
            return torch.autocast("cuda", torch.bfloat16)
        return contextlib.nullcontext()

    def _max_batch(self, image: torch.Tensor) -> int:
        """Return how many images fit into the free memory of the GPU, from the memory that one image needs."""
        self._release_memory()
        before = torch.cuda.memory_allocated(self.device)
        torch.cuda.reset_peak_memory_stats(self.device)
        with torch.inference_mode(), self._precision():
            self.network(image[None].to(self.device))
        one = torch.cuda.max_memory_allocated(self.device) - before
        self._release_memory()
        free, _ = torch.cuda.mem_get_info(self.device)
        return int(min(max(free * MAX_MEMORY_FRACTION // max(one, 1), 1), MAX_BATCH))

    def _release_memory(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
