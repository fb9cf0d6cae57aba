"""Panoptic SegFormer itself: its mask decoders beside a plain account of the published ones."""

import published_segformer as published
import pytest
import torch

from point2mask.models.base import Candidates
from point2mask.models.geometry import Geometry
from point2mask.models.inference import _full_size
from point2mask.models.mask_decoder import ClassMaskDecoder, ThingMaskDecoder
from point2mask.models.published_segformer import mask_decoder_tensors

WIDTH, HEADS = 16, 4
SIZE = 40, 68  # of 5 x 9, 3 x 5 and 2 x 3 cells
CLOSE = {"rtol": 1e-5, "atol": 1e-5}  # weights of resizing are float32


@pytest.fixture
def geometry():
    return Geometry.of(torch.tensor([SIZE] * 2), torch.zeros(2, 3, *SIZE), spanning=True)


def random_state(kind):
    """Published tensors of a mask head, such that masks are neither empty nor full."""
    generator = torch.Generator().manual_seed(len(kind))
    return {
        name: torch.randn(shape, generator=generator, dtype=torch.float64) / 2
        for name, shape in published.mask_head_shapes(kind, WIDTH, HEADS).items()
    }


def converted(state, decoder, prefix):
    """Loads published tensors into a decoder of ours, all that it has but class heads."""
    own = {}
    for name, tensor in state.items():
        own |= dict(mask_decoder_tensors(name, tensor, state))
    own = {name.removeprefix(prefix): tensor for name, tensor in own.items()}
    missing, unexpected = decoder.double().load_state_dict(own, strict=False)
    assert not unexpected
    assert all(name.startswith(("queries.", "class_heads.")) for name in missing)
    return decoder.eval()


@torch.no_grad()
def test_things(geometry):
    state = random_state("things")
    decoder = ThingMaskDecoder(5, WIDTH, HEADS, 4 * WIDTH, "relu", original=True)
    decoder = converted(state, decoder, "thing_decoder.")
    torch.manual_seed(0)
    query = torch.randn(2, 3, WIDTH, dtype=torch.float64)
    memory = torch.randn(2, geometry.mask_cells, WIDTH, dtype=torch.float64)
    expected, _ = published.mask_head(state, "things", query, 0, memory, geometry.shapes[:3])
    assert (expected > 0).double().mean((1, 2, 3, 4)).min() > 0.05
    torch.testing.assert_close(decoder(query, memory, geometry), expected, **CLOSE)
    last = decoder(query, memory, geometry, all_layers=False)
    torch.testing.assert_close(last, expected[-1:], **CLOSE)


@torch.no_grad()
def test_stuff(geometry):
    state = random_state("stuff")
    decoder = ClassMaskDecoder(5, 6, WIDTH, HEADS, 4 * WIDTH, original=True)
    decoder = converted(state, decoder, "stuff_decoder.")
    torch.manual_seed(0)
    memory = torch.randn(2, geometry.mask_cells, WIDTH, dtype=torch.float64)
    query, position = decoder.queries.weight.expand(2, -1, -1).chunk(2, -1)
    expected, queries = published.mask_head(
        state, "stuff", query, position, memory, geometry.shapes[:3]
    )
    assert (expected > 0).double().mean((1, 2, 3, 4)).min() > 0.05
    masks, logits = decoder(memory, geometry)
    torch.testing.assert_close(masks, expected, **CLOSE)
    said = [head(x)[..., 0] for head, x in zip(decoder.class_heads, queries, strict=True)]
    torch.testing.assert_close(logits, torch.stack(said), **CLOSE)
    last = decoder(memory, geometry, all_layers=False)
    torch.testing.assert_close(last.masks, masks[-1:])
    torch.testing.assert_close(last.class_logits, logits[-1:])


def test_norms_have_the_original_epsilon():
    decoder = ClassMaskDecoder(5, 1, WIDTH, HEADS, 16, original=True)
    norms = [m for m in decoder.modules() if isinstance(m, torch.nn.LayerNorm)]
    assert [norm.eps for norm in norms] == [1e-6] * 3


def test_a_missing_level_is_named():
    state = random_state("things")
    name = "bbox_head.things_mask_head.blocks.2.attn.linear_l1.0.bias"
    del state[name.replace("l1", "l3")]
    with pytest.raises(ValueError, match=r"expected a tensor '.*blocks\.2.*linear_l3.*', got none"):
        dict(mask_decoder_tensors(name, state[name], state))


def test_masks_become_the_original_pixels_at_once(geometry):
    """As theirs; Point2Mask goes by way of the pixels that the network has seen."""
    masks = torch.rand(2, 3, *geometry.shapes[0])
    candidates = Candidates(masks, masks[:, :, 0, 0], masks[:, :, 0, 0].long(), 8, False)
    chosen, size = slice(0, 3), (90, 150)
    expected = torch.nn.functional.interpolate(masks[1:], size, mode="bilinear")[0]
    at_once = _full_size(candidates._replace(at_once=True), geometry, 1, chosen, size)
    torch.testing.assert_close(at_once, expected)
    assert (_full_size(candidates, geometry, 1, chosen, size) - expected).abs().max() > 1e-3
