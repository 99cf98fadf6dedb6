"""A click app on tiny scans, with a small network that is trained on clicks within seconds."""

import functools
import shutil
import tempfile
from pathlib import Path

import nibabel as nib
import numpy as np
import torch

from lib.learning.losses.mask import mask_loss
from lib.models.sam import PromptedNetwork, sam_tiny
from lib.models.sam.network import Prompts
from lib.models.weights import save_weights
from lib.ops.frame import Frame

ROOT = Path(__file__).resolve().parents[3]
SIZE, SHAPE, SPACING_MM = 64, (64, 64, 12), 2.0
APP = f"""
[app]
name = "clicks"

[[task]]
name = "sam"
kind = "click"
model = "sam_tiny"
object = "airway"
labels = ["tube", "cavity"]
image = {{ spacing_mm = [2, 2, 2], window = [200, -1000], roi = [{SIZE}, {SIZE}] }}
"""
SEGMENTATION = """
[[task]]
name = "tubes"
kind = "segmentation"
model = "topowmamba_tiny"
labels = ["tube", "cavity"]
image = { spacing_mm = [2, 2, 2], window = [-1000, 400], roi = [32, 32], slice_offsets = [-1, 0, 1] }
"""


def scan(seed: int) -> tuple[np.ndarray, np.ndarray, tuple[int, int]]:
    """Return a scan in HU (int16), its air tube (bool), and row and column of the tube's centre."""
    rng = np.random.default_rng(seed)
    x, y, _ = np.meshgrid(*[np.arange(n) - (n - 1) / 2 for n in SHAPE], indexing="ij")
    hu = np.where((2 * x / (SHAPE[0] - 4)) ** 2 + (2 * y / (SHAPE[1] - 4)) ** 2 < 1, 40.0, -1000.0)
    centre = rng.uniform(-6, 6, 2)
    tube = (x - centre[0]) ** 2 + (y - centre[1]) ** 2 < 64
    hu[tube] = -1000
    row, column = np.rint(centre + (np.array(SHAPE[:2]) - 1) / 2).astype(int)
    return (hu + rng.normal(0, 20, SHAPE)).astype(np.int16), tube, (int(row), int(column))


def write_scan(seed: int, path: Path, affine: np.ndarray | None = None) -> Path:
    """Write a scan as NIfTI."""
    path.parent.mkdir(parents=True, exist_ok=True)
    affine = np.diag([SPACING_MM, SPACING_MM, SPACING_MM, 1.0]) if affine is None else affine
    nib.save(nib.Nifti1Image(scan(seed)[0], affine), path)
    return path


def make_click_app(folder: Path, more: str = "") -> Path:
    """Create an app with a trained starter and the repository's main.py."""
    folder.mkdir(parents=True)
    shutil.copy(ROOT / "apps" / "airway" / "main.py", folder)
    (folder / "app.toml").write_text(APP + more)
    starter = folder / "starter" / "sam_tiny" / "weights.safetensors"
    starter.parent.mkdir(parents=True)
    shutil.copyfile(trained_weights(), starter)
    return folder


@functools.cache
def trained_weights() -> Path:
    """Return the file of weights that segment the tube around a click; published weights handle only boxes."""
    network = sam_tiny(SIZE)
    examples = [example for seed in range(2) for example in _examples(network, seed)]
    trained = [*network.mask_decoder.parameters(), *network.prompt_encoder.parameters()]
    for parameter in trained:
        parameter.requires_grad_(True)
    optimizer = torch.optim.Adam(trained, lr=1e-3)
    for step in range(32):
        embedding, points, target = examples[step % len(examples)]
        logits = network.decode(embedding, Prompts(points[:, None], torch.ones(len(points), 1, dtype=torch.long)))
        target = target.expand(len(points), -1, -1)
        loss = mask_loss(logits[:, 0], target, torch.ones_like(target))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    path = Path(tempfile.mkdtemp(prefix="trained-")) / "weights.safetensors"
    save_weights(network, path)
    return path


@torch.no_grad()
def _examples(network: PromptedNetwork, seed: int) -> list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    hu, tube, middle = scan(seed)
    image = ((torch.from_numpy(hu[..., 5]).float() - 200) / -1200).clamp(0, 1)
    target, mm = torch.from_numpy(tube[..., 5]).float(), (SPACING_MM, SPACING_MM)
    points = torch.tensor([middle, (middle[0] + 4, middle[1] - 3)])
    at = middle[0] * SPACING_MM, middle[1] * SPACING_MM
    frames = [Frame.enclosing((*at, *at), min_side_mm=side) for side in (128.0, 45.0)]
    return [
        (
            network.encode(frame.resample(image, mm, SIZE)[None, None]),
            frame.to_samples(points, mm, SIZE).float(),
            frame.resample(target, mm, SIZE) > 0.5,
        )
        for frame in frames
    ]
