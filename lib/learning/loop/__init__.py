"""The one loop: it runs any recipe on MONAI's engines, and what it learned survives whatever interrupts it."""

from lib.learning.loop.training import Result, fit, train

__all__ = ["Result", "fit", "train"]
