"""Equality with the deformable DETR of transformers, weights copied from theirs to ours."""

import pytest
import torch
from networks import TINY, batch, shake
from torch import nn

from point2mask.models.config import STRIDES
from point2mask.models.decoder import LocationDecoder
from point2mask.models.encoder import Encoder
from point2mask.models.geometry import Geometry
from point2mask.models.positional import sine_position

transformers = pytest.importorskip("transformers")
from transformers.models.deformable_detr import modeling_deformable_detr as theirs  # noqa: E402

SIZES = {"no padding": [(128, 192)], "padding": [(100, 192), (128, 70), (33, 129)]}
# The same sums in another order: a few rounding units of values up to 8 (measured 5e-6, 7e-15).
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-13}
LAYER = {
    "self_attn_layer_norm": "attention_norm",
    "mlp.fc1": "feedforward.expand",
    "mlp.fc2": "feedforward.contract",
    "final_layer_norm": "feedforward_norm",
}


def config() -> transformers.DeformableDetrConfig:
    made = transformers.DeformableDetrConfig(
        backbone_config=transformers.ResNetConfig(),
        d_model=TINY.width,
        encoder_layers=TINY.encoder_layers,
        decoder_layers=TINY.location_layers,
        encoder_attention_heads=TINY.heads,
        decoder_attention_heads=TINY.heads,
        encoder_n_points=TINY.points,
        decoder_n_points=TINY.points,
        encoder_ffn_dim=TINY.feedforward,
        decoder_ffn_dim=TINY.feedforward,
        num_feature_levels=len(STRIDES),
        disable_custom_kernels=True,
    )
    made._attn_implementation = "sdpa"
    return made


def inputs(sizes, dtype):
    """Geometry, and features and positions ``[B, S, d]``."""
    canvas = (max(h for h, _ in sizes), max(w for _, w in sizes))
    images, image_size = batch(sizes, canvas, dtype)
    geometry = Geometry.of(image_size, images)
    shape = (len(sizes), sum(geometry.lengths), TINY.width)
    return geometry, torch.randn(shape, dtype=dtype), torch.randn(shape, dtype=dtype)


def theirs_geometry(geometry: Geometry) -> dict[str, object]:
    shapes = torch.tensor(geometry.shapes)
    return {
        "spatial_shapes": shapes,
        "spatial_shapes_list": list(geometry.shapes),
        "level_start_index": torch.cat((torch.zeros(1).long(), shapes.prod(1).cumsum(0)[:-1])),
        "valid_ratios": geometry.valid_ratio,
    }


def copy_layers(source: nn.Module, target: nn.Module, names: dict[str, str]) -> None:
    """Copies all weights, by renaming; self-attention's projections are stacked."""
    state = {}
    for name, value in source.state_dict().items():
        for old, new in names.items():
            name = name.replace(f".{old}.", f".{new}.")
        state[name] = value
    for prefix in {n.split("q_proj")[0] for n in state if "q_proj" in n}:
        for kind in ("weight", "bias"):
            parts = [state.pop(f"{prefix}{p}_proj.{kind}") for p in "qkv"]
            state[f"{prefix}in_proj_{kind}"] = torch.cat(parts)
            state[f"{prefix}out_proj.{kind}"] = state.pop(f"{prefix}o_proj.{kind}")
    target.load_state_dict(state)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
def test_sine_position(sizes):
    geometry, _, _ = inputs(sizes, torch.float64)
    oracle = theirs.DeformableDetrSinePositionEmbedding(TINY.width // 2, normalize=True)
    start = 0
    for shape, length in zip(geometry.shapes, geometry.lengths, strict=True):
        valid = geometry.valid[:, start : start + length].unflatten(1, shape)
        start += length
        expected = oracle((len(sizes), 1, *shape), valid.device, torch.float64, valid)
        # Theirs counts whole cells, ours takes the extent as it is told.
        whole = torch.stack((valid.any(1).sum(1), valid.any(2).sum(1)), -1).double()
        found = sine_position(shape, whole, TINY.width)
        expected = expected.flatten(2).transpose(1, 2)
        inside = valid.flatten(1)
        torch.testing.assert_close(found[inside], expected[inside], rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
def test_encoder(sizes, dtype):
    geometry, features, position = inputs(sizes, dtype)
    oracle = shake(theirs.DeformableDetrEncoder(config())).to(dtype).eval()
    ours = Encoder(TINY).to(dtype).eval()
    copy_layers(oracle, ours, {**LAYER, "self_attn": "attention"})
    theirs_in, ours_in = (features.clone().requires_grad_() for _ in range(2))
    expected = oracle(
        inputs_embeds=theirs_in,
        attention_mask=geometry.valid,
        spatial_position_embeddings=position,
        **theirs_geometry(geometry),
    ).last_hidden_state
    found = ours(ours_in, position, geometry)
    torch.testing.assert_close(found, expected, rtol=0, atol=TOLERANCE[dtype])
    weight = torch.randn_like(features)
    (expected_gradient,) = torch.autograd.grad((expected * weight).sum(), theirs_in)
    (gradient,) = torch.autograd.grad((found * weight).sum(), ours_in)
    torch.testing.assert_close(gradient, expected_gradient, rtol=0, atol=TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
def test_decoder(sizes, dtype):
    geometry, memory, _ = inputs(sizes, dtype)
    ours = shake(LocationDecoder(TINY)).to(dtype).eval()
    oracle = shake(theirs.DeformableDetrDecoder(config()), 1).to(dtype).eval()
    names = {
        **LAYER,
        "self_attn": "self_attention",
        "self_attn_layer_norm": "self_attention_norm",
        "encoder_attn": "attention",
        "encoder_attn_layer_norm": "attention_norm",
    }
    copy_layers(oracle.layers, ours.layers, names)
    oracle.bbox_embed = ours.box_heads
    x, position = (torch.randn(len(sizes), 12, TINY.width, dtype=dtype) for _ in range(2))
    reference = torch.rand(len(sizes), 12, 2, dtype=dtype)
    expected = oracle(
        inputs_embeds=x,
        encoder_hidden_states=memory,
        encoder_attention_mask=geometry.valid,
        object_queries_position_embeddings=position,
        reference_points=reference,
        **theirs_geometry(geometry),
    )
    found = ours.decode(x, position, reference, memory, geometry)
    atol = TOLERANCE[dtype]
    torch.testing.assert_close(found.queries, expected.last_hidden_state, rtol=0, atol=atol)
    boxes = expected.intermediate_reference_points.transpose(0, 1)
    torch.testing.assert_close(found.boxes, boxes, rtol=0, atol=atol)
    hidden = expected.intermediate_hidden_states.transpose(0, 1)
    logits = torch.stack([h(x) for h, x in zip(ours.class_heads, hidden, strict=True)])
    torch.testing.assert_close(found.class_logits, logits, rtol=0, atol=atol)


def test_valid_ratios_count_pixels_not_cells():
    """The one thing that differs on purpose: levels of odd images stay aligned."""
    geometry, _, _ = inputs([(100, 70), (128, 128)], torch.float64)
    height, width = geometry.shapes[1]
    ratio = torch.tensor([70 / 16 / width, 100 / 16 / height], dtype=torch.float64)
    assert torch.equal(geometry.valid_ratio[0, 1], ratio)
    assert (geometry.valid_ratio[1, :3] == 1).all()
