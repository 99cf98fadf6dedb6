"""The segment-anything decoder for few tokens and many places: the same sums as the package makes, in another order.

A click is a handful of tokens, an image a thousand places. What is multiplied with both is multiplied with the tokens
first, so no place is projected to queries, keys and values of its own.
"""

from __future__ import annotations

from typing import Any, cast

import torch
import torch.nn.functional as F
from segment_anything.modeling import MaskDecoder
from segment_anything.modeling.transformer import Attention, TwoWayAttentionBlock
from torch import Tensor, nn


def masks_of(decoder: MaskDecoder, embedding: Tensor, image_pe: Tensor, sparse: Tensor, dense: Tensor) -> Tensor:
    """Return the decoder's first mask of each prompt, as `MaskDecoder.predict_masks` does, in less time.

    Args:
        decoder: Its weights.
        embedding: The image's, ``(1, C, h, w)``.
        image_pe: Of its places, ``(1, C, h, w)``.
        sparse: Embeddings of points and boxes, ``(P, n, C)``.
        dense: Embeddings of earlier masks, ``(P, C, h, w)``.
    Returns:
        Logits ``(P, 1, 4 h, 4 w)``.
    Source:
        Kirillov et al. 2023, arXiv:2304.02643, appendix A, "Lightweight mask decoder".
    """
    count, (height, width) = len(sparse), embedding.shape[2:]
    own = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight])[None].expand(count, -1, -1)
    # Places one after another in memory, (P, h w, C).
    places, where = ((each.flatten(2).transpose(1, 2)).contiguous() for each in (embedding + dense, image_pe))
    tokens, places = _two_ways(decoder.transformer, torch.cat([own, sparse], 1), places, where)
    weights = decoder.output_hypernetworks_mlps[0](tokens[:, 1])
    logits = _upscaled(places, decoder.output_upscaling) @ weights[:, :, None]
    # (P, h w, 2 2, 2 2): rows and columns of the two upscalings beneath each place of the embedding.
    fine = logits.reshape(count, height, width, 2, 2, 2, 2).permute(0, 1, 3, 5, 2, 4, 6)
    return fine.reshape(count, 1, 4 * height, 4 * width)


def _two_ways(transformer: nn.Module, asked: Tensor, places: Tensor, where: Tensor) -> tuple[Tensor, Tensor]:
    """Return what became of the tokens ``(P, T, C)`` and the places ``(P, L, C)``; as `TwoWayTransformer`."""
    tokens = asked
    for number, module in enumerate(cast(Any, transformer.layers)):
        block: TwoWayAttentionBlock = module
        # The first layer's tokens are their own positions.
        query = tokens + asked if number else tokens
        attended = block.self_attn(q=query, k=query, v=tokens)
        tokens = block.norm1(tokens + attended if number else attended)
        tokens = tokens + _gathered(block.cross_attn_token_to_image, tokens + asked, places + where, places)
        tokens = block.norm2(tokens)
        tokens = block.norm3(tokens + block.mlp(tokens))
        spread = _spread(block.cross_attn_image_to_token, places + where, tokens + asked, tokens)
        places = block.norm4(places + spread)
    last, norm = cast(Any, transformer.final_attn_token_to_image), cast(Any, transformer.norm_final_attn)
    return norm(tokens + _gathered(last, tokens + asked, places + where, places)), places


def _gathered(attention: Attention, tokens: Tensor, places: Tensor, values: Tensor) -> Tensor:
    """Return what each token ``(P, T, C)`` takes from the places ``(P, L, C)``; as `Attention`.

    The places' keys are W x + b: a token's scores are its own row q W times x, and q b, the same for every place, falls
    out of the softmax. The weights of a token sum to one, so values are mixed first and projected then.
    """
    heads = attention.num_heads
    if _many(tokens, attention):
        return attention(q=tokens, k=places, v=values)
    query = attention.q_proj(tokens).unflatten(-1, (heads, -1))
    rows = torch.einsum("pthd,hdc->pthc", query, attention.k_proj.weight.unflatten(0, (heads, -1)))
    scores = (rows / query.shape[-1] ** 0.5).flatten(1, 2) @ places.transpose(1, 2)
    mixed = (scores.softmax(-1) @ values).unflatten(1, (-1, heads))
    taken = torch.einsum("pthc,hdc->pthd", mixed, attention.v_proj.weight.unflatten(0, (heads, -1))).flatten(2)
    return attention.out_proj(taken + attention.v_proj.bias)


def _spread(attention: Attention, places: Tensor, tokens: Tensor, values: Tensor) -> Tensor:
    """Return what each place ``(P, L, C)`` takes from the tokens ``(P, T, C)``; as `Attention`.

    A token's key is multiplied with the projection of the places' queries, its value with that of the output.
    """
    heads = attention.num_heads
    if _many(tokens, attention):
        return attention(q=places, k=tokens, v=values)
    key, value = (each.unflatten(-1, (heads, -1)) for each in (attention.k_proj(tokens), attention.v_proj(values)))
    weight, bias = (each.unflatten(0, (heads, -1)) for each in (attention.q_proj.weight, attention.q_proj.bias))
    scale = key.shape[-1] ** -0.5
    rows = torch.einsum("pthd,hdc->phtc", key, weight).flatten(1, 2) * scale
    offsets = torch.einsum("pthd,hd->pht", key, bias).flatten(1) * scale
    scores = torch.baddbmm(offsets[:, None], places, rows.transpose(1, 2)).unflatten(-1, (heads, -1))
    outputs = torch.einsum("pthd,chd->phtc", value, attention.out_proj.weight.unflatten(1, (heads, -1))).flatten(1, 2)
    return torch.baddbmm(attention.out_proj.bias, scores.softmax(-1).flatten(2), outputs)


def _many(tokens: Tensor, attention: Attention) -> bool:
    """Say whether a scribble, say, has so many tokens that projecting the places themselves is less work."""
    return tokens.shape[1] * attention.num_heads > attention.internal_dim


def _upscaled(places: Tensor, upscaling: nn.Sequential) -> Tensor:
    """Return the features ``(P, 16 L, c)`` of ``places (P, L, C)``: a 2 x 2 convolution's stride is its kernel's side.

    So each place becomes four by a product of matrices, and channels stay together until one logit is left of them.
    """
    first, norm, activation, second, last = cast(tuple[Any, ...], tuple(upscaling))
    finer = F.layer_norm(_four_of_each(places, first), norm.weight.shape, norm.weight, norm.bias, norm.eps)
    return last(_four_of_each(activation(finer), second))


def _four_of_each(places: Tensor, convolution: nn.ConvTranspose2d) -> Tensor:
    weight, bias = convolution.weight, cast(Tensor, convolution.bias)
    weight = weight.permute(2, 3, 1, 0).flatten(0, 2)  # (in, out, 2, 2) to (2 2 out, in)
    return F.linear(places, weight, bias.repeat(4)).reshape(len(places), -1, len(bias))
