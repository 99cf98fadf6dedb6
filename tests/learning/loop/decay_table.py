"""Print the parameters with weight decay of every network: ``python -m tests.learning.loop.decay_table``.

The output is `docs/weight_decay.md`, and a test compares both.
"""

import functools
from collections import Counter
from collections.abc import Callable

import torch
from torch import nn

from lib.learning.loop.schedule import decayed_parameters
from lib.models import BUILDERS, RESTORERS

HEAD = """# Weight decay

AdamW shrinks the kernels and matrices that multiply features, and nothing else: biases, norms, factors per channel and
the parameters of state spaces keep their values (`lib.learning.loop.schedule.decayed_parameters`). Parameters with one
axis have no weight decay; a module names its others in `no_weight_decay`. The table is made by
`python -m tests.learning.loop.decay_table > docs/weight_decay.md` from the networks in 2-D, and a test compares both.
Entries are module class, parameter and number.

| network | with weight decay | without, although of several axes |
|---|---|---|
"""


READ_WHEN_BUILT = ("swinunetr",)
"""Networks whose class reads numbers from tensors when it is built: they need memory."""


@functools.cache
def networks() -> dict[str, nn.Module]:
    """Return every network that segments without prompts or restores, where possible without memory for its weights."""
    sizes: dict[str, Callable[[], nn.Module]] = {
        **{name: lambda name=name: BUILDERS[name](spatial_dims=2, in_channels=3, out_channels=3) for name in BUILDERS},
        **{name: lambda name=name: RESTORERS[name](1, 1) for name in RESTORERS},
    }

    def on(device: str, build: Callable[[], nn.Module]) -> nn.Module:
        with torch.device(device):
            return build()

    return {name: on("cpu" if name in READ_WHEN_BUILT else "meta", build) for name, build in sizes.items()}


def kinds(network: nn.Module, *, decayed: bool) -> Counter[str]:
    """Return how many parameters of each kind, ``Class.name``, have weight decay, or have several axes but none."""
    chosen = decayed_parameters(network)
    return Counter(
        f"{type(network.get_submodule(path.rpartition('.')[0])).__name__}.{path.rpartition('.')[2]}"
        for path, parameter in network.named_parameters()
        if (path in chosen) == decayed and (decayed or parameter.ndim > 1)
    )


def table() -> str:
    """Return the page."""

    def cell(found: Counter[str]) -> str:
        return ", ".join(f"`{kind}` {count}" for kind, count in sorted(found.items())) or "-"

    rows = [
        f"| {name} | {cell(kinds(network, decayed=True))} | {cell(kinds(network, decayed=False))} |"
        for name, network in networks().items()
    ]
    return HEAD + "\n".join(rows) + "\n"


if __name__ == "__main__":
    print(table(), end="")
