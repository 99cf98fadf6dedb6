"""TopoWMamba, a reconstruction of arXiv 2502.14363: a U-Net of wavelet and snake-convolution state-space blocks."""

from lib.models.topowmamba.build import topowmamba, topowmamba_base, topowmamba_small, topowmamba_tiny
from lib.models.topowmamba.network import TopoWMamba

__all__ = ["TopoWMamba", "topowmamba", "topowmamba_base", "topowmamba_small", "topowmamba_tiny"]
