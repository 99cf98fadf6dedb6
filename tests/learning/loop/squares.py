"""A tiny task that a network with a few hundred weights learns in seconds: segment the bright square."""

from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import Dataset

from lib.evaluation.metrics.overlap import dice
from lib.learning.loop.ranks import Ranks
from lib.learning.recipes.finetune import Finetune


class Squares(Dataset):
    """Noisy images with one bright square; a patch depends only on epoch and index."""

    def __init__(self, count: int = 16) -> None:
        self.count, self.epoch = count, 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        rng = np.random.default_rng((self.epoch, index))
        row, column = rng.integers(1, 9, 2)
        label = torch.zeros(16, 16, dtype=torch.long)
        label[row : row + 6, column : column + 6] = 1
        noise = torch.from_numpy(rng.normal(0, 0.1, (1, 16, 16)).astype(np.float32))
        return {"image": label[None] + noise, "label": label}


def validate_squares(network: nn.Module, ranks: Ranks) -> list[dict[str, Any]]:
    """Score a network on two squares that training does not draw."""
    unseen, scores = Squares(2), []
    unseen.set_epoch(10_000)
    for index in range(2):
        with torch.no_grad():
            prediction = network(unseen[index]["image"][None])[0].argmax(0).numpy() == 1
        scores.append({"case": str(index), "scores": {"square": dice(prediction, unseen[index]["label"].numpy() == 1)}})
    return scores


def tiny_network(seed: int = 0) -> nn.Module:
    """Return a network with dropout, so that resuming a run also needs its random state."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Dropout(0.1), nn.Conv2d(8, 2, 3, padding=1))


def quick_recipe(**options: Any) -> Finetune:
    """Return a recipe whose training takes seconds."""
    defaults = {"max_epochs": 4, "patches_per_epoch": 16, "val_interval": 1, "learning_rate": 0.02, "warmup_steps": 2}
    return Finetune(**(defaults | options))


def ignore_progress(_: object) -> None:
    """Ignore the progress of a run."""
