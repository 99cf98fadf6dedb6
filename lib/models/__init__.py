"""Networks: blocks, models, named sizes, weight files, and inference on volumes."""

from collections.abc import Callable
from importlib import import_module
from typing import Any


def _builder(module: str, name: str) -> Callable[..., Any]:
    """Return a builder that imports its module at its first call: some need libraries that take seconds to import."""

    def build(*sizes: int, **options: Any) -> Any:
        return getattr(import_module(f"lib.models.{module}"), name)(*sizes, **options)

    return build


def _builders(module: str, *names: str) -> dict[str, Callable[..., Any]]:
    return {name: _builder(module, name) for name in names}


BUILDERS: dict[str, Callable[..., Any]] = {
    **_builders("topowmamba.build", "topowmamba_tiny", "topowmamba_small", "topowmamba_base"),
    **_builders("vmunet", "vmunet", "vmunet_small"),
    **_builders("monai_networks", "dynunet", "dynunet_small", "segresnet", "segresnet_ds", "swinunetr"),
    **_builders("nnunet", "nnunet_plain", "nnunet_plain_small", "nnunet_resenc", "nnunet_resenc_small"),
    **_builders("student.build", "student_conv", "student_vit_tiny", "student_topowmamba"),
}
"""Builders of networks that segment without prompts, called with ``(spatial_dims=, in_channels=, out_channels=)``."""

PROMPTED: dict[str, Callable[..., Any]] = _builders("sam.build", "sam_tiny", "sam_vit_b")
"""Builders of networks that segment from clicks, called with ``(image_size, rank=, foundation=)``."""

RESTORERS: dict[str, Callable[..., Any]] = _builders(
    "restoration.build", "nafnet_tiny", "nafnet_small", "nafnet_gopro", "nafnet_sidd"
)
"""Builders of networks that restore images, called with ``(in_channels, out_channels, guide_channels=)``."""
