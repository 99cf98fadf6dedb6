"""Load batches of patches; for one seed they do not depend on the number of workers or on where a run resumes."""

from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from lib.learning.loop.ranks import Ranks


class EpochSampler(Sampler[tuple[int, int]]):
    """Yield ``(epoch, index)`` for every patch of this process; the epoch reaches the worker processes with the index.

    Args:
        count: Patches per epoch over all processes.
        rank: Rank of this process.
        world: Number of processes.
    """

    def __init__(self, count: int, rank: int, world: int) -> None:
        self.indices = range(rank, count - count % world, world)
        self.epoch = 0
        self.start = 0

    def __len__(self) -> int:
        return len(self.indices)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        # Only the first epoch of a resumed run starts at a later batch.
        start, self.start = self.start, 0
        return iter([(self.epoch, index) for index in self.indices[start:]])


class EpochPatches(Dataset):
    """Patches by ``(epoch, index)``, so that persistent workers also draw new patches in every epoch.

    Args:
        patches: A map-style data set; its ``set_epoch`` is called at a new epoch, if it has that method.
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
    """Return the data loader of this process and its sampler.

    Args:
        patches: A map-style data set with a length.
        batch_size: Patches per batch.
        num_workers: Number of worker processes; they exist as long as the loader.
        ranks: Rank and device of this process.
    Returns:
        The loader, whose last batch may be smaller, and the sampler.
    Raises:
        ValueError: If there are fewer patches than processes.
    """
    sampler = EpochSampler(len(patches), ranks.rank, ranks.world)
    if not len(sampler):
        raise ValueError(
            f"{len(patches)} patches per epoch are too few for {ranks.world} processes: raise patches_per_epoch"
        )
    loader = DataLoader(
        EpochPatches(patches),
        batch_size=batch_size,
        sampler=sampler,
        num_workers=num_workers,
        persistent_workers=num_workers > 0,
        pin_memory=ranks.device.type == "cuda",
        # Without its own generator each new iterator draws a number from torch's default generator. The dropout of a
        # resumed run would then differ from that of an uninterrupted run.
        generator=torch.Generator().manual_seed(0),
    )
    return loader, sampler


def to_device(batch: dict[str, Any], device: torch.device) -> dict[str, Any]:
    """Return a copy of the batch with its tensors on `device`.

    Args:
        batch: Tensors and other values by name.
        device: Target device.
    Returns:
        A new dict; values that are not tensors stay as they are.
    """
    return {
        name: value.to(device, non_blocking=True) if isinstance(value, torch.Tensor) else value
        for name, value in batch.items()
    }
