"""Mask2Former as the network: equal to transformers' own model, batches, gradients, export."""

import sys
from dataclasses import replace

import pytest
import torch
from alike import CANVAS, SIZES, check_batches, check_predictions, exported, maps_of
from networks import TINY_MASK2FORMER, batch, shake
from torch import nn

from point2mask.data.fields import parse, to_plain
from point2mask.models import Mask2FormerConfig, Mask2FormerNetwork, MergeConfig
from point2mask.models.deformable import DeformableAttention
from point2mask.models.geometry import cells

transformers = pytest.importorskip("transformers")

# An untrained network's masks are alike and of low score.
LOOSE = MergeConfig(
    max_things=9,
    mask_threshold=0.7,
    quality_things=1e-6,
    quality_stuff=1e-6,
    overlap_things=0.95,
    overlap_stuff=0.9,
)


def build(config=TINY_MASK2FORMER, dtype=torch.float64):
    torch.manual_seed(0)
    return shake(Mask2FormerNetwork(config)).to(dtype).eval()


def everything(network, images, image_size):
    output = network(images, image_size)
    return {
        "class_logits": output.queries.class_logits,
        "masks": output.queries.masks,
        **maps_of(output),
    }


@torch.no_grad()
@pytest.mark.parametrize("canvas", [(64, 96), (97, 131), (8, 8), (1, 200)])
def test_shapes(canvas):
    images, image_size = batch([canvas, (1, 1)], canvas, torch.float32)
    maps = everything(build(dtype=torch.float32), images, image_size)
    fine, coarse = (tuple(cells(n, stride) for n in canvas) for stride in (4, 8))
    assert {name: x.shape for name, x in maps.items()} == {
        "class_logits": (3, 2, 12, 6),
        "masks": (3, 2, 12, *fine),
        "semantics": (2, 2, 5, *coarse),
        "presence": (2, 2, 5),
        "boundary": (1, 2, *coarse),
        "features": (1, 2, 8, *coarse),
    }
    assert all(x.isfinite().all() for x in maps.values())


def test_it_begins_as_published():
    """transformers' own beginning has deviations of 0.02 and masks that differ by thousandths."""
    torch.manual_seed(0)
    network = Mask2FormerNetwork(TINY_MASK2FORMER)
    pixels, decoder = network.pixel_decoder, network.query_decoder.decoder
    for layer in pixels.encoder.layers:
        own = DeformableAttention(64, 4, 3, 4)
        for part in ("sampling_offsets", "attention_weights"):
            found, expected = getattr(layer.self_attn, part), getattr(own, part)
            assert torch.equal(found.weight, expected.weight)
            assert torch.equal(found.bias, expected.bias)
    layers = (*pixels.encoder.layers, *decoder.layers)
    xavier = [m.weight for layer in layers for m in (layer.fc1, layer.fc2)]
    xavier += [layer.cross_attn.in_proj_weight for layer in decoder.layers]
    for weight in (w.detach() for w in xavier):
        rows, columns = weight.shape
        assert weight.std() == pytest.approx((2 / (rows + columns)) ** 0.5, rel=0.05)
    for layer in decoder.layers:  # the three stacked to a matrix, as there
        for part in (layer.self_attn.q_proj, layer.self_attn.k_proj, layer.self_attn.v_proj):
            assert part.weight.detach().std() == pytest.approx((2 / (4 * 64)) ** 0.5, rel=0.05)
    convolutions = [pixels.mask_projection, pixels.adapter_1[0], pixels.layer_1[0]]
    for convolution in convolutions:
        fan_in = convolution.weight[0].numel()
        assert convolution.weight.detach().std() == pytest.approx(fan_in**-0.5, rel=0.05)
    with torch.no_grad():
        output = network(*batch([CANVAS], CANVAS, torch.float32))
    assert output.queries.masks.std(-3).mean() > 0.1


class Encoder(nn.Module):
    """A backbone as transformers' model wants it."""

    def __init__(self, backbone):
        super().__init__()
        self.backbone, self.channels = backbone, backbone.channels

    def forward(self, images):
        return transformers.modeling_outputs.BackboneOutput(feature_maps=self.backbone(images))


@torch.no_grad()
def test_queries_are_those_of_transformers_whole_model(monkeypatch):
    """Its published class with our backbone inside and our weights: the assembly is theirs."""
    network = build()
    config = network.query_decoder.decoder.config
    config.num_labels = 5
    parts = transformers.models.mask2former.modeling_mask2former
    monkeypatch.setattr(parts, "load_backbone", lambda config: Encoder(network.backbone))
    with pytest.MonkeyPatch.context() as patch:
        # It would initialise the backbone that it is given anew.
        patch.setattr(parts.Mask2FormerPreTrainedModel, "_init_weights", lambda *_: None)
        whole = transformers.Mask2FormerForUniversalSegmentation(config).double().eval()
    pixels = whole.model.pixel_level_module
    pixels.decoder.load_state_dict(network.pixel_decoder.state_dict())
    whole.model.transformer_module.load_state_dict(network.query_decoder.state_dict())
    whole.class_predictor.load_state_dict(network.class_head.state_dict())
    images, image_size = batch([(96, 128)], (96, 128))
    expected = whole(images, output_auxiliary_logits=True)
    found = network(images, image_size).queries
    layers = [*expected.auxiliary_logits, expected]
    assert len(layers) == len(found.masks) == 3
    for layer, masks, logits in zip(layers, found.masks, found.class_logits, strict=True):
        assert torch.equal(layer["masks_queries_logits"], masks)
        assert torch.equal(layer["class_queries_logits"], logits)


def test_an_image_gives_the_same_in_every_batch():
    check_batches(everything, build(), ("masks", "semantics", "boundary", "features"))


@torch.no_grad()
def test_the_last_layer_alone_is_the_last_of_all():
    network = build()
    encoded = network.encode(*batch(SIZES, CANVAS))
    every, last = (network.decode_queries(encoded, all_layers=x) for x in (True, False))
    for x, y in zip(every, last, strict=True):
        assert len(y) == 1
        assert torch.equal(x[-1], y[0])


@torch.no_grad()
def test_candidates_are_the_best_queries():
    network = build()
    encoded = network.encode(*batch(SIZES[:2], CANVAS))
    queries = network.decode_queries(encoded)
    probability = queries.class_logits[-1].softmax(-1)[..., :5]
    found = network.candidates(encoded, 4)
    assert (found.stride, found.logits) == (4, True)
    for b in range(2):
        best = probability[b].amax(1).argsort(descending=True)[:4]
        assert torch.equal(found.score[b], probability[b, best].amax(1))
        assert torch.equal(found.label[b], probability[b, best].argmax(1))
        assert torch.equal(found.masks[b], queries.masks[-1][b, best])


def test_predictions_of_a_batch_are_those_of_each_image():
    network = build()
    with torch.no_grad():  # one class would be the best of all queries
        logits = network(*batch(SIZES, CANVAS)).queries.class_logits[-1]
        network.class_head.bias -= logits.mean((0, 1))
    check_predictions(network, LOOSE, segments=6)


@torch.no_grad()
def test_exported_network_is_the_network():
    network = build(dtype=torch.float32)
    found, images, image_size = exported(network)
    queries = network(images, image_size).queries
    torch.testing.assert_close(found["class_logits"], queries.class_logits[-1])
    torch.testing.assert_close(found["masks"], queries.masks[-1])
    assert found["masks"].argmax(1).unique().numel() > 1


def test_training_does_not_wait_in_the_pixel_decoder(monkeypatch):
    network = build().train()
    assert network.query_decoder.training
    images, image_size = batch(SIZES, CANVAS)
    monkeypatch.setattr(torch, "isfinite", None)
    network.encode(images, image_size)
    assert not network.eval().query_decoder.training


def test_published_sizes_by_default():
    config = Mask2FormerConfig(num_things=80, num_stuff=53)
    assert (config.queries, config.decoder_layers, config.encoder_layers) == (100, 9, 6)
    assert (config.width, config.heads, config.decoder_feedforward) == (256, 8, 2048)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"queries": 0}, r"queries: expected an integer in \[1, 10000\], got 0"),
        ({"decoder_layers": 0}, "decoder_layers: expected an integer in"),
        ({"width": 48}, "width: expected a multiple of 32, .*, got 48"),
        ({"heads": 5}, "width: expected a multiple of heads=5, got 64"),
    ],
)
def test_impossible_sizes(changes, message):
    with pytest.raises(ValueError, match=message):
        replace(TINY_MASK2FORMER, **changes)


def test_without_transformers_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'point2mask\[mask2former\]'"):
        Mask2FormerNetwork(TINY_MASK2FORMER)


def test_its_configuration_is_read_back():
    plain = to_plain(TINY_MASK2FORMER)
    assert plain["architecture"] == "mask2former"
    assert parse(Mask2FormerConfig, plain) == TINY_MASK2FORMER
