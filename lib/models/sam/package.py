"""The networks of the package segment-anything, imported without torchvision."""

from importlib import import_module
from types import ModuleType

from lib.imports import deferred


def modeling() -> ModuleType:
    """Return the module `segment_anything.modeling`.

    Only the package's predictors, which this project does not use, need torchvision; it takes two seconds to import.
    """
    with deferred("torchvision"):
        return import_module("segment_anything.modeling")
