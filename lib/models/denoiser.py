"""A diffusion model of slices under a label map: what it adds to noise is an image that has those labels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from monai.networks.nets import DiffusionModelUNet
from monai.networks.schedulers import DDIMScheduler, DDPMScheduler
from torch import Tensor, nn

IGNORE = 255
TIMES = 1000
SCHEDULE, PREDICTION = "scaled_linear_beta", "v_prediction"


class Denoiser(nn.Module):
    """MONAI's diffusion U-net, given the noisy slices and their labels side by side.

    Args:
        slices: Neighbouring slices that are made together; the labels are those of the middle one.
        classes: Background included.
        channels: Of the levels, multiples of 32; the last one attends.
    Raises:
        ValueError: If there is no class beside the background.
    Source:
        Ho et al. 2020, arXiv:2006.11239; v-prediction, Salimans & Ho 2022, arXiv:2202.00512.
    """

    def __init__(self, *, slices: int, classes: int, channels: Sequence[int] = (32, 64, 96)) -> None:
        super().__init__()
        if classes < 2:
            raise ValueError(f"a label map has a background and a class at least, got {classes} classes")
        self.slices, self.classes = slices, classes
        self.stride = 2 ** (len(channels) - 1)
        self.unet = DiffusionModelUNet(
            spatial_dims=2,
            in_channels=slices + classes,
            out_channels=slices,
            channels=tuple(channels),
            attention_levels=tuple(level == len(channels) - 1 for level in range(len(channels))),
            num_res_blocks=1,
            num_head_channels=32,
        )
        self.forth = DDPMScheduler(TIMES, SCHEDULE, prediction_type=PREDICTION)

    def forward(self, image: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        """Return what the network predicts of images made noisy at a time drawn for each, and what is right.

        Args:
            image: ``(B, S, H, W)`` in [0, 1].
            label: Of the middle slice, ``(B, H, W)``; 255 is no class.
        """
        clean, noise = 2 * image - 1, torch.randn_like(image)
        times = torch.randint(0, TIMES, (len(image),), device=image.device)
        noisy = self.forth.add_noise(clean, noise, times)
        return self.unet(torch.cat([noisy, self._marks(label)], 1), times), self.forth.get_velocity(clean, noise, times)

    @torch.inference_mode()
    def sample(self, label: Tensor, *, steps: int = 50, generator: torch.Generator | None = None) -> Tensor:
        """Return images of labels.

        Args:
            label: ``(B, H, W)``.
            steps: From noise to image, evenly spread over the times.
            generator: Of the noise, on the CPU; whoever gives the same gets the same images.
        Returns:
            ``(B, S, H, W)`` in [0, 1].
        Raises:
            ValueError: If a side is no multiple of the network's stride.
        """
        if any(side % self.stride for side in label.shape[1:]):
            raise ValueError(f"sides must be multiples of {self.stride}, got {tuple(label.shape[1:])}")
        back = DDIMScheduler(TIMES, SCHEDULE, prediction_type=PREDICTION)
        back.set_timesteps(steps)
        device = next(self.parameters()).device
        marks = self._marks(label.to(device))
        image = torch.randn((len(label), self.slices, *label.shape[1:]), generator=generator).to(device)
        for time in back.timesteps.tolist():
            told = torch.full((len(image),), time, device=device)
            image, _ = back.step(self.unet(torch.cat([image, marks], 1), told), time, image)
        return ((image + 1) / 2).clamp(0, 1)

    def _marks(self, label: Tensor) -> Tensor:
        """Return one channel per class; where nobody drew, none is 1."""
        known = label != IGNORE
        one_hot = F.one_hot(torch.where(known, label, 0).long(), self.classes).movedim(-1, 1)
        return (one_hot * known[:, None]).float()
