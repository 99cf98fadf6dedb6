"""Diffusion model that generates image slices from a label map."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from monai.networks.nets import DiffusionModelUNet
from monai.networks.schedulers import DDIMScheduler, DDPMScheduler
from torch import Tensor, nn

IGNORE = 255
TIMESTEPS = 1000
SCHEDULE, PREDICTION = "scaled_linear_beta", "v_prediction"


class Denoiser(nn.Module):
    """MONAI's diffusion U-Net; its input is the noisy slices concatenated with their one-hot labels.

    Args:
        slices: Number of neighbouring slices that are generated together; the labels belong to the middle slice.
        classes: Number of classes, including the background.
        channels: Channels per level, multiples of 32; the last level has self-attention.
    Raises:
        ValueError: If there is no class besides the background.
    Source:
        Ho et al. 2020, arXiv:2006.11239; v-prediction, Salimans & Ho 2022, arXiv:2202.00512.
    """

    def __init__(self, *, slices: int, classes: int, channels: Sequence[int] = (32, 64, 96)) -> None:
        super().__init__()
        if classes < 2:
            raise ValueError(f"classes must be at least 2 (the background and a class), got {classes}")
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
        self.noise_schedule = DDPMScheduler(TIMESTEPS, SCHEDULE, prediction_type=PREDICTION)

    def forward(self, image: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        """Add noise at a random timestep per image, and return the predicted and the true velocity (v-prediction).

        Args:
            image: Slices ``(B, S, H, W)`` in [0, 1].
            label: Labels of the middle slice, ``(B, H, W)``; a voxel of 255 has no label.
        Returns:
            The predicted velocity and the true velocity, each ``(B, S, H, W)``.
        """
        clean, noise = 2 * image - 1, torch.randn_like(image)
        times = torch.randint(0, TIMESTEPS, (len(image),), device=image.device)
        noisy = self.noise_schedule.add_noise(clean, noise, times)
        predicted = self.unet(torch.cat([noisy, self._one_hot(label)], 1), times)
        return predicted, self.noise_schedule.get_velocity(clean, noise, times)

    @torch.inference_mode()
    def sample(self, label: Tensor, *, steps: int = 50, generator: torch.Generator | None = None) -> Tensor:
        """Generate images for label maps.

        Args:
            label: Labels of the middle slices, ``(B, H, W)``.
            steps: Number of denoising steps, evenly spaced over the timesteps.
            generator: Random generator of the initial noise, on the CPU; equal generators give equal images.
        Returns:
            Slices ``(B, S, H, W)`` in [0, 1].
        Raises:
            ValueError: If a side is not a multiple of the stride of the network.
        """
        if any(side % self.stride for side in label.shape[1:]):
            raise ValueError(f"sides of a label map must be multiples of {self.stride}, got {tuple(label.shape[1:])}")
        scheduler = DDIMScheduler(TIMESTEPS, SCHEDULE, prediction_type=PREDICTION)
        scheduler.set_timesteps(steps)
        device = next(self.parameters()).device
        one_hot = self._one_hot(label.to(device))
        image = torch.randn((len(label), self.slices, *label.shape[1:]), generator=generator).to(device)
        for time in scheduler.timesteps.tolist():
            times = torch.full((len(image),), time, device=device)
            image, _ = scheduler.step(self.unet(torch.cat([image, one_hot], 1), times), time, image)
        return ((image + 1) / 2).clamp(0, 1)

    def _one_hot(self, label: Tensor) -> Tensor:
        """Return one channel per class, ``(B, K, H, W)``; all channels are 0 where the label is `IGNORE`."""
        labelled = label != IGNORE
        one_hot = F.one_hot(torch.where(labelled, label, 0).long(), self.classes).movedim(-1, 1)
        return (one_hot * labelled[:, None]).float()
