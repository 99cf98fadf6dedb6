"""The parts of TinyViT agree with plain references, and its embeddings have the documented shape."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lib.models.sam.foundation import fold_batch_norm
from lib.models.sam.tiny_vit import AttentionBlock, InvertedBottleneck, Merge, TinyViT, WindowAttention


def convolution(channels: int, out: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Module:
    """Return a convolution with batch normalisation, as published, with random running statistics."""
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


def load_folded(module: nn.Module, parts: dict[str, nn.Module]) -> nn.Module:
    """Load the folded weights of published parts into a module, and return the module."""
    state = {f"{part}.{name}": value for part, pair in parts.items() for name, value in pair.state_dict().items()}
    module.load_state_dict(fold_batch_norm(state), strict=True)
    return module


@torch.no_grad()
def test_inverted_bottleneck_equals_the_published_one() -> None:
    torch.manual_seed(0)
    parts = {
        "conv1": convolution(8, 32, 1),
        "conv2": convolution(32, 32, 3, groups=32),
        "conv3": convolution(32, 8, 1),
    }
    x = torch.randn(2, 8, 9, 7)
    wanted = F.gelu(x + parts["conv3"](F.gelu(parts["conv2"](F.gelu(parts["conv1"](x))))))
    assert torch.allclose(load_folded(InvertedBottleneck(8), parts)(x), wanted, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("stride", [1, 2])
def test_merge_equals_the_published_one(stride: int) -> None:
    torch.manual_seed(0)
    parts = {
        "conv1": convolution(6, 10, 1),
        "conv2": convolution(10, 10, 3, stride, groups=10),
        "conv3": convolution(10, 10, 1),
    }
    x = torch.randn(2, 6, 8, 10)
    wanted = parts["conv3"](F.gelu(parts["conv2"](F.gelu(parts["conv1"](x)))))
    assert torch.allclose(load_folded(Merge(6, 10, stride), parts)(x), wanted, atol=1e-5)


def plain_attention(layer: WindowAttention, x: torch.Tensor) -> torch.Tensor:
    """Compute attention with loops over windows, heads and pairs; windows are padded with zeros before the norm."""
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
def test_attention_equals_the_formula_in_padded_windows(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    layer = WindowAttention(8, 2, 3)
    nn.init.normal_(layer.attention_biases)
    nn.init.normal_(layer.norm.bias)  # zeros of the padding are not zero after the norm
    x = torch.randn(2, *shape, 8)
    assert torch.allclose(layer(x), plain_attention(layer, x), atol=1e-5)


@torch.no_grad()
def test_a_block_is_attention_then_convolution_then_feed_forward() -> None:
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
def test_embeddings_have_a_quarter_of_the_resolution(shape: tuple[int, int]) -> None:
    assert TinyViT(24)(torch.rand(1, 3, *shape)).shape == (1, 24, shape[0] // 4, shape[1] // 4)
