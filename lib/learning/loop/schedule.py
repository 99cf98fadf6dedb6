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


def decayed_parameters(network: nn.Module) -> dict[str, nn.Parameter]:
    """Return the trainable parameters with weight decay, by name: kernels and matrices that multiply features.

    Parameters with one axis (biases, norms, ``D`` of a state space) have none. A module names its other parameters
    without weight decay in ``no_weight_decay``: ``A`` and the step sizes of a state space, factors per channel, biases
    of attention. It names them in its class and not on the tensors, because copies of tensors lose attributes.

    Args:
        network: The network to train.
    """
    exempt = {
        f"{place}.{name}".removeprefix(".")
        for place, module in network.named_modules()
        for name in getattr(module, "no_weight_decay", ())
    }
    return {
        name: parameter
        for name, parameter in network.named_parameters()
        if parameter.requires_grad and parameter.ndim > 1 and name not in exempt
    }


def build_optimizer(network: nn.Module, *, learning_rate: float, weight_decay: float) -> torch.optim.AdamW:
    """Return AdamW with weight decay on `decayed_parameters`.

    Args:
        network: The network to train.
        learning_rate: Peak learning rate.
        weight_decay: Decoupled weight decay.
    Returns:
        The optimiser with up to two parameter groups: with and without decay, each in the order of the network.
    Source:
        Loshchilov & Hutter 2019, arXiv:1711.05101; the exemptions as in state-spaces/mamba.
    """
    decayed = decayed_parameters(network)
    others = [p for name, p in network.named_parameters() if p.requires_grad and name not in decayed]
    groups = [
        {"params": list(decayed.values()), "weight_decay": weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([group for group in groups if group["params"]], lr=learning_rate)
