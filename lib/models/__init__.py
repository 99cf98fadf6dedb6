"""Networks: blocks, models, named sizes, weight files, and inference on volumes."""

from collections.abc import Callable

from torch import nn

from lib.models.peers import dynunet, dynunet_small, segresnet
from lib.models.restoration import NAFNet, nafnet_gopro, nafnet_sidd, nafnet_small, nafnet_tiny
from lib.models.sam import PromptedNetwork, sam_tiny, sam_vit_b
from lib.models.student import student_conv, student_topowmamba, student_vit_tiny
from lib.models.topowmamba import topowmamba_base, topowmamba_small, topowmamba_tiny
from lib.models.vmunet import vmunet, vmunet_small

BUILDERS: dict[str, Callable[..., nn.Module]] = {
    "topowmamba_tiny": topowmamba_tiny,
    "topowmamba_small": topowmamba_small,
    "topowmamba_base": topowmamba_base,
    "vmunet": vmunet,
    "vmunet_small": vmunet_small,
    "dynunet": dynunet,
    "dynunet_small": dynunet_small,
    "segresnet": segresnet,
    "student_conv": student_conv,
    "student_vit_tiny": student_vit_tiny,
    "student_topowmamba": student_topowmamba,
}
"""Builders of networks that segment without prompts, called with ``(spatial_dims=, in_channels=, out_channels=)``."""

PROMPTED: dict[str, Callable[..., PromptedNetwork]] = {"sam_tiny": sam_tiny, "sam_vit_b": sam_vit_b}
"""Builders of networks that segment from clicks, called with ``(image_size, rank=, foundation=)``."""

RESTORERS: dict[str, Callable[..., NAFNet]] = {
    "nafnet_tiny": nafnet_tiny,
    "nafnet_small": nafnet_small,
    "nafnet_gopro": nafnet_gopro,
    "nafnet_sidd": nafnet_sidd,
}
"""Builders of networks that restore images, called with ``(in_channels, out_channels, guide_channels=)``."""
