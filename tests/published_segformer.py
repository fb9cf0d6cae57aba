"""Panoptic SegFormer's own checkpoints: names and shapes, and what their mask decoders compute.

There are no golden data of it. Names, shapes and order of operations are those of the published
code (zhiqi-li/Panoptic-SegFormer @38b0b46), written down here without it.
"""

import math

import torch
import torch.nn.functional as F

LAYERS = {"things": 4, "stuff": 6}
UNUSED = {"cls_thing_branches", "reg_branches2"}
EPSILON = 1e-6


def attention_shapes(start, width, heads, whole):
    """Of a mask attention; ``whole`` ones also attend, others only draw."""
    shapes = {}
    for module in ("q", "k", "v", "proj") if whole else ("q", "k"):
        shapes |= {f"{start}{module}.weight": [width, width], f"{start}{module}.bias": [width]}
    for level in (1, 2, 3):
        shapes[f"{start}linear_l{level}.0.weight"] = [heads, heads]
        shapes[f"{start}linear_l{level}.0.bias"] = [heads]
    return shapes | {f"{start}linear.0.weight": [1, 3 * heads], f"{start}linear.0.bias": [1]}


def mask_head_shapes(kind, width=256, heads=8):
    """Names and shapes of ``bbox_head.things_mask_head`` or ``stuff_mask_head``."""
    head, shapes = f"bbox_head.{kind}_mask_head.", {}
    for layer in range(LAYERS[kind]):
        block = f"{head}blocks.{layer}."
        shapes |= attention_shapes(f"{block}attn.", width, heads, whole=True)
        linear = {"mlp.fc1": [4 * width, width], "mlp.fc2": [width, 4 * width]}
        norms = ["head_norm1", "head_norm2"]
        if kind == "stuff":
            norms.append("norm3")
            linear["self_attention.qkv"] = [3 * width, width]
            linear["self_attention.proj"] = [width, width]
        for name, shape in linear.items():
            shapes |= {f"{block}{name}.weight": shape, f"{block}{name}.bias": shape[:1]}
        for norm in norms:
            shapes |= {f"{block}{norm}.{part}": [width] for part in ("weight", "bias")}
    return shapes | attention_shapes(f"{head}attnen.", width, heads, whole=False)


def segformer_shapes(point2mask, things=80):
    """Of a whole checkpoint, from those of Point2Mask with the same backbone and classes."""
    other = ("semantic", "cls_semantic_branches", "boundary_proj", "memory_proj", "_iter")
    heads = ("things_mask_head", "stuff_mask_head")
    shapes = {
        name: shape
        for name, shape in point2mask.items()
        if not name.startswith(tuple(f"bbox_head.{part}" for part in (*other, *heads)))
    }
    for layer in range(LAYERS["things"]):
        head = f"bbox_head.cls_thing_branches.{layer}."
        shapes |= {f"{head}weight": [things, 256], f"{head}bias": [things]}
        for number, rows in ((0, 256), (2, 256), (4, 4)):
            head = f"bbox_head.reg_branches2.{layer}.{number}."
            shapes |= {f"{head}weight": [rows, 256], f"{head}bias": [rows]}
    return shapes | mask_head_shapes("things") | mask_head_shapes("stuff")


def mask_head(state, kind, query, position, memory, shapes):
    """Masks ``[L + 1, B, K, h, w]`` and queries ``[L, B, K, d]`` of a published mask head.

    Args:
        state: with the tensors of the head by their published names.
        kind: "things" or "stuff".
        query: ``[B, K, d]``.
        position: ``[B, K, d]``, or 0.
        memory: ``[B, M, d]``, of three levels.
        shapes: (h, w) of the levels.
    """
    head = f"bbox_head.{kind}_mask_head."
    masks, queries = [], []
    for layer in range(LAYERS[kind]):
        block = f"{head}blocks.{layer}."
        query = query + position
        if kind == "stuff":
            projected = linear(state, f"{block}self_attention.qkv", query)
            scores, value = attention(*projected.chunk(3, -1), state)
            joined = (scores.softmax(-1) @ value).transpose(1, 2).flatten(2)
            query = query + linear(state, f"{block}self_attention.proj", joined)
            query = norm(state, f"{block}norm3", query)
        q, k, v = (
            linear(state, f"{block}attn.{part}", x)
            for part, x in (("q", query), ("k", memory), ("v", memory))
        )
        scores, value = attention(q, k, v, state)
        masks.append(drawn(state, f"{block}attn.", scores, shapes))
        joined = (scores.softmax(-1) @ value).transpose(1, 2).flatten(2)
        query = norm(
            state, f"{block}head_norm1", query + linear(state, f"{block}attn.proj", joined)
        )
        hidden = F.gelu(linear(state, f"{block}mlp.fc1", query))
        query = norm(state, f"{block}head_norm2", query + linear(state, f"{block}mlp.fc2", hidden))
        queries.append(query)
    last, key = (
        linear(state, f"{head}attnen.{x}", y) for x, y in (("q", query + position), ("k", memory))
    )
    scores, _ = attention(last, key, key, state)
    masks.append(drawn(state, f"{head}attnen.", scores, shapes))
    return torch.stack(masks), torch.stack(queries)


def linear(state, name, x):
    return F.linear(x, state[f"{name}.weight"], state[f"{name}.bias"])


def norm(state, name, x):
    return F.layer_norm(x, x.shape[-1:], state[f"{name}.weight"], state[f"{name}.bias"], EPSILON)


def attention(query, key, value, state):
    """Scores ``[B, heads, K, M]`` and values ``[B, heads, M, d / heads]``."""
    heads = len(next(t for name, t in state.items() if name.endswith("linear_l1.0.bias")))
    query, key, value = (x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in (query, key, value))
    return query @ key.mT / math.sqrt(query.shape[-1]), value


def drawn(state, start, scores, shapes):
    """Masks ``[B, K, h, w]``."""
    levels = []
    parts = scores.split([h * w for h, w in shapes], -1)
    for number, (part, shape) in enumerate(zip(parts, shapes, strict=True), 1):
        mixed = linear(state, f"{start}linear_l{number}.0", part.permute(0, 2, 3, 1)).relu()
        maps = mixed.permute(0, 1, 3, 2).flatten(0, 1).unflatten(-1, shape)
        levels.append(F.interpolate(maps, shapes[0], mode="bilinear", align_corners=False))
    joined = linear(state, f"{start}linear.0", torch.cat(levels, 1).movedim(1, -1)).relu()
    return joined[..., 0].unflatten(0, scores.shape[:3:2])
