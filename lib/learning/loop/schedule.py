"""Learning rate schedule and optimiser."""

import math

import torch
from torch import nn

POLY_POWER = 0.9


def rate_factor(schedule: str, done: float, *, step: int, warmup_steps: int) -> float:
    """Return the factor by which the peak learning rate is multiplied.

    Args:
        schedule: ``poly``, ``cosine`` or ``constant``.
        done: Fraction of the run that is done, in [0, 1].
        step: Steps done.
        warmup_steps: Steps of linear warm-up.
    Returns:
        A factor in [0, 1].
    """
    warm = min(1.0, (step + 1) / (warmup_steps + 1))
    left = 1 - min(max(done, 0.0), 1.0)
    decay = {"poly": left**POLY_POWER, "cosine": (1 - math.cos(math.pi * left)) / 2, "constant": 1.0}[schedule]
    return warm * decay


def build_optimizer(network: nn.Module, *, learning_rate: float, weight_decay: float) -> torch.optim.AdamW:
    """Return AdamW with weight decay on matrices only.

    Biases, norms and tensors marked ``_no_weight_decay`` (``A`` and ``D`` of a state space) have no weight decay.

    Args:
        network: The network to train.
        learning_rate: Peak learning rate.
        weight_decay: Decoupled decay of the matrices.
    Returns:
        The optimiser with up to two parameter groups: with and without decay, each in the order of the network.
    Source:
        Loshchilov & Hutter 2019, arXiv:1711.05101; the exemptions as in state-spaces/mamba.
    """
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    without_decay = [p for p in trained if p.ndim < 2 or getattr(p, "_no_weight_decay", False)]
    exempt = {id(parameter) for parameter in without_decay}
    groups = [
        {"params": [p for p in trained if id(p) not in exempt], "weight_decay": weight_decay},
        {"params": without_decay, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([group for group in groups if group["params"]], lr=learning_rate)
