"""Weights survive a round trip through safetensors, and files that do not fit raise errors with the reason."""

from pathlib import Path

import pytest
import torch
from torch import nn

from lib.models.weights import WeightsMismatch, find_nonfinite_weight, load_weights, save_weights


def test_weights_survive_a_round_trip(tmp_path: Path) -> None:
    first, second = nn.Linear(3, 2), nn.Linear(3, 2)
    load_weights(second, save_weights(first, tmp_path / "weights.safetensors"))
    assert torch.equal(first.weight, second.weight) and torch.equal(first.bias, second.bias)


def test_channels_last_weights_survive_a_round_trip(tmp_path: Path) -> None:
    first, second = nn.Conv2d(2, 3, 3).to(memory_format=torch.channels_last), nn.Conv2d(2, 3, 3)
    load_weights(second, save_weights(first, tmp_path / "weights.safetensors"))
    assert torch.equal(first.weight, second.weight)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (nn.Linear(4, 2), r"1 shape \(weight \(2, 3\) where \(2, 4\) is needed\)"),
        (nn.Linear(3, 2, bias=False), r"1 unexpected \(bias\)"),
        (nn.Sequential(nn.Linear(3, 2)), r"2 missing \(0\.bias, 0\.weight\); 2 unexpected"),
    ],
)
def test_weights_that_do_not_fit_raise_and_change_nothing(tmp_path: Path, network: nn.Module, message: str) -> None:
    path = save_weights(nn.Linear(3, 2), tmp_path / "weights.safetensors")
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with pytest.raises(WeightsMismatch, match=message):
        load_weights(network, path)
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


def test_other_formats_raise(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="safetensors only"):
        save_weights(nn.Linear(1, 1), tmp_path / "weights.pt")
    with pytest.raises(ValueError, match="safetensors only"):
        load_weights(nn.Linear(1, 1), tmp_path / "weights.pt")


def test_missing_and_damaged_files_raise_with_their_name(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no weights at"):
        load_weights(nn.Linear(1, 1), tmp_path / "weights.safetensors")
    (tmp_path / "broken.safetensors").write_bytes(b"not a header")
    with pytest.raises(ValueError, match="not a whole safetensors"):
        load_weights(nn.Linear(1, 1), tmp_path / "broken.safetensors")


def test_the_first_weight_with_nonfinite_values_is_named() -> None:
    state = {"a": torch.ones(2), "b": torch.tensor([1.0, torch.nan]), "c": torch.tensor([torch.inf])}
    assert find_nonfinite_weight(state) == "b" and find_nonfinite_weight({"a": torch.ones(2)}) == ""
