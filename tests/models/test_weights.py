"""Weights survive a round trip through safetensors, and files that do not fit raise errors with the reason."""

from pathlib import Path

import pytest
import torch
from torch import nn

from lib.models.weights import WeightsMismatch, find_nonfinite_weight, load_grown_weights, load_weights, save_weights


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


@pytest.mark.parametrize(("axis", "layer"), [(0, nn.Conv2d), (1, nn.ConvTranspose2d)])
def test_a_new_class_is_improbable_and_the_others_stay_as_they_are(tmp_path: Path, axis: int, layer: type) -> None:
    path = save_weights(nn.Sequential(layer(3, 3, 2), layer(3, 3, 1)), tmp_path / "weights.safetensors")
    old, new = (nn.Sequential(layer(3, 3, 2), layer(3, count, 1)) for count in (3, 5))
    load_weights(old, path)
    load_grown_weights(new, path, 3, 5)
    image = torch.rand(1, 3, 8, 8)
    before, after = old(image), new(image)
    assert torch.allclose(before, after[:, :3], atol=1e-6)
    assert torch.allclose(after[:, 3:], before[:, :1] - 5, atol=1e-5)


def test_a_network_that_differs_in_more_than_its_classes_is_refused(tmp_path: Path) -> None:
    path = save_weights(nn.Linear(3, 2), tmp_path / "weights.safetensors")
    for network in (nn.Linear(4, 3), nn.Linear(3, 5)):
        with pytest.raises(WeightsMismatch, match="weight"):
            load_grown_weights(network, path, 2, 3)
