"""LoRA adapters change nothing at first, have the published number of parameters, and can be merged."""

import copy

import pytest
import torch
from peft.tuners.lora import LoraLayer
from torch import nn

from lib.models.sam.build import build_vit_b
from lib.models.sam.lora import add_adapters, merge_adapters
from lib.models.sam.network import PromptedNetwork, Prompts
from tests.models.sam.toys import ToyEncoder, randomise_adapters, toy_network

IMAGE = torch.rand(1, 1, 32, 32, generator=torch.Generator().manual_seed(3))


def relative_error(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a - b).norm() / b.norm())


def test_untrained_adapters_do_not_change_the_output() -> None:
    with_adapters, without = toy_network(rank=2), toy_network(rank=0)
    with torch.inference_mode():
        assert torch.equal(with_adapters.encode(IMAGE), without.encode(IMAGE))
        assert torch.equal(with_adapters(IMAGE), without(IMAGE))


def test_published_weights_with_untrained_adapters_equal_the_base(tiny: PromptedNetwork) -> None:
    image = IMAGE.repeat(1, 1, 2, 2)
    base = copy.deepcopy(tiny)
    for name, module in list(base.named_modules()):
        if isinstance(module, LoraLayer):
            parent, _, child = name.rpartition(".")
            setattr(base.get_submodule(parent), child, module.get_base_layer())
    assert not any("lora" in name for name, _ in base.named_modules())
    with torch.inference_mode():
        assert torch.equal(tiny.encode(image), base.encode(image))


@pytest.mark.parametrize(("rank", "count"), [(1, 36_864), (4, 147_456), (8, 294_912), (16, 589_824)])
def test_adapters_of_vit_b_have_the_published_number_of_parameters(rank: int, count: int) -> None:
    with torch.device("meta"):
        encoder = add_adapters(build_vit_b(), rank)
    trainable = {name: p.numel() for name, p in encoder.named_parameters() if p.requires_grad}
    assert sum(trainable.values()) == count
    assert {int(name.split(".")[1]) for name in trainable} == set(range(12)) and all(
        ".qkv." in name for name in trainable
    )


def test_a_merged_network_has_the_same_output_and_no_adapters() -> None:
    network = randomise_adapters(toy_network())
    merged = merge_adapters(network)
    assert not any(isinstance(module, LoraLayer) for module in merged.modules())
    with torch.inference_mode():
        assert not torch.equal(network.encode(IMAGE), toy_network().encode(IMAGE))
        assert relative_error(merged.encode(IMAGE), network.encode(IMAGE)) < 1e-6
        points, point_labels = torch.tensor([[[9.0, 20.0]]]), torch.ones(1, 1, dtype=torch.long)
        merged_logits, logits = (n.decode(n.encode(IMAGE), Prompts(points, point_labels)) for n in (merged, network))
    assert relative_error(merged_logits, logits) < 1e-5


def test_merging_does_not_change_the_network() -> None:
    network = randomise_adapters(toy_network())
    before = {name: value.clone() for name, value in nn.Module.state_dict(network).items()}
    merge_adapters(network)
    after = nn.Module.state_dict(network)
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)


def test_unmerging_restores_the_weights() -> None:
    network = randomise_adapters(toy_network())
    layers = [module for module in network.modules() if isinstance(module, LoraLayer)]
    assert layers
    with torch.inference_mode():
        before = network.encode(IMAGE)
        weights = [layer.get_base_layer().weight.clone() for layer in layers]
        for layer in layers:
            layer.merge(safe_merge=True)
        assert relative_error(network.encode(IMAGE), before) < 1e-6
        assert not any(torch.equal(layer.get_base_layer().weight, w) for layer, w in zip(layers, weights, strict=True))
        for layer in layers:
            layer.unmerge()
    for layer, weight in zip(layers, weights, strict=True):
        assert relative_error(layer.get_base_layer().weight, weight) < 1e-6


def test_rank_zero_adds_no_adapters_and_freezes_the_encoder() -> None:
    encoder = add_adapters(ToyEncoder(4), 0)
    assert not any("lora" in name or p.requires_grad for name, p in encoder.named_parameters())


@pytest.mark.parametrize(("rank", "layers"), [(-1, "qkv"), (2, "query"), (2, r"layers\.9\..*\.qkv")])
def test_bad_ranks_and_layers_raise(rank: int, layers: str) -> None:
    with pytest.raises(ValueError):
        add_adapters(ToyEncoder(4), rank, layers)
