"""pseudo_masks: options, shapes and values that are refused, and with what words."""

from dataclasses import replace

import pytest
import torch
from pseudo_mask_cases import CLASSES, IS_THING, random_case, run

from point2mask.pseudo_masks import PointBatch, PseudoMaskOptions, TransportOptions, pseudo_masks


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"assigner": "magic"}, "^assigner: expected one of transport, shortest_path, nearest"),
        ({"transport": TransportOptions(supplies="given")}, "need areas"),
        ({"transport": TransportOptions(supplies="network")}, "need areas"),
        ({"stride": 0}, r"^stride: expected an integer in \[1, 1024\], got 0$"),
        ({"point_size": 16}, "^point_size: expected an integer that is odd"),
        ({"confidence": 1.5}, r"^confidence: expected a number in \[0, 1\], got 1.5$"),
        ({"class_penalty": float("inf")}, "^class_penalty: .* got inf$"),
        ({"step_weight": float("nan")}, "^step_weight: .* got nan$"),
        ({"semantic_weight": -1.0}, "^semantic_weight: .* got -1.0$"),
    ],
)
def test_rejects_bad_options(change, message):
    with pytest.raises(ValueError, match=message):
        run(random_case(0), replace(PseudoMaskOptions(), **change))


@pytest.mark.parametrize(
    "change",
    [{"epsilon": 0.0}, {"iterations": -1}, {"demand_relaxation": 0}, {"supplies": "magic"}],
)
def test_rejects_bad_transport_options(change):
    with pytest.raises(ValueError, match=next(iter(change))):
        TransportOptions(**change)


def test_rejects_bad_shapes():
    semantic, boundary, feature, targets = random_case(0)
    points = PointBatch.from_lists([targets])
    batch = semantic[None]
    with pytest.raises(ValueError, match="is_thing must be bool"):
        pseudo_masks(batch, points, IS_THING[:3])
    with pytest.raises(ValueError, match="must hold B=2 images"):
        pseudo_masks(semantic.expand(2, -1, -1, -1), points, IS_THING)
    with pytest.raises(ValueError, match="image_size must have shape"):
        pseudo_masks(batch, points, IS_THING, image_size=torch.tensor([96, 112]))
    with pytest.raises(ValueError, match="image_size must have shape"):
        pseudo_masks(batch, points, IS_THING, image_size=[[96, 112]])
    with pytest.raises(ValueError, match="areas must have shape"):
        pseudo_masks(batch, points, IS_THING, areas=torch.ones(1, 2))
    with pytest.raises(ValueError, match="boundary_logits must be float"):
        pseudo_masks(batch, points, IS_THING, boundary_logits=boundary)
    with pytest.raises(ValueError, match="feature must hold B=1 images"):
        pseudo_masks(batch, points, IS_THING, feature=feature.expand(2, -1, -1, -1))
    with pytest.raises(ValueError, match="int64 category"):
        pseudo_masks(batch, PointBatch(points.xy, points.category.float()), IS_THING)
    with pytest.raises(ValueError, match="semantic must not be empty"):
        pseudo_masks(batch[..., :0], points, IS_THING)


def test_rejects_bad_values_where_the_tensors_live():
    case = random_case(0)
    beyond = (*case[:3], [(CLASSES, [(1.0, 1.0)])])
    with pytest.raises(RuntimeError, match="categories in"):
        run(beyond)
    options = PseudoMaskOptions(transport=TransportOptions(supplies="given"))
    for bad in (float("nan"), -1.0):
        with pytest.raises(RuntimeError, match="areas must be finite and not negative"):
            run(case, options, areas=torch.full((1, 6), bad))
