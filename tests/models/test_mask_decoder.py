"""Mask decoders against a literal one, their padding, and the heads for pseudo masks."""

import math

import pytest
import torch
import torch.nn.functional as F
from networks import batch, shake

from point2mask.models.config import MASK_LEVELS
from point2mask.models.geometry import Geometry
from point2mask.models.heads import PseudoMaskHeads
from point2mask.models.mask_decoder import (
    PADDING_LOGIT,
    ClassMaskDecoder,
    MaskAttention,
    ThingMaskDecoder,
)

WIDTH, HEADS, QUERIES = 16, 4, 3


def geometry_and_memory(sizes, canvas):
    images, image_size = batch(sizes, canvas)
    geometry = Geometry.of(image_size, images)
    torch.manual_seed(0)
    memory = torch.randn(len(sizes), geometry.mask_cells, WIDTH, dtype=torch.float64)
    return geometry, memory


def attention_weights(module: MaskAttention) -> torch.nn.MultiheadAttention:
    """PyTorch's attention with the same projections."""
    oracle = torch.nn.MultiheadAttention(WIDTH, HEADS, batch_first=True).double()
    with torch.no_grad():
        for kind in ("weight", "bias"):
            projections = (module.query, module.key, module.value)
            stacked = torch.cat([getattr(p, kind) for p in projections])
            getattr(oracle, f"in_proj_{kind}").copy_(stacked)
        oracle.out_proj.load_state_dict(module.output.state_dict())
    return oracle


def literal_mask(module: MaskAttention, query, memory, geometry):
    """Mixing with convolutions after the resize of all heads, one query at a time."""
    keys, queries = module.key(memory), module.query(query)
    masks = []
    for k in range(query.shape[1]):
        scores = [
            (keys[..., head] @ queries[:, k, head, None])[..., 0] / math.sqrt(WIDTH // HEADS)
            for head in torch.arange(WIDTH).view(HEADS, -1)
        ]
        levels = torch.stack(scores, 1).split(geometry.lengths[:MASK_LEVELS], -1)
        resized = []
        for level, (x, shape) in enumerate(zip(levels, geometry.shapes, strict=False)):
            weight = module.level_weight[level][..., None, None]
            x = F.conv2d(x.unflatten(-1, shape), weight, module.level_bias[level, :, 0]).relu()
            resized.append(F.interpolate(x, geometry.shapes[0], mode="bilinear"))
        weight = module.mask_weight[..., None, None]
        masks.append(F.conv2d(torch.cat(resized, 1), weight, module.mask_bias[None]))
    return torch.cat(masks, 1)


@pytest.mark.parametrize("activation", ["relu", "sigmoid", "softplus"])
def test_attention_and_mask_are_the_published_ones(activation):
    sizes = [(64, 96), (64, 96)]  # whole cells on every level: nothing is left to convention
    geometry, memory = geometry_and_memory(sizes, (64, 96))
    module = shake(MaskAttention(WIDTH, HEADS, activation)).double()
    query = torch.randn(2, QUERIES, WIDTH, dtype=torch.float64)
    scores = module.scores(query, memory)
    attended, mask = module.attend(scores, memory, geometry), module.draw(scores, geometry)
    expected, _ = attention_weights(module)(query, memory, memory)
    torch.testing.assert_close(attended, expected, rtol=0, atol=1e-13)
    literal = literal_mask(module, query, memory, geometry)
    assert (literal < 0).any()
    assert (literal > 0).any()
    activations = {"relu": F.relu, "softplus": F.softplus, "sigmoid": lambda x: x}
    expected = activations[activation](literal)
    torch.testing.assert_close(mask, expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("activation", ["relu", "sigmoid", "softplus"])
def test_padding_does_not_reach_the_masks(activation):
    sizes, canvas = [(33, 70), (64, 41)], (72, 90)
    geometry, memory = geometry_and_memory(sizes, canvas)
    decoder = shake(ClassMaskDecoder(4, 2, WIDTH, HEADS, 24, activation)).double()
    masks, logits = decoder(memory, geometry)
    outside = ~geometry.valid[:, : geometry.mask_cells]
    other = decoder(memory.masked_fill(outside[..., None], 1e6), geometry)
    assert torch.equal(other.masks, masks)
    assert torch.equal(other.class_logits, logits)
    nothing = PADDING_LOGIT if activation == "sigmoid" else 0.0
    assert (masks.masked_select(~geometry.finest[:, None]) == nothing).all()
    masks, logits = decoder(memory.requires_grad_(), geometry)
    (gradient,) = torch.autograd.grad(masks.sum() + logits.sum(), memory)
    assert (gradient[outside] == 0).all()
    assert (gradient[~outside] != 0).any()


def test_the_sigmoid_of_padding_is_zero_in_every_precision():
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        assert torch.tensor(PADDING_LOGIT, dtype=dtype).sigmoid() == 0


def test_layers_in_turn_with_the_position_before_each():
    geometry, memory = geometry_and_memory([(40, 32), (40, 32)], (40, 32))
    torch.manual_seed(0)
    decoder = ClassMaskDecoder(5, 2, WIDTH, HEADS, 24, prior=True).double()
    x, position = decoder.queries.weight.expand(2, -1, -1).chunk(2, -1)
    expected_masks, expected_logits = [], []
    for layer, head in zip(decoder.layers, decoder.class_heads, strict=True):
        x, mask = layer(x + position, memory, geometry, True)
        expected_masks.append(mask)
        expected_logits.append(head(x)[..., 0])
        assert head.bias.sigmoid().item() == pytest.approx(0.01)
    masks, logits = decoder(memory, geometry)
    assert masks.shape == (2, 2, 5, 5, 4)
    assert torch.equal(masks, torch.stack(expected_masks))
    assert torch.equal(logits, torch.stack(expected_logits))
    last, last_logits = decoder(memory, geometry, all_layers=False)
    assert torch.equal(last, masks[-1:])
    assert torch.equal(last_logits, logits[-1:])


def test_things_do_not_see_each_other():
    geometry, memory = geometry_and_memory([(40, 32)], (40, 32))
    decoder = shake(ThingMaskDecoder(3, WIDTH, HEADS, 24, "sigmoid")).double()
    query = torch.randn(1, QUERIES, WIDTH, dtype=torch.float64)
    masks = decoder(query, memory, geometry)
    assert masks.shape == (3, 1, QUERIES, 5, 4)
    alone = decoder(query[:, 1:2], memory, geometry)
    torch.testing.assert_close(alone[:, :, 0], masks[:, :, 1], rtol=0, atol=1e-12)
    assert torch.equal(decoder(query, memory, geometry, all_layers=False), masks[-1:])
    x = query
    for layer, expected in zip(decoder.layers, masks, strict=False):
        x, mask = layer(x, memory, geometry, True)
        assert torch.equal(mask, expected)
    assert torch.equal(decoder.last.draw(decoder.last.scores(x, memory), geometry), masks[-1])


def test_no_class():
    geometry, memory = geometry_and_memory([(40, 32)], (40, 32))
    masks, logits = ClassMaskDecoder(0, 2, WIDTH, HEADS, 24).double()(memory, geometry)
    assert masks.shape == (2, 1, 0, 5, 4)
    assert logits.shape == (2, 1, 0)


def test_pseudo_mask_heads_sum_the_levels_of_the_image():
    sizes, canvas = [(64, 96), (40, 50)], (72, 96)
    geometry, memory = geometry_and_memory(sizes, canvas)
    position = torch.randn_like(memory)
    heads = shake(PseudoMaskHeads(WIDTH, 6)).double()
    memory.requires_grad_()
    boundary, feature = heads(memory, position, geometry)
    assert boundary.shape == (2, 9, 12)
    assert feature.shape == (2, 6, 9, 12)
    torch.testing.assert_close(feature.norm(dim=1), torch.ones_like(boundary))
    total = 0
    levels = (memory + position)[:1].split(geometry.lengths[:MASK_LEVELS], 1)
    for x, shape, stride in zip(levels, geometry.shapes, (8, 16, 32), strict=False):
        inside = x.transpose(1, 2).unflatten(-1, shape)[..., : 64 // stride, : 96 // stride]
        total = total + F.interpolate(inside, (8, 12), mode="bilinear")
    expected = F.normalize(heads.feature(total), dim=1)
    torch.testing.assert_close(boundary[:1, :8], heads.boundary(total)[:, 0], rtol=0, atol=1e-12)
    torch.testing.assert_close(feature[:1, :, :8], expected, rtol=0, atol=1e-12)
    (boundary.sum() + feature.sum()).backward()
    assert memory.grad is None
    assert all(p.grad is not None for p in heads.parameters())
