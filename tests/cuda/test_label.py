"""Masks from clicks by a network on a GPU, beside the same network on the CPU."""

import numpy as np
import pytest
import torch
from networks import shake, tiny

from point2mask.data import Category, PointTarget
from point2mask.data.augment import AugmentConfig
from point2mask.label.network import TrainedNetwork
from point2mask.models import MergeConfig, PanopticNetwork
from point2mask.predict import Predictor
from point2mask.pseudo_masks import SupervisionConfig

RED = (255, 0, 0)
CATEGORIES = {
    1: Category(1, "cat", True, RED),
    2: Category(2, "dog", True, RED),
    3: Category(3, "sky", False, RED),
}
CLICKS = [
    PointTarget(1, 1, ((10.0, 12.0),)),
    PointTarget(2, 2, ((70.0, 40.0),)),
    PointTarget(3, 3, ((40.0, 5.0),)),
]


@pytest.mark.parametrize("redraw", [False, True])
def test_a_network_labels_where_it_is(redraw, device):
    image = np.random.default_rng(0).integers(0, 256, (56, 88, 3), dtype=np.uint8)
    network = PanopticNetwork(tiny(num_things=2, num_stuff=1)).eval()
    shake(network)
    network.location_decoder.class_heads[-1].bias.data.add_(3)  # so that its queries are sure
    augment = AugmentConfig(test_short_side=64, max_side=128)
    maps = []
    for place in ("cpu", device):
        predictor = Predictor(
            network.to(place), CATEGORIES, augment, MergeConfig(), SupervisionConfig()
        )
        trained = TrainedNetwork(predictor, redraw=redraw)
        assert trained.device == torch.device(place if place == "cpu" else "cuda:0")
        prepared = trained.prepare(image)
        maps.append((prepared.edges()[0], prepared.label(CLICKS, CATEGORIES)))
    (edges, labels), (other_edges, other_labels) = maps
    np.testing.assert_allclose(other_edges, edges, atol=1e-3)
    assert np.mean(labels == other_labels) > 0.98
    assert set(np.unique(labels)) >= {0, 1, 2}
