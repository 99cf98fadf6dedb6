"""The training loop: run any recipe on MONAI's engines and resume an interrupted run from its checkpoint."""

from lib.learning.loop.training import Result, fit, train

__all__ = ["Result", "fit", "train"]
