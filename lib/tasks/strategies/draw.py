"""Studies drawn by lot, from a seed if the request names one."""

import random
import time
from collections.abc import Mapping, Sequence
from typing import Any

from monailabel.interfaces.datastore import Datastore

from lib.records.leases import Leases
from lib.tasks.strategies.leasing import Leasing

SEED = "seed"
"""What a request calls the seed of its draw."""


class RandomUnlabelled(Leasing):
    """Draw a study without a final label, those served longest ago more often unless a seed is given."""

    def __init__(self, leases: Leases) -> None:
        super().__init__("A random study without a final label", leases)

    def ranked(self, images: list[str], request: dict[str, Any], datastore: Datastore) -> list[str]:
        """Return the studies in the order of draws without putting back."""
        rng = generator(request, images)
        if request.get(SEED) is not None:
            return drawn(images, {}, rng)
        name, now = request.get("strategy", "random"), int(time.time())

        def waited(image: str) -> float:
            served = datastore.get_image_info(image).get("strategy", {}).get(name, {}).get("ts", 0)
            # At least 1: a study served within this second would else have no weight.
            return max(now - served, 1)

        return drawn(images, {image: waited(image) for image in images}, rng)


def generator(request: Mapping[str, Any], images: Sequence[str]) -> random.Random:
    """Return what draws for a request: alike for one seed and as many studies, else as it comes."""
    seed = request.get(SEED)
    return random.Random() if seed is None else random.Random(f"{seed}/{len(images)}")


def drawn(images: Sequence[str], weights: Mapping[str, float], rng: random.Random) -> list[str]:
    """Return studies in the order of draws without putting back, each draw by weight.

    Args:
        images: The studies.
        weights: Of each, 1 where it has none; those without weight come last, in any order.
        rng: Draws.
    Source:
        Efraimidis & Spirakis 2006: the largest u^(1/w) first.
    """

    def key(image: str) -> tuple[bool, float]:
        weight, u = weights.get(image, 1.0), rng.random()
        return (weight > 0, u ** (1 / weight) if weight > 0 else u)

    return sorted(images, key=key, reverse=True)
