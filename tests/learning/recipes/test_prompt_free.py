import pytest
import torch

from lib.learning.losses.dice_ce import dice_ce_loss
from lib.learning.recipes.prompt_free import PromptFree
from lib.models.sam import sam_tiny


@pytest.fixture(scope="module")
def network() -> torch.nn.Module:
    return sam_tiny(32, rank=2)


def test_all_labels_together_are_asked_and_255_counts_for_nothing(network: torch.nn.Module) -> None:
    label = torch.zeros(1, 32, 32, dtype=torch.long)
    label[0, 4:12, 4:12], label[0, 12:20, 4:12], label[0, :, 24:] = 1, 3, 255
    image = torch.rand(1, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    loss = PromptFree().step(network, {"image": image, "label": label})["loss"]
    torch.testing.assert_close(loss, dice_ce_loss(network(image), label.where(label != 3, 1)))
    label[0, :, 24:] = 0
    assert PromptFree().step(network, {"image": image, "label": label})["loss"].item() != pytest.approx(loss.item())


def test_adapters_decoder_and_prompts_learn_and_the_foundation_does_not(network: torch.nn.Module) -> None:
    PromptFree().prepare(network)
    learns = {name for name, each in network.named_parameters() if each.requires_grad}
    assert {name.split(".")[0] for name in learns} == {"image_encoder", "prompt_encoder", "mask_decoder"}
    assert all(".lora_" in name for name in learns if name.startswith("image_encoder"))
