"""TinyViT's parts against plain references, and its shapes."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lib.models.sam.foundation import fold_batch_norm
from lib.models.sam.tiny_vit import AttentionBlock, InvertedBottleneck, Merge, TinyViT, WindowAttention


def convolution(channels: int, out: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Module:
    """Return a convolution and its normalisation, as published, with running statistics of a trained one."""
    conv = nn.Conv2d(channels, out, kernel, stride, kernel // 2, groups=groups, bias=False)
    bn = nn.BatchNorm2d(out)
    for value, low, high in (
        (bn.weight, 0.5, 1.5),
        (bn.bias, -1, 1),
        (bn.running_mean, -1, 1),
        (bn.running_var, 0.3, 3),
    ):
        nn.init.uniform_(value, low, high)
    pair = nn.Sequential()
    pair.add_module("c", conv)
    pair.add_module("bn", bn)
    return pair.eval()


def filled(module: nn.Module, parts: dict[str, nn.Module]) -> nn.Module:
    """Return the module with the folded weights of published parts."""
    state = {f"{part}.{name}": value for part, pair in parts.items() for name, value in pair.state_dict().items()}
    module.load_state_dict(fold_batch_norm(state), strict=True)
    return module


@torch.no_grad()
def test_inverted_bottleneck_is_the_published_one() -> None:
    torch.manual_seed(0)
    parts = {
        "conv1": convolution(8, 32, 1),
        "conv2": convolution(32, 32, 3, groups=32),
        "conv3": convolution(32, 8, 1),
    }
    x = torch.randn(2, 8, 9, 7)
    wanted = F.gelu(x + parts["conv3"](F.gelu(parts["conv2"](F.gelu(parts["conv1"](x))))))
    assert torch.allclose(filled(InvertedBottleneck(8), parts)(x), wanted, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("stride", [1, 2])
def test_merge_is_the_published_one(stride: int) -> None:
    torch.manual_seed(0)
    parts = {
        "conv1": convolution(6, 10, 1),
        "conv2": convolution(10, 10, 3, stride, groups=10),
        "conv3": convolution(10, 10, 1),
    }
    x = torch.randn(2, 6, 8, 10)
    wanted = parts["conv3"](F.gelu(parts["conv2"](F.gelu(parts["conv1"](x)))))
    assert torch.allclose(filled(Merge(6, 10, stride), parts)(x), wanted, atol=1e-5)


def plain_attention(layer: WindowAttention, x: torch.Tensor) -> torch.Tensor:
    """Attend window by window, head by head, pair by pair; windows are filled up with zeros before the norm."""
    (batch, height, width, channels), side = x.shape, layer.window
    padded = torch.zeros(batch, -(-height // side) * side, -(-width // side) * side, channels)
    padded[:, :height, :width] = x
    out, size = torch.zeros_like(padded), channels // layer.heads
    for b in range(batch):
        for top in range(0, padded.shape[1], side):
            for left in range(0, padded.shape[2], side):
                tokens = layer.norm(padded[b, top : top + side, left : left + side].reshape(-1, channels))
                qkv = F.linear(tokens, layer.qkv.weight, layer.qkv.bias)
                heads = []
                for head in range(layer.heads):
                    q, k, v = qkv[:, head * 3 * size : (head + 1) * 3 * size].split(size, 1)
                    bias = torch.zeros(side * side, side * side)
                    for i in range(side * side):
                        for j in range(side * side):
                            rows, columns = abs(i // side - j // side), abs(i % side - j % side)
                            bias[i, j] = layer.attention_biases[head, rows * side + columns]
                    heads.append(torch.softmax(q @ k.T / size**0.5 + bias, 1) @ v)
                mixed = F.linear(torch.cat(heads, 1), layer.proj.weight, layer.proj.bias)
                out[b, top : top + side, left : left + side] = mixed.view(side, side, channels)
    return out[:, :height, :width]


@torch.no_grad()
@pytest.mark.parametrize("shape", [(3, 3), (6, 3), (4, 5), (2, 7)])
def test_attention_is_the_formula_in_filled_up_windows(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    layer = WindowAttention(8, 2, 3)
    nn.init.normal_(layer.attention_biases)
    nn.init.normal_(layer.norm.bias)  # zeros become something under a norm
    x = torch.randn(2, *shape, 8)
    assert torch.allclose(layer(x), plain_attention(layer, x), atol=1e-5)


@torch.no_grad()
def test_the_block_attends_then_convolves_then_feeds_forward() -> None:
    torch.manual_seed(0)
    block, x = AttentionBlock(8, 2, 3), torch.randn(1, 8, 4, 5)
    y = x + block.attn(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
    y = F.conv2d(y, block.local_conv.weight, block.local_conv.bias, padding=1, groups=8)
    tokens = block.mlp.norm(y.permute(0, 2, 3, 1))
    fed = F.linear(
        F.gelu(F.linear(tokens, block.mlp.fc1.weight, block.mlp.fc1.bias)), block.mlp.fc2.weight, block.mlp.fc2.bias
    )
    assert torch.allclose(block(x), y + fed.permute(0, 3, 1, 2), atol=1e-5)


@torch.inference_mode()
@pytest.mark.parametrize("shape", [(32, 32), (20, 36)])
def test_embeds_any_image_at_a_quarter(shape: tuple[int, int]) -> None:
    assert TinyViT(24)(torch.rand(1, 3, *shape)).shape == (1, 24, shape[0] // 4, shape[1] // 4)
