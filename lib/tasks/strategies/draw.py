"""Draw studies at random, with the seed of the request if it has one."""

import random
import time
from collections.abc import Mapping, Sequence
from typing import Any

from monailabel.interfaces.datastore import Datastore

from lib.records.leases import Leases
from lib.tasks.strategies.leasing import LeasingStrategy

SEED_KEY = "seed"
"""Key of the seed in a request."""


class RandomUnlabelled(LeasingStrategy):
    """Draw a study without a final label; without a seed, studies offered longer ago have a larger weight."""

    def __init__(self, leases: Leases) -> None:
        super().__init__("A random study without a final label", leases)

    def ranked(self, images: list[str], request: dict[str, Any], datastore: Datastore) -> list[str]:
        """Return the studies in the order of a draw without replacement."""
        rng = request_rng(request, images)
        if request.get(SEED_KEY) is not None:
            return draw_by_weight(images, {}, rng)
        name, now = request.get("strategy", "random"), int(time.time())

        def waiting_seconds(image: str) -> float:
            offered = datastore.get_image_info(image).get("strategy", {}).get(name, {}).get("ts", 0)
            # A study offered within this second still gets a weight.
            return max(now - offered, 1)

        return draw_by_weight(images, {image: waiting_seconds(image) for image in images}, rng)


def request_rng(request: Mapping[str, Any], images: Sequence[str]) -> random.Random:
    """Return the random generator of a request; seeded by the request's seed and the number of studies, if any."""
    seed = request.get(SEED_KEY)
    return random.Random() if seed is None else random.Random(f"{seed}/{len(images)}")


def draw_by_weight(images: Sequence[str], weights: Mapping[str, float], rng: random.Random) -> list[str]:
    """Return studies in the order of a weighted draw without replacement.

    Args:
        images: The studies.
        weights: Weight by study, 1 if missing; studies of weight 0 come last, in random order.
        rng: Random generator.
    Source:
        Efraimidis & Spirakis 2006: sort by u^(1/w), largest first.
    """

    def key(image: str) -> tuple[bool, float]:
        weight, u = weights.get(image, 1.0), rng.random()
        return (weight > 0, u ** (1 / weight) if weight > 0 else u)

    return sorted(images, key=key, reverse=True)
