"""Segment-anything mask decoder, optimised for few tokens and many image positions.

The result equals the result of the segment-anything package. A click has a few tokens, and an image has thousands of
positions. Projection matrices are therefore multiplied with the tokens first, so that image positions need no
projections to queries, keys and values.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

if TYPE_CHECKING:
    from segment_anything.modeling import MaskDecoder
    from segment_anything.modeling.transformer import Attention, TwoWayAttentionBlock


def decode_masks(decoder: MaskDecoder, embedding: Tensor, image_pe: Tensor, sparse: Tensor, dense: Tensor) -> Tensor:
    """Return the first mask of every prompt, as `MaskDecoder.predict_masks` does, but faster.

    Args:
        decoder: Decoder with its weights.
        embedding: Embedding of the image, ``(1, C, h, w)``.
        image_pe: Positional encoding of the image, ``(1, C, h, w)``.
        sparse: Embeddings of points and boxes, ``(P, n, C)``.
        dense: Embeddings of mask prompts, ``(P, C, h, w)``.
    Returns:
        Logits ``(P, 1, 4 h, 4 w)``.
    Source:
        Kirillov et al. 2023, arXiv:2304.02643, appendix A, "Lightweight mask decoder".
    """
    count, (height, width) = len(sparse), embedding.shape[2:]
    output_tokens = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight])[None].expand(count, -1, -1)
    # Positions are contiguous rows in memory, (P, h w, C).
    image, pe = (grid.flatten(2).transpose(1, 2).contiguous() for grid in (embedding + dense, image_pe))
    tokens, image = _two_way_transformer(decoder.transformer, torch.cat([output_tokens, sparse], 1), image, pe)
    weights = decoder.output_hypernetworks_mlps[0](tokens[:, 1])
    logits = _upscale(image, decoder.output_upscaling) @ weights[:, :, None]
    # (P, h w, 2 2, 2 2): the rows and columns of both upscalings at each position of the embedding.
    fine = logits.reshape(count, height, width, 2, 2, 2, 2).permute(0, 1, 3, 5, 2, 4, 6)
    return fine.reshape(count, 1, 4 * height, 4 * width)


def _two_way_transformer(transformer: nn.Module, prompts: Tensor, image: Tensor, pe: Tensor) -> tuple[Tensor, Tensor]:
    """Compute `TwoWayTransformer`.

    Args:
        transformer: Transformer with its weights.
        prompts: Tokens of the outputs and the prompts, ``(P, T, C)``.
        image: Embedding of the image, ``(P, L, C)``.
        pe: Positional encoding of the image, ``(1, L, C)``.
    Returns:
        The tokens ``(P, T, C)`` and the embedding of the image ``(P, L, C)`` after the transformer.
    """
    tokens = prompts
    for number, module in enumerate(cast(Any, transformer.layers)):
        block: TwoWayAttentionBlock = module
        # In the first layer the tokens are their own positional encoding.
        query = tokens + prompts if number else tokens
        attended = block.self_attn(q=query, k=query, v=tokens)
        tokens = block.norm1(tokens + attended if number else attended)
        tokens = tokens + _tokens_to_image(block.cross_attn_token_to_image, tokens + prompts, image + pe, image)
        tokens = block.norm2(tokens)
        tokens = block.norm3(tokens + block.mlp(tokens))
        attended = _image_to_tokens(block.cross_attn_image_to_token, image + pe, tokens + prompts, tokens)
        image = block.norm4(image + attended)
    last, norm = cast(Any, transformer.final_attn_token_to_image), cast(Any, transformer.norm_final_attn)
    return norm(tokens + _tokens_to_image(last, tokens + prompts, image + pe, image)), image


def _tokens_to_image(attention: Attention, tokens: Tensor, image: Tensor, values: Tensor) -> Tensor:
    """Compute `Attention` from tokens ``(P, T, C)`` to image positions ``(P, L, C)``.

    The keys of the image are W x + b. The scores of a token are therefore (q W) x + q b, and the constant q b has no
    effect on the softmax. The attention weights of a token sum to 1, so values are averaged first and projected
    afterwards.
    """
    heads = attention.num_heads
    if _has_many_tokens(tokens, attention):
        return attention(q=tokens, k=image, v=values)
    query = attention.q_proj(tokens).unflatten(-1, (heads, -1))
    rows = torch.einsum("pthd,hdc->pthc", query, attention.k_proj.weight.unflatten(0, (heads, -1)))
    scores = (rows / query.shape[-1] ** 0.5).flatten(1, 2) @ image.transpose(1, 2)
    averaged = (scores.softmax(-1) @ values).unflatten(1, (-1, heads))
    output = torch.einsum("pthc,hdc->pthd", averaged, attention.v_proj.weight.unflatten(0, (heads, -1))).flatten(2)
    return attention.out_proj(output + attention.v_proj.bias)


def _image_to_tokens(attention: Attention, image: Tensor, tokens: Tensor, values: Tensor) -> Tensor:
    """Compute `Attention` from image positions ``(P, L, C)`` to tokens ``(P, T, C)``.

    The key of a token is multiplied with the query projection of the image, and its value with the output projection.
    """
    heads = attention.num_heads
    if _has_many_tokens(tokens, attention):
        return attention(q=image, k=tokens, v=values)
    key, value = (part.unflatten(-1, (heads, -1)) for part in (attention.k_proj(tokens), attention.v_proj(values)))
    weight, bias = (part.unflatten(0, (heads, -1)) for part in (attention.q_proj.weight, attention.q_proj.bias))
    scale = key.shape[-1] ** -0.5
    rows = torch.einsum("pthd,hdc->phtc", key, weight).flatten(1, 2) * scale
    offsets = torch.einsum("pthd,hd->pht", key, bias).flatten(1) * scale
    scores = torch.baddbmm(offsets[:, None], image, rows.transpose(1, 2)).unflatten(-1, (heads, -1))
    outputs = torch.einsum("pthd,chd->phtc", value, attention.out_proj.weight.unflatten(1, (heads, -1))).flatten(1, 2)
    return torch.baddbmm(attention.out_proj.bias, scores.softmax(-1).flatten(2), outputs)


def _has_many_tokens(tokens: Tensor, attention: Attention) -> bool:
    """Return whether there are so many tokens, as in a scribble, that projecting the image positions is less work."""
    return tokens.shape[1] * attention.num_heads > attention.internal_dim


def _upscale(image: Tensor, upscaling: nn.Sequential) -> Tensor:
    """Return the upscaled features ``(P, 16 L, c)`` of image positions ``(P, L, C)``.

    The stride of each transposed convolution equals the side of its 2 x 2 kernel, so a matrix product maps every
    position to four, and the channels stay innermost in memory.
    """
    first, norm, activation, second, last = cast(tuple[Any, ...], tuple(upscaling))
    doubled = F.layer_norm(_double_resolution(image, first), norm.weight.shape, norm.weight, norm.bias, norm.eps)
    return last(_double_resolution(activation(doubled), second))


def _double_resolution(image: Tensor, convolution: nn.ConvTranspose2d) -> Tensor:
    """Compute a 2 x 2 transposed convolution of stride 2: ``(P, L, C)`` to ``(P, 4 L, C_out)``."""
    weight, bias = convolution.weight, cast(Tensor, convolution.bias)
    weight = weight.permute(2, 3, 1, 0).flatten(0, 2)  # (in, out, 2, 2) to (2 2 out, in)
    return F.linear(image, weight, bias.repeat(4)).reshape(len(image), -1, len(bias))
