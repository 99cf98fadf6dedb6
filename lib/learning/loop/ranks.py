"""The processes of a torchrun launch: who I am, which device is mine, what all of us say."""

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
    """This process among those that train together.

    Args:
        rank: My number.
        world: How many we are.
        device: The device that is mine.
    """

    rank: int
    world: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether I am the one that writes."""
        return self.rank == 0

    def wrap(self, network: nn.Module, partly: bool = False) -> nn.Module:
        """Return the network with gradients averaged over the processes, or itself if alone.

        Args:
            network: On my device.
            partly: Whether a step may leave parameters out, which then takes a search at every step.
        """
        if self.world == 1:
            return network
        device_ids = [self.device.index] if self.device.type == "cuda" else None
        return DistributedDataParallel(network, device_ids=device_ids, find_unused_parameters=partly)

    def largest(self, *values: float) -> list[float]:
        """Return each value at its largest over the processes, so that all act alike."""
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
def join(device: str | torch.device) -> Iterator[Ranks]:
    """Join the process group that torchrun announces in the environment, or stand alone.

    Args:
        device: Where to train; under torchrun ``cuda`` becomes this process's own GPU.
    Yields:
        My place; the group is left at the end if it was made here.
    """
    device, world = torch.device(device), int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        yield Ranks(0, 1, device)
        return
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    made = not dist.is_initialized()
    if made:
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Ranks(dist.get_rank(), dist.get_world_size(), device)
    finally:
        if made:
            dist.destroy_process_group()
