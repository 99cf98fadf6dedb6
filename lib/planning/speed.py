"""Measure how long a training step takes on this machine."""

import time
from collections.abc import Callable, Sequence

import torch

from lib.learning.losses.dice_ce import dice_ce_loss
from lib.learning.recipes.finetune import finest
from lib.models import BUILDERS
from lib.models.inference.engine import select_device

STEPS, LONGEST_S = 3, 20.0


def step_timer(classes: int) -> Callable[[str, Sequence[int], int, int], float]:
    """Return a function that measures the seconds of one training step of a network with `classes` outputs.

    It takes the name of the network, the sides of the patch, the batch size and the number of input channels, and
    returns the shortest of a few steps: other programs only make steps longer. A step that needs more memory than there
    is counts as infinitely long.
    """
    device = select_device()

    def measure(name: str, roi: Sequence[int], batch: int, channels: int) -> float:
        network = BUILDERS[name](spatial_dims=len(roi), in_channels=channels, out_channels=classes).to(device)
        network.train()
        image = torch.randn(batch, channels, *roi, device=device)
        label = torch.randint(0, classes, (batch, *roi), device=device)
        seconds: list[float] = []
        try:
            while len(seconds) <= STEPS and sum(seconds) < LONGEST_S:
                begin = time.perf_counter()
                loss = dice_ce_loss(finest(network(image)), label)
                loss.backward()
                loss.item()  # waits for a GPU
                seconds.append(time.perf_counter() - begin)
        except (torch.OutOfMemoryError, RuntimeError) as error:
            if "memory" not in str(error).lower():
                raise
            return float("inf")
        return min(seconds)

    return measure
