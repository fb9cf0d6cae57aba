"""Maps for pseudo masks: of enlarged images, and of the classes that were clicked."""

import pytest
import torch
import torch.nn.functional as F
from networks import batch, shake, tiny
from training import make_batch

from point2mask.engine.module import SupervisionConfig, TrainingModule
from point2mask.engine.source_maps import among, enlarged_maps, source_maps
from point2mask.models import Geometry, PanopticNetwork

SIZES, CANVAS = [(48, 40), (33, 64)], (48, 64)


def network(**changes):
    torch.manual_seed(0)
    return shake(PanopticNetwork(tiny(**changes))).double()


def test_equals_the_maps_of_each_enlarged_image_alone():
    images, size = batch(SIZES, CANVAS)
    net = network(dropout=0.0)
    maps = enlarged_maps(net, images, Geometry.of(size, images), 2.0)
    assert maps.semantic.shape == (2, 5, *CANVAS)
    assert all(map_.isfinite().all() for map_ in maps)
    net.eval()
    for b, (height, width) in enumerate(SIZES):
        image = F.interpolate(
            images[b : b + 1, :, :height, :width], scale_factor=2, mode="bilinear"
        )
        with torch.no_grad():
            alone = source_maps(net(image, torch.tensor([[2 * height, 2 * width]])))
        semantic = F.interpolate(alone.semantic, size=(height, width), mode="bilinear")
        torch.testing.assert_close(maps.semantic[b : b + 1, :, :height, :width], semantic)
        rows, columns = alone.boundary.shape[-2:]
        torch.testing.assert_close(maps.boundary[b : b + 1, :rows, :columns], alone.boundary)
        torch.testing.assert_close(maps.feature[b : b + 1, :, :rows, :columns], alone.feature)


def test_any_scale_covers_the_images():
    images, size = batch(SIZES, CANVAS)
    maps = enlarged_maps(network(), images, Geometry.of(size, images), 1.3)
    assert maps.semantic.shape == (2, 5, *CANVAS)
    assert maps.boundary.shape == (2, 8, 11)  # 62 x 83 pixels
    for b, (height, width) in enumerate(SIZES):
        total = maps.semantic[b, :, :height, :width].sum(0)
        torch.testing.assert_close(total, torch.ones_like(total))


def test_the_pass_leaves_no_trace():
    """Neither in random states nor in batch statistics, modes or gradients."""
    images, size = batch(SIZES, CANVAS)
    net = network(dropout=0.5)
    net.train()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    random = torch.get_rng_state()
    maps = enlarged_maps(net, images, Geometry.of(size, images), 1.5)
    assert torch.equal(torch.get_rng_state(), random)
    assert net.training
    assert net.encoder.training
    assert not any(map_.requires_grad for map_ in maps)
    for name, tensor in net.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_a_step_grows_its_masks_from_the_enlarged_maps():
    supervision = SupervisionConfig(transport_warmup=0, scale=2.0)
    torch.manual_seed(0)
    training = TrainingModule(shake(PanopticNetwork(tiny())), None, supervision).eval()
    made = make_batch(dtype=torch.float32)
    output = training.network(training.normalise(made.images), made.image_size)
    plain = TrainingModule(training.network, None, SupervisionConfig(transport_warmup=0)).eval()
    large = training.targets(output, made, 10).masks
    assert not torch.equal(large.instance, plain.targets(output, made, 10).masks.instance)
    losses, masks = training(made, 10)
    assert torch.equal(masks.panoptic, large.panoptic)
    sum(losses.values()).backward()
    for name, parameter in training.named_parameters():
        assert parameter.grad is not None or not parameter.requires_grad, name


@pytest.mark.parametrize("scale", [0.5, 5.0, float("nan")])
def test_a_scale_out_of_range_is_refused(scale):
    with pytest.raises(ValueError, match=r"scale must lie in \[1, 4\]"):
        SupervisionConfig(scale=scale)


def test_classes_that_are_left_out_have_no_probability():
    logits = torch.randn(3, 2, 4, 5, 6, dtype=torch.float64)
    classes = torch.tensor([[True, False, True, True], [False, True, False, False]])
    probability = among(logits, classes).softmax(-3)
    assert not probability.masked_select(~classes[:, :, None, None]).any()
    expected = logits[:, 0, [0, 2, 3]].softmax(-3)
    torch.testing.assert_close(probability[:, 0, [0, 2, 3]], expected)
    assert among(logits, None) is logits


@pytest.mark.parametrize("scale", [1.0, 2.0])
def test_only_clicked_classes_are_in_the_masks_and_the_losses(scale):
    supervision = SupervisionConfig(transport_warmup=0, scale=scale, clicked_classes=True)
    torch.manual_seed(0)
    training = TrainingModule(shake(PanopticNetwork(tiny())), None, supervision).eval()
    made = make_batch(dtype=torch.float32)
    clicked = set(made.points.category.flatten().tolist())
    absent = [c for c in range(5) if c not in clicked]
    assert absent
    bias = training.network.semantic_bias
    with torch.no_grad():
        bias[absent] = 100.0  # without the option all pixels were theirs
    losses, masks = training(made, 10)
    assert set(masks.semantic.unique().tolist()) <= clicked | {-1}
    names = ("semantic_point", "semantic_lab", "semantic_tree")
    sum(losses[name] for name in names).backward()
    assert not bias.grad[absent].any()
    assert bias.grad[sorted(clicked)].all()
