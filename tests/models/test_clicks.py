"""The click branch: what it gives is a partition of an image among its clicked targets."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from networks import TINY_MASK2FORMER, TINY_MASKDINO, batch, shake, tiny

from point2mask.models import make_network, predict
from point2mask.models.clicks import RATE, SHORT, ClickDecoder, click_counts
from point2mask.models.geometry import Geometry

BRANCHED = [replace(config, click_layers=3) for config in (tiny(), TINY_MASK2FORMER, TINY_MASKDINO)]
SIZES, CANVAS = [(64, 72), (40, 96)], (64, 96)
# Of each image: class and clicks of every target.
CLICKS = [
    [(0, [(3.0, 5.0), (60.0, 50.0)]), (0, [(30.0, 30.0)]), (4, [(70.0, 2.0)])],
    [(2, [(90.0, 39.0)]), (3, [(1.0, 1.0)])],
]


def tensors(images, targets=3, points=2):
    xy = torch.full((len(images), targets, points, 2), -1.0, dtype=torch.float64)
    category = torch.full((len(images), targets), -1)
    for b, image in enumerate(images):
        for k, (channel, clicks) in enumerate(image):
            category[b, k] = channel
            xy[b, k, : len(clicks)] = torch.tensor(clicks, dtype=torch.float64)
    return xy, category


@pytest.fixture(scope="module", params=BRANCHED, ids=lambda config: config.architecture)
def network(request):
    torch.manual_seed(0)
    return shake(make_network(request.param).double()).eval()


@pytest.fixture(scope="module")
def encoded(network):
    with torch.no_grad():
        return network.encode(*batch(SIZES, CANVAS))


def distances(xy, canvas=CANVAS):
    """From the middle of every cell to the nearest click, of targets whatever their order."""
    y, x = torch.meshgrid(*(torch.arange(4, side, 8) for side in canvas), indexing="ij")
    from_clicks = torch.hypot(x - xy[..., 0, None, None], y - xy[..., 1, None, None])
    absent = (xy < 0).any(-1)[..., None, None]
    return from_clicks.masked_fill(absent, 1e4).amin(2) / 100


@torch.no_grad()
def shares(network, encoded, xy, category):
    distance = distances(xy, encoded.geometry.canvas)
    return network.decode_clicks(encoded, xy, category, distance).softmax(2)


def test_every_cell_is_shared_out_among_clicked_targets(network, encoded):
    xy, category = tensors(CLICKS, targets=4)
    share = shares(network, encoded, xy, category)
    assert share.shape == (3, 2, 4, 8, 12)
    torch.testing.assert_close(share.sum(2), torch.ones_like(share[:, :, 0]))
    inside = encoded.geometry.finest[:, None]
    assert not (share[:, 0, 3] * inside[0]).any()  # padding
    assert not (share[:, 1, 2:] * inside[1]).any()
    assert ((share[:, 0, :3] * inside[0]).sum((2, 3)) > 0).all()


def test_a_target_without_a_click_gets_nothing(network, encoded):
    xy, category = tensors(CLICKS)
    before = shares(network, encoded, *tensors([CLICKS[0][1:], CLICKS[1]]))
    xy[0, 0] = torch.tensor([-1.0, -1.0])  # none
    xy[0, 0, 1] = torch.tensor([72.0, 5.0])  # beside the picture
    share = shares(network, encoded, xy, category)
    assert not (share[:, 0, 0] * encoded.geometry.finest[0]).any()
    torch.testing.assert_close(share[:, 0, 1:], before[:, 0, :2])


@settings(max_examples=10, deadline=None)
@given(order=st.permutations(range(3)), turned=st.booleans())
def test_targets_and_clicks_have_no_order(order, turned):
    torch.manual_seed(0)
    network = shake(make_network(BRANCHED[0]).double()).eval()
    with torch.no_grad():
        encoded = network.encode(*batch(SIZES, CANVAS))
    xy, category = tensors(CLICKS)
    share = shares(network, encoded, xy, category)
    moved = xy.flip(2) if turned else xy
    other = shares(network, encoded, moved[:, order], category[:, order])
    torch.testing.assert_close(share[:, :, order], other)


def test_an_image_is_the_same_in_every_batch(network, encoded):
    whole = shares(network, encoded, *tensors(CLICKS, targets=7, points=4))
    for b, (height, width) in enumerate(SIZES):
        images, sizes = batch(SIZES, CANVAS)
        canvas = tuple(-(-length // 32) * 32 for length in (height, width))
        with torch.no_grad():
            alone = network.encode(images[b : b + 1, :, : canvas[0], : canvas[1]], sizes[b : b + 1])
        count = len(CLICKS[b])
        share = shares(network, alone, *tensors(CLICKS[b : b + 1], targets=count))
        rows, columns = -(-height // 8), -(-width // 8)
        torch.testing.assert_close(
            whole[:, b, :count, :rows, :columns], share[:, 0, :, :rows, :columns]
        )


def test_an_image_without_a_click_disturbs_no_other(network, encoded):
    xy, category = tensors([CLICKS[0], []])
    share = shares(network, encoded, xy, category)
    assert share.isfinite().all()
    torch.testing.assert_close(share[:, 0], shares(network, encoded, *tensors(CLICKS))[:, 0])


def test_clicks_tell_targets_of_one_class_apart(network, encoded):
    """Two targets of one class differ by where they are clicked, and by nothing else."""
    xy, category = tensors([[(0, [(3.0, 5.0)]), (0, [(60.0, 50.0)])], CLICKS[1]], 2, 1)
    share = shares(network, encoded, xy, category)
    assert not torch.allclose(share[-1, 0, 0], share[-1, 0, 1])
    xy[0, 1] = xy[0, 0]
    share = shares(network, encoded, xy, category)
    torch.testing.assert_close(share[:, 0, 0], share[:, 0, 1])


def test_no_target_or_click_is_refused(network, encoded):
    xy, category = tensors(CLICKS)
    for wrong in ((xy[:, :0], category[:, :0]), (xy[:, :, :0], category), (xy, category[:, :2])):
        with pytest.raises(ValueError, match=r"clicks must have xy \[B, K >= 1, P >= 1, 2\]"):
            network.decode_clicks(encoded, *wrong, distances(xy))


def test_without_it_a_network_is_as_before(network):
    plain = replace(network.config, click_layers=0)
    states = []
    for config in (plain, network.config):
        torch.manual_seed(0)
        states.append(make_network(config).state_dict())
    branch = {name for name in states[1] if name.startswith("click_decoder.")}
    assert states[0].keys() == states[1].keys() - branch
    assert branch
    assert all(torch.equal(tensor, states[1][name]) for name, tensor in states[0].items())
    with pytest.raises(ValueError, match="clicks need a network with a click branch"):
        make_network(plain).decode_clicks(None, None, None, None)


@given(
    size=st.tuples(st.integers(1, 64), st.integers(1, 96)),
    part=st.tuples(st.floats(0, 1), st.floats(0, 1)),
    spanning=st.booleans(),
)
@example(size=(14, 14), part=(1.0, 1.0), spanning=True)
@example(size=(64, 14), part=(1.0, 1.0), spanning=True)
def test_a_click_lies_in_a_cell_of_its_image(size, part, spanning):
    geometry = Geometry.of(torch.tensor([size]), torch.zeros(1, 3, 64, 96), spanning)
    length = np.array(size[::-1], np.float32)
    inside = np.nextafter(length, np.float32(0))
    x, y = np.minimum(np.float32(part) * length, inside).tolist()
    xy, category = tensors([[(0, [(x, y), (x, y)])]], 1, 3)
    cells = click_counts(xy.float(), category, geometry).view(1, 1, 8, 12)
    assert cells.sum() == cells.max() == 2
    assert (cells * geometry.finest).max() == 2
    if not spanning:
        assert cells[0, 0, int(y) // 8, int(x) // 8] == 2


def test_it_begins_at_the_nearest_click():
    """Before anything is learned things have what their paths say, and stuff has no place."""
    geometry = Geometry.of(torch.tensor(SIZES), torch.zeros(2, 3, *CANVAS))
    xy, category = tensors(CLICKS)
    distance = distances(xy)
    decoder = ClickDecoder(tiny(click_layers=2)).double()
    for layer in (decoder.last, decoder.layers[0].decode.attention):
        torch.nn.init.zeros_(layer.mask_weight)
    memory = torch.zeros(2, geometry.mask_cells, 32, dtype=torch.float64)
    logits = decoder(memory, memory, geometry, xy, category, distance)
    inside = geometry.finest
    for layer in logits:
        expected = -RATE * torch.log(1 + distance[0, :2, inside[0]] / SHORT)
        torch.testing.assert_close(layer[0, :2, inside[0]], expected)
        assert not layer[0, 2, inside[0]].any()
        assert not layer[1, 1, inside[1]].any()
    assert decoder.rate.tolist() == [1, 1, 1, 0, 0]


def test_the_rate_of_a_class_is_learned(network, encoded):
    xy, category = tensors(CLICKS)
    logits = network.decode_clicks(encoded, xy, category, distances(xy))
    (gradient,) = torch.autograd.grad(logits.softmax(2)[:, :, 0].sum(), network.click_decoder.rate)
    assert gradient[[0, 2, 4]].all()
    assert not gradient[1]  # is not clicked


@pytest.mark.parametrize("config", BRANCHED, ids=lambda config: config.architecture)
def test_a_network_without_maps_says_so(config):
    """Nor has it a click branch, whatever its configuration says of one."""
    network = make_network(replace(config, semantic_layers=0)).eval()
    images, sizes = torch.rand(1, 3, 32, 32), torch.tensor([[32, 32]])
    encoded = network.encode(images, sizes)
    xy, category = (x.to(torch.float32) for x in tensors(CLICKS[:1]))
    with pytest.raises(ValueError, match="click branch: click_layers above 0"):
        network.decode_clicks(encoded, xy, category.long(), torch.zeros(1, 3, 4, 4))
    for ask in (network.maps, network.decode_semantics):
        with pytest.raises(ValueError, match="expected a network with maps, got one of semantic_"):
            ask(encoded)
    with pytest.raises(ValueError, match="expected a network with maps, got one of semantic_"):
        predict(network, images, sizes, semantic=True)
