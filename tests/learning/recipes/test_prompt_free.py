import pytest
import torch

from lib.learning.losses.dice_ce import dice_ce_loss
from lib.learning.recipes.prompt_free import PromptFree
from lib.models.sam import sam_tiny


@pytest.fixture(scope="module")
def network() -> torch.nn.Module:
    return sam_tiny(32, rank=2)


def test_the_target_is_all_labels_together_without_ignored_pixels(network: torch.nn.Module) -> None:
    label = torch.zeros(1, 32, 32, dtype=torch.long)
    label[0, 4:12, 4:12], label[0, 12:20, 4:12], label[0, :, 24:] = 1, 3, 255
    image = torch.rand(1, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    loss = PromptFree().step(network, {"image": image, "label": label})["loss"]
    torch.testing.assert_close(loss, dice_ce_loss(network(image), label.where(label != 3, 1)))
    label[0, :, 24:] = 0
    assert PromptFree().step(network, {"image": image, "label": label})["loss"].item() != pytest.approx(loss.item())


def test_adapters_decoder_and_prompt_encoder_are_trained_and_the_foundation_is_frozen(network: torch.nn.Module) -> None:
    PromptFree().select_parameters(network)
    trained = {name for name, parameter in network.named_parameters() if parameter.requires_grad}
    assert {name.split(".")[0] for name in trained} == {"image_encoder", "prompt_encoder", "mask_decoder"}
    assert all(".lora_" in name for name in trained if name.startswith("image_encoder"))
