"""Prompts, state dict and foundation of the prompted network."""

import copy
from pathlib import Path

import pytest
import torch

from lib.models.sam import network as module
from lib.models.sam.network import BACKGROUND, FOREGROUND, NO_POINT, PromptedNetwork, Prompts
from lib.models.weights import WeightsMismatch, load_weights, save_weights
from tests.models.sam.toys import randomise_adapters, toy_network

IMAGE = torch.rand(2, 1, 32, 32, generator=torch.Generator().manual_seed(3))


@pytest.fixture(scope="module")
def network() -> PromptedNetwork:
    return toy_network()


@pytest.fixture(scope="module")
def embedding(network: PromptedNetwork) -> torch.Tensor:
    with torch.inference_mode():
        return network.encode(IMAGE[:1])


def points(*marks: tuple[float, float, int]) -> dict[str, torch.Tensor]:
    """Return the points and point labels of one prompt."""
    positions = torch.tensor([[mark[:2] for mark in marks]], dtype=torch.float32)
    return {"points": positions, "point_labels": torch.tensor([[mark[2] for mark in marks]])}


def decoder_inputs(network: PromptedNetwork, embedding: torch.Tensor, prompts: Prompts) -> list[torch.Tensor]:
    """Return the inputs of the decoder: sparse embeddings, dense embeddings and positional encoding."""
    inputs: list[torch.Tensor] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "decode_masks", lambda _, __, pe, *prompt: inputs.extend((*prompt, pe)) or prompt[1])
        network.decode(embedding, prompts)
    return inputs


def test_logits_of_the_background_are_zero_without_a_prompt() -> None:
    with torch.inference_mode():
        logits = toy_network()(IMAGE)
    assert logits.shape == (2, 2, 32, 32) and (logits[:, 0] == 0).all() and logits[:, 1].std() > 0
    assert logits.isfinite().all() and not torch.equal(logits[0], logits[1])


def test_the_result_of_the_callback_is_returned(network: PromptedNetwork) -> None:
    with torch.inference_mode():
        second = network(IMAGE, lambda decode: decode(1, Prompts()))
        assert torch.equal(second[0, 0], network(IMAGE)[1, 1])


def test_a_grey_image_equals_three_equal_colours_and_is_normalised() -> None:
    network = toy_network()
    with torch.inference_mode():
        plain = network.encode(IMAGE)
        assert torch.equal(plain, network.encode(IMAGE.expand(-1, 3, -1, -1)))
        network.normalise = (0.5, 0.25)
        assert torch.allclose(network.encode(IMAGE * 0.25 + 0.5), plain, atol=1e-5)


def test_the_input_range_becomes_zero_to_one_clamped_and_colours_stay() -> None:
    network = toy_network()
    colours = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(4))
    with torch.inference_mode():
        plain, swapped = network.encode(colours), network.encode(colours.flip(1))
        extremes = network.encode((colours > 0.5).float())
        network.input_range = (-2.0, 2.0)
        assert torch.allclose(network.encode(colours * 4 - 2), plain, atol=1e-5)
        assert torch.equal(network.encode(torch.where(colours > 0.5, 9.0, -9.0)), extremes)
    assert not torch.allclose(plain, swapped, atol=1e-3)


def test_another_image_size_raises(network: PromptedNetwork) -> None:
    with pytest.raises(ValueError, match="32"):
        network.encode(torch.rand(1, 1, 32, 36))


@torch.inference_mode()
def test_points_and_boxes_are_row_before_column(network: PromptedNetwork, embedding: torch.Tensor) -> None:
    sparse, _, _ = decoder_inputs(network, embedding, Prompts(**points((3, 20, FOREGROUND), (9, 5, BACKGROUND))))
    wanted, _ = network.prompt_encoder((torch.tensor([[[20.0, 3.0], [5.0, 9.0]]]), torch.tensor([[1, 0]])), None, None)
    assert torch.equal(sparse, wanted)
    sparse, _, _ = decoder_inputs(network, embedding, Prompts(boxes=torch.tensor([[2, 4, 10, 30]])))
    wanted, _ = network.prompt_encoder(None, torch.tensor([[4.0, 2.0, 30.0, 10.0]]), None)
    assert torch.equal(sparse, wanted)


@torch.inference_mode()
def test_a_padding_point_has_no_effect(network: PromptedNetwork, embedding: torch.Tensor) -> None:
    one, other = (
        network.decode(embedding, Prompts(**points((3, 20, FOREGROUND), (*place, NO_POINT))))
        for place in ((0, 0), (30, 9))
    )
    assert torch.equal(one, other)
    assert not torch.equal(one, network.decode(embedding, Prompts(**points((3, 20, FOREGROUND), (0, 0, BACKGROUND)))))


@torch.inference_mode()
def test_prompts_in_a_batch_are_independent(network: PromptedNetwork, embedding: torch.Tensor) -> None:
    prompts = [points((3, 20, FOREGROUND)), points((16, 16, BACKGROUND)), points((30, 1, FOREGROUND))]
    masks = torch.randn(3, 1, 32, 32, generator=torch.Generator().manual_seed(1))
    batch = {name: torch.cat([prompt[name] for prompt in prompts]) for name in ("points", "point_labels")}
    logits = network.decode(embedding, Prompts(**batch, masks=masks))
    assert logits.shape == (3, 1, 32, 32)
    for index, prompt in enumerate(prompts):
        alone = network.decode(embedding, Prompts(**prompt, masks=masks[index : index + 1]))
        assert torch.allclose(logits[index : index + 1], alone, atol=1e-5)


@torch.inference_mode()
@pytest.mark.parametrize("stride", [4, 8])
def test_a_mask_of_another_size_is_resized(stride: int) -> None:
    """The masks of ViT-B have a quarter of the resolution, but training starts with masks at full resolution."""
    network = toy_network(64, stride=stride)
    embedding = network.encode(torch.rand(1, 1, 64, 64))
    logits = network.decode(embedding, Prompts())
    assert logits.shape[2:] == (256 // stride, 256 // stride)
    whole = torch.full((1, 1, 64, 64), -8.0)
    whole[..., 32:] = 8
    resized = whole[..., :: stride // 4, :: stride // 4]
    big, fitting = (decoder_inputs(network, embedding, Prompts(masks=mask))[1] for mask in (whole, resized))
    assert big.shape[2:] == embedding.shape[2:]
    # The results may differ where the two halves meet.
    assert torch.allclose(big[..., :3], fitting[..., :3], atol=1e-5)


@torch.inference_mode()
def test_prompt_embeddings_are_exact_in_mixed_precision(network: PromptedNetwork, embedding: torch.Tensor) -> None:
    prompts = Prompts(**points((3.3, 20.7, FOREGROUND)), masks=torch.randn(1, 1, 32, 32))
    exact = decoder_inputs(network, embedding, prompts)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = decoder_inputs(network, embedding, prompts)
    assert all(torch.equal(*pair) for pair in zip(exact, mixed, strict=True))


def test_the_state_dict_contains_the_trained_parts(network: PromptedNetwork) -> None:
    state = network.state_dict()
    encoder = [name for name in state if name.startswith("image_encoder.")]
    assert encoder and all(".lora_" in name for name in encoder)
    others = {name for name in dict(network.named_parameters()) if not name.startswith("image_encoder.")}
    assert others < state.keys() and "foundation" in state


def test_the_state_dict_survives_a_round_trip_through_a_file(tmp_path: Path) -> None:
    network, other = randomise_adapters(toy_network()), toy_network()
    with torch.no_grad():
        network.mask_decoder.mask_tokens.weight.add_(1)
    load_weights(other, save_weights(network, tmp_path / "w.safetensors"))
    with torch.inference_mode():
        assert not torch.equal(toy_network()(IMAGE), network(IMAGE))
        assert torch.equal(other(IMAGE), network(IMAGE))


def test_weights_for_another_foundation_raise(tmp_path: Path) -> None:
    network, other = toy_network(seed=0), toy_network(seed=1)
    before = copy.deepcopy(other.state_dict())
    path = save_weights(network, tmp_path / "w.safetensors")
    with pytest.raises(WeightsMismatch, match=r"need the foundation with SHA-256 000000.*010101"):
        load_weights(other, path)
    assert all(torch.equal(value, before[name]) for name, value in other.state_dict().items())


@pytest.mark.parametrize("part", [".lora_A", ".lora_B", "mask_tokens"])
def test_a_state_dict_with_a_missing_part_raises(network: PromptedNetwork, part: str) -> None:
    state = {name: value for name, value in network.state_dict().items() if part not in name}
    assert len(state) < len(network.state_dict())
    with pytest.raises(RuntimeError, match="Missing key"):
        toy_network().load_state_dict(state)


def test_weights_with_another_rank_raise(network: PromptedNetwork, tmp_path: Path) -> None:
    with pytest.raises(WeightsMismatch, match="lora"):
        load_weights(toy_network(rank=3), save_weights(network, tmp_path / "w.safetensors"))
