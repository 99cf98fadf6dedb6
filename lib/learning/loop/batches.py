"""Batches of patches, the same for one seed whatever the number of workers and wherever a run resumes."""

from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from lib.learning.loop.ranks import Ranks


class EpochSampler(Sampler[tuple[int, int]]):
    """Yield ``(epoch, index)``: the index says which patch, the epoch goes with it into the worker processes.

    Args:
        count: Patches per epoch over all processes.
        rank: My number among the processes.
        world: How many processes there are.
    """

    def __init__(self, count: int, rank: int, world: int) -> None:
        self.mine = range(rank, count - count % world, world)
        self.epoch = 0
        self.start = 0

    def __len__(self) -> int:
        return len(self.mine)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        # Only the first epoch of a resumed run starts in its middle.
        start, self.start = self.start, 0
        return iter([(self.epoch, index) for index in self.mine[start:]])


class EpochPatches(Dataset):
    """Patches asked for by ``(epoch, index)``, so that workers that live on still draw anew in every epoch.

    Args:
        patches: A map-style data set; where it has ``set_epoch``, that is told of a new epoch.
    """

    def __init__(self, patches: Any) -> None:
        self.patches = patches
        self.epoch = -1

    def __getitem__(self, key: tuple[int, int]) -> Any:
        epoch, index = key
        if epoch != self.epoch and hasattr(self.patches, "set_epoch"):
            self.patches.set_epoch(epoch)
        self.epoch = epoch
        return self.patches[index]


def build_loader(patches: Any, *, batch_size: int, num_workers: int, ranks: Ranks) -> tuple[DataLoader, EpochSampler]:
    """Return the loader of this process and the sampler that steers it.

    Args:
        patches: A map-style data set with a length.
        batch_size: Patches per batch.
        num_workers: Worker processes; they live as long as the loader.
        ranks: This process among its peers.
    Returns:
        The loader, whose last batch may be smaller, and its sampler.
    Raises:
        ValueError: If there are fewer patches than processes.
    """
    sampler = EpochSampler(len(patches), ranks.rank, ranks.world)
    if not len(sampler):
        raise ValueError(f"{len(patches)} patches an epoch cannot feed {ranks.world} processes")
    loader = DataLoader(
        EpochPatches(patches),
        batch_size=batch_size,
        sampler=sampler,
        num_workers=num_workers,
        persistent_workers=num_workers > 0,
        pin_memory=ranks.device.type == "cuda",
        # Otherwise each new iterator draws from the generator of the dropout, and a resumed run parts from a whole one.
        generator=torch.Generator().manual_seed(0),
    )
    return loader, sampler


def to_device(batch: dict[str, Any], device: torch.device) -> dict[str, Any]:
    """Return the batch with its tensors on `device`.

    Args:
        batch: Tensors and other values by name.
        device: Where to.
    Returns:
        A new dict.
    """
    return {
        name: value.to(device, non_blocking=True) if isinstance(value, torch.Tensor) else value
        for name, value in batch.items()
    }
