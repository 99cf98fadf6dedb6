"""The processes of a torchrun launch: rank and device of this process, and reductions over all processes."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel


@dataclass(frozen=True)
class Ranks:
    """Rank and device of this process in a distributed training.

    Args:
        rank: Rank of this process.
        world: Number of processes.
        device: Device of this process.
    """

    rank: int
    world: int
    device: torch.device

    @property
    def is_first(self) -> bool:
        """Whether this process has rank 0, which writes the files."""
        return self.rank == 0

    def wrap(self, network: nn.Module, find_unused_parameters: bool = False) -> nn.Module:
        """Return the network wrapped for gradient averaging; with one process, the network itself.

        Args:
            network: Network on the device of this process.
            find_unused_parameters: Whether a step may leave parameters unused; every step then searches for them.
        """
        if self.world == 1:
            return network
        device_ids = [self.device.index] if self.device.type == "cuda" else None
        return DistributedDataParallel(network, device_ids=device_ids, find_unused_parameters=find_unused_parameters)

    def max_over_processes(self, *values: float) -> list[float]:
        """Return the maximum of each value over the processes, so that all processes take the same decision."""
        if self.world == 1:
            return list(values)
        shared = torch.tensor(values, dtype=torch.float64, device=self.device)
        dist.all_reduce(shared, op=dist.ReduceOp.MAX)
        return shared.tolist()

    def gather(self, items: list[Any]) -> list[Any]:
        """Return the items of all processes, in rank order."""
        if self.world == 1:
            return items
        parts: list[Any] = [None] * self.world
        dist.all_gather_object(parts, items)
        return [item for part in parts for item in part]


@contextmanager
def join_processes(device: str | torch.device) -> Iterator[Ranks]:
    """Join the process group of torchrun, as described by the environment; without torchrun, use one process.

    Args:
        device: Training device; under torchrun ``cuda`` becomes the GPU of this process.
    Yields:
        Rank and device of this process. The process group is destroyed at the end if it was created here.
    """
    device, world = torch.device(device), int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        yield Ranks(0, 1, device)
        return
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    created = not dist.is_initialized()
    if created:
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Ranks(dist.get_rank(), dist.get_world_size(), device)
    finally:
        if created:
            dist.destroy_process_group()
