"""Give each structure its own random stream, so that a change of one structure does not change the others."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Streams:
    """Random streams of one case.

    Attributes:
        seed: Seed of the case.
    """

    seed: int

    def of(self, name: str) -> np.random.Generator:
        """Return the random generator of the structure called `name`."""
        return np.random.default_rng([self.seed, zlib.crc32(name.encode())])
