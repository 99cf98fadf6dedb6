"""Group normalisation that keeps its speed on channels-last images."""

import torch.nn.functional as F
from torch import Tensor, nn

from lib.ops.native import group_norm as native


class GroupNorm(nn.GroupNorm):
    """``nn.GroupNorm``, in C++ on a CPU where the channels are innermost in memory: torch's own is several times slower
    there than on planes.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Return the normalised ``(B, C, *S)``."""
        if self.affine and native.serves(input, self.weight):
            y, _, _ = native.group_norm_op(input.movedim(1, -1), self.weight, self.bias, self.num_groups, self.eps)
            return y.movedim(-1, 1)
        return F.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)
