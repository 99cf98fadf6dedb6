"""Batches: every patch occurs once per epoch, with any number of workers."""

import pytest
import torch
from torch.utils.data import Dataset

from lib.learning.loop.batches import EpochSampler, build_loader, to_device
from lib.learning.loop.ranks import Ranks

ALONE = Ranks(0, 1, torch.device("cpu"))


class EpochItems(Dataset):
    """Items that contain their epoch and index."""

    def __init__(self) -> None:
        self.epoch = -1

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return 5

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.tensor([self.epoch, index])


@pytest.mark.parametrize("num_workers", [0, 1])
def test_persistent_workers_draw_new_patches_in_every_epoch(num_workers: int) -> None:
    loader, sampler = build_loader(EpochItems(), batch_size=2, num_workers=num_workers, ranks=ALONE)
    for epoch in (1, 2):
        sampler.epoch = epoch
        assert torch.cat(list(loader)).tolist() == [[epoch, index] for index in range(5)]


def test_patches_are_divided_evenly_among_processes() -> None:
    parts = [[index for _, index in EpochSampler(7, rank, 3)] for rank in range(3)]
    assert parts == [[0, 3], [1, 4], [2, 5]]


def test_only_the_first_epoch_of_a_resumed_run_starts_later() -> None:
    sampler = EpochSampler(4, 0, 1)
    sampler.start = 3
    assert [index for _, index in sampler] == [3]
    assert [index for _, index in sampler] == [0, 1, 2, 3] and len(sampler) == 4


def test_too_few_patches_are_refused() -> None:
    with pytest.raises(ValueError, match="5 patches per epoch are too few for 6 processes"):
        build_loader(EpochItems(), batch_size=1, num_workers=0, ranks=Ranks(0, 6, torch.device("cpu")))


def test_to_device_moves_tensors_and_keeps_other_values() -> None:
    moved = to_device({"image": torch.ones(2), "case": ["a", "b"]}, torch.device("meta"))
    assert moved["image"].device.type == "meta" and moved["case"] == ["a", "b"]
