"""One step of training: every supervision trains every parameter, and a picture can be learned."""

from dataclasses import replace

import pytest
import torch
from networks import TINY_MASK2FORMER, TINY_MASKDINO, shake, tiny
from training import SIZES, make_batch, take

from point2mask.losses import SegformerLossConfig, published_losses
from point2mask.models import PanopticNetwork, make_network
from point2mask.pseudo_masks import (
    PseudoMaskOptions,
    SupervisionConfig,
    pseudo_masks,
    sobel_lab_edges,
)
from point2mask.pseudo_masks.grower import image_edges
from point2mask.train.errors import RunAwayError
from point2mask.train.module import TrainingModule

LATE = 10**6
POINTS = {
    name: SupervisionConfig(pseudo_masks=PseudoMaskOptions(assigner=name))
    for name in ("transport", "shortest_path", "nearest")
}
SUPERVISIONS = {"masks": SupervisionConfig(kind="masks"), **POINTS}


PUBLISHED = SegformerLossConfig()


def module(supervision, losses=PUBLISHED, **network):
    torch.manual_seed(0)
    return TrainingModule(shake(PanopticNetwork(tiny(**network))), losses, supervision)


def assert_trained(training, losses):
    """Every parameter that is trained gets a finite gradient of the losses."""
    sum(losses.values()).backward()
    for name, parameter in training.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name


@pytest.mark.parametrize("activation", ["relu", "sigmoid"])
@pytest.mark.parametrize("name", SUPERVISIONS)
def test_a_step_trains_every_parameter(name, activation):
    training = module(SUPERVISIONS[name], mask_activation=activation)
    losses, masks = training(make_batch(dtype=torch.float32), LATE)
    assert all(loss.dim() == 0 and loss.isfinite() for loss in losses.values())
    assert_trained(training, losses)
    assert (masks.area[:, :3] > 0).any()
    for loss_name, loss in losses.items():
        torch.testing.assert_close(training.image_losses[loss_name].sum(), loss.detach())


@pytest.mark.parametrize("kind", ["points", "masks"])
def test_a_published_step_trains_every_parameter(kind):
    supervision = SupervisionConfig(kind=kind, published=True)
    training = module(supervision, SegformerLossConfig(published=True), published=True)
    losses, _ = training(make_batch(dtype=torch.float32, fill=float("nan")), 0)
    assert_trained(training, losses)
    black, _ = training.eval()(make_batch(dtype=torch.float32), 0)
    nan, _ = training(make_batch(dtype=torch.float32, fill=float("nan")), 0)
    torch.testing.assert_close(black, nan)


@pytest.mark.parametrize("config", [TINY_MASK2FORMER, TINY_MASKDINO], ids=lambda c: c.architecture)
@pytest.mark.parametrize("name", SUPERVISIONS)
def test_a_step_trains_every_parameter_of_networks_of_segments(name, config):
    torch.manual_seed(0)
    network = shake(make_network(config))
    training = TrainingModule(network, published_losses(config.architecture), SUPERVISIONS[name])
    losses, masks = training(make_batch(dtype=torch.float32, fill=float("nan")), LATE)
    assert_trained(training, losses)
    assert (masks.area[:, :3] > 0).any()


@pytest.mark.parametrize("kind", ["points", "masks"])
@pytest.mark.parametrize(
    "config", [tiny(), TINY_MASK2FORMER, TINY_MASKDINO], ids=lambda c: c.architecture
)
def test_a_step_trains_every_parameter_of_a_click_branch(config, kind):
    learned = PseudoMaskOptions(assigner="learned")
    torch.manual_seed(0)
    network = shake(make_network(replace(config, click_layers=2)))
    supervision = SupervisionConfig(kind=kind, pseudo_masks=learned)
    training = TrainingModule(network, published_losses(config.architecture), supervision)
    losses, masks = training(make_batch(dtype=torch.float32, fill=float("nan")), LATE)
    assert "click_point" in losses
    assert ("click_mask" in losses) == (kind == "points")
    assert_trained(training, losses)
    assert (masks.area[:, :3] > 0).any()
    no_weights = {name: 0.0 for name in PUBLISHED.of_clicks}
    losses = replace(published_losses(config.architecture), **no_weights)
    frozen = TrainingModule(network, losses, supervision).network.click_decoder
    assert not any(p.requires_grad for p in frozen.parameters())


def test_a_published_step_has_a_click_branch_too():
    """On its grid, whose cells span every image."""
    supervision = SupervisionConfig(
        published=True, pseudo_masks=PseudoMaskOptions(assigner="learned")
    )
    losses = SegformerLossConfig(published=True)
    training = module(supervision, losses, published=True, click_layers=2)
    losses, masks = training(make_batch(dtype=torch.float32, fill=float("nan")), LATE)
    assert_trained(training, losses)
    assert (masks.area[:, :3] > 0).any()


def test_padding_pixels_are_not_read():
    training = module(SUPERVISIONS["shortest_path"]).eval()
    black = training(make_batch(dtype=torch.float32), LATE)
    nan = training(make_batch(dtype=torch.float32, fill=float("nan")), LATE)
    torch.testing.assert_close(black[0], nan[0])
    assert torch.equal(black[1].panoptic, nan[1].panoptic)


def test_true_masks_are_returned():
    batch = make_batch(dtype=torch.float32)
    _, masks = module(SUPERVISIONS["masks"])(batch, 0)
    assert torch.equal(masks.panoptic, batch.truth)


def test_points_need_no_truth_and_masks_do():
    batch = replace(make_batch(dtype=torch.float32), truth=None)
    module(SUPERVISIONS["transport"])(batch, 0)
    with pytest.raises(ValueError, match=r"batch\.truth"):
        module(SUPERVISIONS["masks"])(batch, 0)


def test_a_network_that_has_run_away_is_told_by_its_maps_not_by_words(monkeypatch):
    training, batch = module(SUPERVISIONS["transport"]), make_batch(dtype=torch.float32)

    def refuse(*arguments):
        raise ValueError("sigma must be finite, got NaN")

    with monkeypatch.context() as patch:
        patch.setattr(training, "targets", refuse)
        with pytest.raises(ValueError, match="sigma") as raised:
            training(batch, LATE)
        assert raised.type is ValueError
    with torch.no_grad():
        training.network.semantic_bias.fill_(torch.nan)
    with pytest.raises(RunAwayError, match=r"^geodesic_distance: edge_cost must not be"):
        training(batch, LATE)


def test_phases():
    supervision = SupervisionConfig(transport_warmup=5)
    assert supervision.at(4).assigner == "nearest"
    assert supervision.at(5).assigner == "transport"
    assert replace(supervision, published=True).at(4).assigner == "first_phase"
    psps = replace(supervision, pseudo_masks=PseudoMaskOptions(assigner="shortest_path"))
    assert psps.at(0).assigner == "shortest_path"
    with pytest.raises(ValueError, match=r"^kind: expected one of points, masks, got 'boxes'$"):
        SupervisionConfig(kind="boxes")


@pytest.mark.parametrize("name", POINTS)
def test_maps_that_grow_the_masks(name, monkeypatch):
    """PSPS has the edges of the picture where the others have the learned boundary."""
    given = {}

    def spy(*arguments, **named):
        given.update(named)
        return pseudo_masks(*arguments, **named)

    monkeypatch.setattr("point2mask.pseudo_masks.grower.pseudo_masks", spy)
    module(POINTS[name])(make_batch(dtype=torch.float32), LATE)
    psps = name == "shortest_path"
    assert (given["boundary_logits"] is None) == psps
    assert (given["low_level"] is not None) == psps
    assert given["feature"] is not None
    assert given["options"].assigner == name


def test_classes_without_a_click_have_no_part_in_masks_and_losses():
    made = make_batch(dtype=torch.float32)
    clicked = set(made.points.category.flatten().tolist())
    absent = [c for c in range(len(made.is_thing)) if c not in clicked]
    plain = SupervisionConfig(transport_warmup=0)
    training = module(replace(plain, clicked_classes=True)).eval()
    bias = training.network.semantic_bias
    names = ("semantic_point", "semantic_lab", "semantic_tree")

    def run():
        losses, masks = training(made, LATE)
        return torch.stack([losses[name] for name in names]), masks.panoptic

    before = run()
    with torch.no_grad():
        bias[absent] = 100.0
    after = run()
    torch.testing.assert_close(before, after, rtol=0, atol=0)
    after[0].sum().backward()
    assert not bias.grad[absent].any()
    assert bias.grad[sorted(clicked)].all()
    training.grower.supervision = plain
    assert run()[0][0] > 2 * after[0][0]


def test_heads_without_a_loss_are_frozen():
    training = module(SUPERVISIONS["transport"], SegformerLossConfig(boundary=0.0, contrast=0.0))
    losses, _ = training(make_batch(dtype=torch.float32), LATE)
    assert not losses.keys() & {"boundary", "contrast"}
    assert not any(p.requires_grad for p in training.network.pseudo_mask_heads.parameters())


def test_edges_of_an_image_do_not_depend_on_the_batch():
    batch = make_batch(fill=float("nan"))
    edges = image_edges(batch.images, tuple(SIZES), PseudoMaskOptions())
    assert edges.shape == (2, 6, 8)
    for b in range(2):
        alone = take(batch, b).images
        h, w = alone.shape[-2] // 16, -(-alone.shape[-1] // 16)
        if alone.shape[-1] % 16 == 0:  # whole cells: the published map of the image alone
            torch.testing.assert_close(edges[b, :h, :w], sobel_lab_edges(alone, h, w)[0])
        assert not edges[b, h:].any()
        assert not edges[b, :, w:].any()


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("masks", tiny(mask_activation="sigmoid", dropout=0.0)),
        ("transport", tiny(dropout=0.0)),
        ("masks", TINY_MASKDINO),
    ],
    ids=["masks-sigmoid", "transport-relu", "masks-maskdino"],
)
def test_one_picture_is_learned(name, config):
    """The loss falls within 30 steps, although masks grown from points change with the network."""
    supervision = replace(SUPERVISIONS[name], transport_warmup=0)
    torch.manual_seed(0)
    losses = replace(published_losses(config.architecture), warmup_iterations=0)
    training = TrainingModule(make_network(config), losses, supervision)
    batch = take(make_batch(dtype=torch.float32), 0)
    optimizer = torch.optim.AdamW(training.parameters(), 2e-3)
    history = []
    for step in range(1, 31):
        losses, _ = training(batch, step)
        total = sum(losses.values())
        optimizer.zero_grad()
        total.backward()
        torch.nn.utils.clip_grad_norm_(training.parameters(), 1.0)
        optimizer.step()
        history.append(total.item())
    assert history[-1] < 0.6 * history[0]
