"""Published weights are found, checked, folded and loaded, and errors say fault to do."""

import hashlib
import pickle
from pathlib import Path

import pytest
import torch
from torch import nn

from lib.models.sam import foundation
from lib.models.sam.foundation import (
    LITE_MEDSAM_SHA256,
    NoFoundation,
    find_lite_medsam,
    fold_batch_norm,
    load_foundation,
)


class Net(nn.Linear):
    """A network with a buffer for the hash."""

    def __init__(self) -> None:
        super().__init__(2, 2)
        self.register_buffer("foundation", torch.zeros(32, dtype=torch.uint8))


@pytest.fixture
def good(tmp_path: Path) -> Path:
    path = tmp_path / "good.pth"
    torch.save({"weight": torch.full((2, 2), 3.0), "bias": torch.ones(2)}, path)
    return path


@torch.no_grad()
def test_a_folded_convolution_equals_the_normalised_one() -> None:
    torch.manual_seed(0)
    conv, bn = nn.Conv2d(4, 6, 3, bias=False), nn.BatchNorm2d(6)
    for value in (bn.weight, bn.bias, bn.running_mean, bn.running_var):
        nn.init.uniform_(value, 0.3, 3)
    plain = nn.Sequential()
    plain.add_module("c", conv)
    plain.add_module("bn", bn)
    state = {f"a.b.{name}": value for name, value in plain.eval().state_dict().items()} | {"norm.bn2": torch.ones(1)}
    folded = fold_batch_norm(state)
    assert folded.keys() == {"a.b.weight", "a.b.bias", "norm.bn2"}
    x = torch.randn(2, 4, 5, 5)
    assert torch.allclose(nn.functional.conv2d(x, folded["a.b.weight"], folded["a.b.bias"]), plain(x), atol=1e-5)


def test_the_file_in_the_package_is_the_published_one(weights_file: Path) -> None:
    assert hashlib.sha256(weights_file.read_bytes()).hexdigest() == LITE_MEDSAM_SHA256


@pytest.mark.parametrize("missing", [("no-such-package", "a/b.pth"), ("torch", "torch/no_such_file.pth")])
def test_a_missing_package_or_file_raises_with_the_package_to_install(
    monkeypatch: pytest.MonkeyPatch, missing: tuple
) -> None:
    monkeypatch.setattr(foundation, "LITE_MEDSAM", missing)
    with pytest.raises(NoFoundation, match=f"pip install {missing[0]}"):
        find_lite_medsam()


def test_loading_stores_the_hash_of_the_file(good: Path) -> None:
    network, digest = Net(), hashlib.sha256(good.read_bytes())
    load_foundation(network, good, dict, digest.hexdigest())
    assert (network.weight == 3).all() and bytes(network.foundation.tolist()) == digest.digest()


def test_a_file_with_another_hash_raises(good: Path) -> None:
    with pytest.raises(NoFoundation, match=r"good.pth is not the published file.*download it again"):
        load_foundation(Net(), good, dict, "0" * 64)


@pytest.mark.parametrize("path", ["nowhere.pth", "."])
def test_a_missing_file_raises_with_the_key_in_app_toml(tmp_path: Path, path: str) -> None:
    with pytest.raises(NoFoundation, match=r"app.toml, `foundation`"):
        load_foundation(Net(), tmp_path / path, dict)


class Unsafe:
    """A class that only an unsafe reader would unpickle."""


def write_bad_file(good: bytes, path: Path, fault: str) -> None:
    """Write a bad file of the given kind."""
    if fault in ("text", "empty", "truncated", "half"):
        path.write_bytes(
            {"text": b"hello", "empty": b"", "truncated": good[:-100], "half": good[: len(good) // 2]}[fault]
        )
    elif fault == "code":
        path.write_bytes(pickle.dumps(Unsafe(), protocol=2))
    else:
        state = {"weight": torch.ones(2, 2), "bias": torch.ones(2)}
        states = {"list": [1, 2], "shape": state | {"bias": torch.ones(3)}, "missing": {"bias": state["bias"]}}
        torch.save((states | {"more": state | {"more": torch.ones(1)}, "number": state | {"bias": 3}})[fault], path)


@pytest.mark.parametrize(
    "fault", ["text", "empty", "truncated", "half", "code", "list", "shape", "missing", "more", "number"]
)
def test_a_bad_file_raises_with_a_remedy(good: Path, tmp_path: Path, fault: str) -> None:
    write_bad_file(good.read_bytes(), tmp_path / "bad.pth", fault)
    with pytest.raises(
        NoFoundation, match=r"bad.pth does not hold the weights of this network, download the published file"
    ):
        load_foundation(Net(), tmp_path / "bad.pth", dict)
