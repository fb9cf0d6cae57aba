"""The whole network: shapes, padding, gradients, determinism."""

import pytest
import torch
from alike import maps_of
from networks import TINY, batch, shake, tiny

from point2mask.models import BackboneConfig, NetworkConfig, PanopticNetwork
from point2mask.models.geometry import cells

SIZES = [(97, 130), (64, 64), (33, 70)]
CANVAS = (104, 150)
LEVELS = (8, 16, 32, 64)


def build(config: NetworkConfig = TINY, dtype: torch.dtype = torch.float64) -> PanopticNetwork:
    torch.manual_seed(0)
    return shake(PanopticNetwork(config)).to(dtype).eval()


def everything(network, images, image_size, chosen=None):
    """All outputs and the masks of chosen things, by name."""
    output = network(images, image_size)
    chosen = chosen or [torch.tensor([3, 1])] * len(images)
    things = network.decode_things(output.encoded, output.locations.queries, chosen)
    return output, {
        "class_logits": output.locations.class_logits,
        "boxes": output.locations.boxes,
        "queries": output.locations.queries[None],
        "stuff_masks": output.stuff.masks,
        "stuff_logits": output.stuff.class_logits,
        **maps_of(output),
        "thing_masks": things.masks,
    }


@pytest.mark.parametrize("canvas", [(64, 96), (97, 131), (8, 8), (1, 200)])
def test_shapes(canvas):
    network = build(dtype=torch.float32)
    images, image_size = batch([canvas, (1, 1)], canvas, torch.float32)
    with torch.no_grad():
        output, maps = everything(network, images, image_size, [torch.tensor([5]), torch.arange(3)])
    h, w = cells(canvas[0], 8), cells(canvas[1], 8)
    shapes = {
        "class_logits": (2, 2, 12, 3),
        "boxes": (2, 2, 12, 4),
        "queries": (1, 2, 12, 32),
        "stuff_masks": (2, 2, 2, h, w),
        "stuff_logits": (2, 2, 2),
        "semantics": (2, 2, 5, h, w),
        "presence": (2, 2, 5),
        "boundary": (1, 2, h, w),
        "features": (1, 2, 8, h, w),
        "thing_masks": (2, 2, 3, h, w),
    }
    assert {name: x.shape for name, x in maps.items()} == shapes
    assert all(x.isfinite().all() for x in maps.values())
    total = sum(cells(canvas[0], s) * cells(canvas[1], s) for s in LEVELS)
    assert output.encoded.memory.shape == output.encoded.position.shape == (2, total, 32)
    assert output.encoded.mask_memory.shape == (2, output.geometry.mask_cells, 32)
    boxes = output.locations.boxes
    assert ((boxes >= 0) & (boxes <= 1)).all()


@pytest.mark.parametrize("published", [False, True])
@pytest.mark.parametrize("activation", ["relu", "sigmoid"])
def test_an_image_gives_the_same_in_every_batch(activation, published):
    """What surrounds the image is NaN: it is not even read."""
    network = build(tiny(mask_activation=activation, published=published))
    images, image_size = batch(SIZES, CANVAS)
    with torch.no_grad():
        output, together = everything(network, images, image_size)
        for b, (h, w) in enumerate(SIZES):
            single = images[b : b + 1, :, :h, :w]
            own, alone = everything(network, single, image_size[b : b + 1])
            rows, columns = cells(h, 8), cells(w, 8)
            for name, expected in alone.items():
                found = together[name][:, b]
                if found.shape[-2:] == output.geometry.shapes[0]:
                    found = found[..., :rows, :columns]
                # Only the order of sums differs, in double precision.
                torch.testing.assert_close(
                    found, expected[:, 0], rtol=1e-9, atol=1e-9, msg=lambda m, n=name: f"{n}: {m}"
                )
            inside = output.geometry.valid[b]
            memory = output.encoded.memory[b][inside]
            torch.testing.assert_close(memory, own.encoded.memory[0], rtol=1e-9, atol=1e-9)
            full = output.geometry.to_pixels(together["thing_masks"])[:, b]
            expected = own.geometry.to_pixels(alone["thing_masks"])[:, 0]
            torch.testing.assert_close(full[..., :h, :w], expected, rtol=1e-9, atol=1e-9)


def test_masks_and_semantics_are_nothing_outside_the_image():
    network = build()
    images, image_size = batch(SIZES, CANVAS)
    output, maps = everything(network, images, image_size)
    outside = ~output.geometry.finest[:, None]
    assert outside.any()
    for name in ("stuff_masks", "thing_masks", "semantics"):
        assert (maps[name].masked_select(outside) == 0).all()
        assert (maps[name].masked_select(~outside) != 0).any()


def test_semantic_logits_are_scaled_masks_times_presence():
    network = build()
    images, image_size = batch(SIZES, CANVAS)
    with torch.no_grad():
        encoded = network.encode(images, image_size)
        logits, presence = network.decode_semantics(encoded)
        masks, _ = network.semantic_decoder(encoded.mask_memory, encoded.geometry)
        for c in range(TINY.num_classes):
            value = masks[:, :, c] * network.semantic_scale[c] + network.semantic_bias[c]
            value = value * presence[:, :, c].sigmoid()[..., None, None]
            inside = encoded.geometry.finest
            torch.testing.assert_close(logits[:, :, c][:, inside], value[:, inside])


@pytest.mark.parametrize("semantic", ["relu", "softplus"])
def test_semantic_masks_stay_positive_with_sigmoid_masks(semantic):
    network = build(tiny(mask_activation="sigmoid", semantic_activation=semantic))
    images, image_size = batch(SIZES, CANVAS)
    with torch.no_grad():
        encoded = network.encode(images, image_size)
        masks, _ = network.semantic_decoder(encoded.mask_memory, encoded.geometry)
        assert (masks >= 0).all()
        assert (network.decode_stuff(encoded).masks < 0).any()


@pytest.mark.parametrize(("semantic", "alive"), [("relu", False), ("softplus", True)])
def test_a_class_that_vanished_everywhere_can_come_back_with_softplus(semantic, alive):
    network = build(tiny(semantic_activation=semantic))
    images, image_size = batch(SIZES, CANVAS)
    for layer in network.semantic_decoder.layers:
        torch.nn.init.constant_(layer.attention.mask_bias, -50.0)
    network.decode_semantics(network.encode(images, image_size)).logits.sum().backward()
    gradient = network.semantic_decoder.layers[-1].attention.mask_bias.grad
    assert bool(gradient != 0) == alive


def loss_of(network, images, image_size, **changes):
    _, maps = everything(network, images, image_size, **changes)
    generator = torch.Generator().manual_seed(5)
    weights = {n: torch.randn(x.shape, generator=generator).to(x) for n, x in maps.items()}
    return sum((x * weights[name]).sum() for name, x in maps.items())


@pytest.mark.parametrize("activation", ["relu", "sigmoid"])
def test_gradients_reach_every_parameter_that_trains(activation):
    network = build(tiny(mask_activation=activation)).train()
    loss_of(network, *batch(SIZES, CANVAS)).backward()
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
            assert (parameter.grad != 0).any(), name
        else:
            assert parameter.grad is None, name
            assert name.startswith("backbone."), name


def test_pseudo_mask_heads_do_not_train_the_encoder():
    network = build().train()
    output = network(*batch(SIZES, CANVAS))
    (output.boundary_logits.sum() + output.features.sum()).backward()
    reached = {name for name, p in network.named_parameters() if p.grad is not None}
    assert reached == {
        name for name, _ in network.named_parameters() if name.startswith("pseudo_mask_heads.")
    }


def test_refined_boxes_do_not_train_the_layers_before():
    network = build()
    output = network(*batch(SIZES, CANVAS))
    heads = network.location_decoder.box_heads
    gradients = torch.autograd.grad(
        output.locations.boxes[1].sum(), [heads[0][0].weight, heads[1][0].weight]
    )
    assert (gradients[0] == 0).all()
    assert (gradients[1] != 0).any()


def test_no_thing_chosen_still_gives_gradients_of_zero():
    """Data-parallel training waits for the gradient of every parameter."""
    network = build()
    output = network(*batch(SIZES, CANVAS))
    none = [torch.zeros(0, dtype=torch.int64)] * len(SIZES)
    things = network.decode_things(output.encoded, output.locations.queries, none)
    assert things.masks.shape[2] == 0
    assert things.valid.shape == (3, 0)
    things.masks.sum().backward()
    for name, parameter in network.thing_decoder.named_parameters():
        assert parameter.grad is not None, name
        assert (parameter.grad == 0).all(), name


def test_chosen_things_of_different_number():
    network = build()
    images, image_size = batch(SIZES, CANVAS)
    chosen = [torch.tensor([7, 2, 7]), torch.zeros(0, dtype=torch.int64), torch.tensor([11])]
    with torch.no_grad():
        encoded = network.encode(images, image_size)
        queries = network.locate(encoded).queries
        things = network.decode_things(encoded, queries, chosen)
        every = network.decode_things(encoded, queries, [torch.arange(12)] * 3)
        last = network.decode_things(encoded, queries, chosen, all_layers=False)
    assert things.valid.tolist() == [[True] * 3, [False] * 3, [True, False, False]]
    for b, indices in enumerate(chosen):
        expected = every.masks[:, b, indices]
        found = things.masks[:, b, : len(indices)]
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    assert torch.equal(last.masks, things.masks[-1:])


def test_same_seed_same_bits(threads):
    def run():
        torch.manual_seed(3)
        network = PanopticNetwork(TINY).train()  # with dropout
        loss = loss_of(network, *batch(SIZES, CANVAS, torch.float32))
        loss.backward()
        return loss, [p.grad for p in network.parameters() if p.grad is not None]

    with threads(1):
        (loss, gradients), (again, gradients_again) = run(), run()
    assert torch.equal(loss, again)
    for gradient, other in zip(gradients, gradients_again, strict=True):
        assert torch.equal(gradient, other)


def test_initialisation():
    torch.manual_seed(0)
    network = PanopticNetwork(TINY)
    images, image_size = batch(SIZES, CANVAS, torch.float32)
    with torch.no_grad():
        locations = network.eval().locate(network.encode(images, image_size))
        reference = network.location_decoder.reference_points(
            network.location_decoder.queries.weight[:, : TINY.width]
        ).sigmoid()
    # Boxes start at the reference points, 12 % of the image, and layers do not change them yet.
    for layer in locations.boxes:
        torch.testing.assert_close(layer[0, :, :2], reference)
        torch.testing.assert_close(layer[..., 2:], torch.full_like(layer[..., 2:], 0.1192029))
    for head in (*network.location_decoder.class_heads, *network.stuff_decoder.class_heads):
        torch.testing.assert_close(head.bias.sigmoid(), torch.full_like(head.bias, 0.01))
    assert (network.semantic_scale == 1).all()
    assert (network.semantic_bias == 0).all()
    # Head m of the deformable attention looks at 1, 2, ... cells in the direction of its angle.
    bias = network.encoder.layers[0].attention.sampling_offsets.bias.view(4, 4, 2, 2)
    steps = torch.tensor([1.0, 2.0])
    expected = {0: (1, 0), 1: (0, 1), 2: (-1, 0), 3: (0, -1)}
    for head, direction in expected.items():
        where = steps[:, None] * torch.tensor(direction)
        torch.testing.assert_close(bias[head], where.expand(4, 2, 2), rtol=0, atol=1e-6)


def test_dropout_acts_in_training_only():
    network = build()
    images, image_size = batch(SIZES, CANVAS)
    with torch.no_grad():
        first, second = (network.encode(images, image_size).memory for _ in range(2))
        assert torch.equal(first, second)
        network.train()
        assert not torch.equal(network.encode(images, image_size).memory, first)


def test_weights_survive_a_file(tmp_path):
    network = build(dtype=torch.float32)
    torch.save(network.state_dict(), tmp_path / "network.pth")
    other = PanopticNetwork(TINY).eval()
    other.load_state_dict(torch.load(tmp_path / "network.pth", weights_only=True))
    images, image_size = batch(SIZES, CANVAS, torch.float32)
    with torch.no_grad():
        expected = everything(network, images, image_size)[1]
        found = everything(other, images, image_size)[1]
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_mixed_precision_is_finite_and_places_boxes_in_float32():
    network = build(dtype=torch.float32).train()
    images, image_size = batch(SIZES, CANVAS, torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        _, maps = everything(network, images, image_size)
    assert all(x.isfinite().all() for x in maps.values())
    assert maps["boxes"].dtype == torch.float32
    sum(x.float().sum() for x in maps.values()).backward()
    assert all(p.grad.isfinite().all() for p in network.parameters() if p.requires_grad)


def test_the_published_network_has_its_size():
    """56.6 M parameters were counted for the published sizes with 21 classes and ResNet-50."""
    config = NetworkConfig(num_things=20, num_stuff=1, backbone=BackboneConfig(pretrained="none"))
    with torch.device("meta"):
        network = PanopticNetwork(config)
    assert sum(p.numel() for p in network.parameters()) == pytest.approx(56.6e6, rel=0.01)
    depths = [len(d.layers) for d in (network.encoder, network.location_decoder)]
    assert depths == [6, 6]
    # The last of the four thing layers only draws.
    assert [len(network.thing_decoder.layers), len(network.stuff_decoder.layers)] == [3, 6]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_things": 0}, r"num_things: expected an integer in \[1, 10000\], got 0"),
        ({"thing_layers": 0}, r"thing_layers: expected an integer in \[1, 100\], got 0"),
        ({"width": 30}, "width: expected a multiple of heads=4, got 30"),
        ({"norm_groups": 5}, "width: expected a multiple of norm_groups=5, got 32"),
        ({"width": 6, "heads": 2, "norm_groups": 3}, "width: expected a multiple of 4, got 6"),
        (
            {"semantic_activation": "sigmoid"},
            "semantic_activation: expected one of relu, softplus, got 'sigmoid'",
        ),
        ({"mask_activation": "tanh"}, "mask_activation: expected one of relu, sigmoid, got 'tanh'"),
    ],
)
def test_impossible_sizes_are_refused(change, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        tiny(**change)
