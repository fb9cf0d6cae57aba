"""Areas by the network: matched to the clicks, and what the transport does with them."""

from dataclasses import replace

import pytest
import torch
from networks import TINY_MASK2FORMER, TINY_MASKDINO, shake, tiny
from training import IS_THING, SCENE, SIZES, make_batch, randn

from point2mask.losses import published_losses
from point2mask.models import Mask2FormerNetwork, MaskDINONetwork, PanopticNetwork, make_network
from point2mask.models.decoder import Locations
from point2mask.models.mask2former import QueryMasks
from point2mask.models.network import ThingMasks
from point2mask.models.segment_heads import Predictions
from point2mask.pseudo_masks import PseudoMaskOptions, SupervisionConfig, TransportOptions
from point2mask.pseudo_masks.areas import network_areas
from point2mask.train.module import TrainingModule


@pytest.mark.parametrize("activation", ["relu", "sigmoid"])
def test_areas_are_those_of_the_queries_around_the_clicks(activation):
    """Queries 7, 2, 5 know the things, two of one class; their masks fill 2, 4, 6 rows of cells."""
    network = PanopticNetwork(tiny(mask_activation=activation)).double()
    batch = make_batch()
    output = network(batch.images, batch.image_size)
    logits, boxes = torch.full((1, 2, 12, 3), -4.0), 0.1 * randn(1, 2, 12, 4).sigmoid()
    owners = (7, 2, 5)
    for (category, xy, _), query in zip(SCENE[:3], owners, strict=True):
        logits[..., query, category] = 4.0
        for b, (h, w) in enumerate(SIZES):
            boxes[0, b, query, :2] = torch.tensor([xy[0] / w, xy[1] / h])
            boxes[0, b, query, 2:] = 0.2
    output = replace(output, locations=Locations(logits.double(), boxes, randn(2, 12, 32)))

    def draw(encoded, queries, chosen, all_layers):
        masks = torch.full((1, 2, 3, 12, 16), -1.0, dtype=torch.float64)
        for b, indices in enumerate(chosen):
            for place, query in enumerate(indices.tolist()):
                masks[0, b, place, : 2 * (1 + owners.index(query))] = 2.0
        return ThingMasks(masks, torch.ones(2, 3, dtype=torch.bool))

    network.decode_things = draw
    areas = network_areas(network, output, batch.points, IS_THING, batch.image_size)
    # Between the last filled row of centres (2) and the next (-1), 8 pixels apart, the mask stays
    # above 0 for 5 pixels and above 1/2 for 4.
    reach = 5 if activation == "sigmoid" else 4
    for b, (_, w) in enumerate(SIZES):
        assert areas[b].tolist() == [(8 * rows - 4 + reach) * w for rows in (2, 4, 6)] + [1]


def test_areas_of_mask2former_are_those_of_the_masks_at_the_clicks():
    """Queries 7, 2, 5 know the things; two of one class are told apart by where their masks lie."""
    network = Mask2FormerNetwork(TINY_MASK2FORMER).double()
    batch = make_batch()
    output = network(batch.images, batch.image_size)
    logits = torch.full((1, 2, 12, 6), -4.0, dtype=torch.float64)
    masks = torch.full((1, 2, 12, 24, 32), -2.0, dtype=torch.float64)
    owners = (7, 2, 5)
    for (category, (x, y), _), query in zip(SCENE[:3], owners, strict=True):
        logits[..., query, category] = 4.0
        masks[..., query, int(y) // 4, int(x) // 4] = 2.0
    # One cell of +2 among -2, bilinear at a quarter of its size: above 0 for weights over 1/2.
    weight = torch.tensor([0.625, 0.875, 0.875, 0.625])
    weight = torch.cat((1 - weight[:2].flip(0), weight, 1 - weight[:2].flip(0)))
    area = int((weight[:, None] * weight > 0.5).sum())
    output = replace(output, queries=QueryMasks(logits, masks))
    areas = network_areas(network, output, batch.points, IS_THING, batch.image_size)
    assert areas.tolist() == [[area] * 3 + [1]] * 2


def test_things_beyond_the_queries_have_the_mean_of_the_others():
    network = make_network(replace(TINY_MASK2FORMER, queries=2)).double()
    batch = make_batch()
    output = network(batch.images, batch.image_size)
    masks = torch.full((1, 2, 2, 24, 32), -2.0, dtype=torch.float64)
    masks[0, :, 0], masks[0, :, 1, :12] = 2.0, 2.0
    output = replace(output, queries=QueryMasks(output.queries.class_logits[-1:], masks))
    areas = network_areas(network, output, batch.points, IS_THING, batch.image_size)
    for b, (height, width) in enumerate(SIZES):
        small, mean, large = sorted(areas[b, :3].tolist())
        assert large == height * width
        assert 40 * width < small < large
        assert mean == (small + large) / 2
        assert areas[b, 3] == 1


def test_areas_of_maskdino_are_those_of_the_masks_whose_boxes_hold_the_clicks():
    """Queries 7, 2, 5 know the things; two of one class are told apart by where their boxes lie.

    The first mask feature is 1 above the row of cells where a mask ends, -1 below.
    """
    network = MaskDINONetwork(TINY_MASKDINO).double()
    batch = make_batch()
    output = network(batch.images, batch.image_size)
    logits = torch.full((1, 2, 12, 5), -4.0, dtype=torch.float64)
    boxes = torch.full((1, 2, 12, 4), 0.01, dtype=torch.float64)
    embedding = torch.zeros(1, 2, 12, 32, dtype=torch.float64)
    features = torch.zeros(2, 32, 24, 32, dtype=torch.float64)
    embedding[..., 1] = -1.0  # no mask
    features[:, 1] = 1.0
    rows = (2, 5, 9)
    for k, ((category, (x, y), _), query) in enumerate(zip(SCENE[:3], (7, 2, 5), strict=True)):
        logits[..., query, category] = 4.0
        for b, (height, width) in enumerate(SIZES):
            place = ((x + 0.5) / width, (y + 0.5) / height, 0.1, 0.1)
            boxes[0, b, query] = torch.tensor(place, dtype=torch.float64)
        embedding[..., query, :] = 0.0
        embedding[..., query, k + 2] = 1.0
        features[:, k + 2] = -1.0
        features[:, k + 2, : rows[k]] = 1.0
    predictions = Predictions(logits, boxes, embedding)
    encoded = output.encoded._replace(mask_features=features)
    output = replace(output, predictions=predictions, encoded=encoded)
    areas = network_areas(network, output, batch.points, IS_THING, batch.image_size)
    expected = [[4 * row * width for row in rows] + [1] for _, width in SIZES]
    assert areas.tolist() == expected


@pytest.mark.parametrize("half", [False, True], ids=["float32", "bfloat16"])
@pytest.mark.parametrize(
    "config", [tiny(), TINY_MASK2FORMER, TINY_MASKDINO], ids=lambda c: c.architecture
)
def test_supplies_by_the_network_train_a_step(config, half):
    options = PseudoMaskOptions(transport=TransportOptions(supplies="network"))
    torch.manual_seed(0)
    network = shake(make_network(config))
    training = TrainingModule(
        network, published_losses(config.architecture), SupervisionConfig(pseudo_masks=options)
    )
    for scenes in ((SCENE, SCENE), (SCENE[3:], []), ([], [])):
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            losses, masks = training(make_batch(scenes, dtype=torch.float32), 10**6)
        assert all(loss.isfinite() for loss in losses.values())
        assert masks.area.shape[1] == max(len(scene) for scene in scenes)
