"""The pseudo-label step and a whole training step on a GPU, beside the CPU."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from networks import shake, tiny
from torch import Tensor
from training import make_batch

from point2mask.losses import SegformerLossConfig
from point2mask.models import PanopticNetwork
from point2mask.pseudo_masks import (
    MAP_ASSIGNERS,
    SUPPLIES,
    PointBatch,
    PseudoMaskOptions,
    PseudoMasks,
    SupervisionConfig,
    TransportOptions,
    pseudo_masks,
)
from point2mask.train.module import TrainingModule

CLASSES, THINGS, TARGETS = 6, 4, 5
SIZE = (2, 96, 112)
Inputs = dict[str, Tensor]


@contextmanager
def no_waiting(device: str) -> Iterator[None]:
    """Every call by which torch waits for a GPU is an error; nothing to watch on the CPU."""
    if device != "cuda":
        yield
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch says once that this mode is a prototype
        torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def make_inputs(seed: int, device: str) -> Inputs:
    """Smooth maps of two images, the second with padding, four things and one stuff class each."""
    generator = torch.Generator().manual_seed(seed)
    images, height, width = SIZE

    def smooth(channels: int, scale: float) -> Tensor:
        coarse = torch.randn(images, channels, 5, 6, generator=generator) * scale
        return torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic")

    category = torch.randint(0, THINGS, (images, TARGETS), generator=generator)
    category[:, -1] = THINGS
    place = torch.rand(images, TARGETS, 1, 2, generator=generator)
    inputs = {
        "semantic": smooth(CLASSES, 3.0).softmax(1),
        "boundary_logits": smooth(1, 2.0)[:, 0],
        "feature": torch.nn.functional.normalize(smooth(8, 1.0), dim=1),
        "xy": place * torch.tensor([width, 80.0]),
        "category": category,
        "is_thing": torch.arange(CLASSES) < THINGS,
        "image_size": torch.tensor([[height, width], [80, width]]),
        "areas": 100 + 1000 * torch.rand(images, TARGETS, generator=generator),
        "partition": smooth(TARGETS, 3.0),
    }
    return {name: value.to(device) for name, value in inputs.items()}


def grow(inputs: Inputs, options: PseudoMaskOptions) -> PseudoMasks:
    return pseudo_masks(
        inputs["semantic"],
        PointBatch(inputs["xy"], inputs["category"]),
        inputs["is_thing"],
        boundary_logits=inputs["boundary_logits"],
        feature=inputs["feature"],
        image_size=inputs["image_size"],
        areas=inputs["areas"],
        partition=inputs["partition"],
        options=options,
    )


def results(masks: PseudoMasks) -> list[Tensor]:
    return [masks.instance, masks.semantic, masks.panoptic, masks.area, masks.box]


every_way = pytest.mark.parametrize(
    "options",
    [
        pytest.param(
            PseudoMaskOptions(
                assigner=assigner, class_penalty=1.0, transport=TransportOptions(supplies=scheme)
            ),
            id=f"{assigner}-{scheme}",
        )
        for assigner in MAP_ASSIGNERS
        for scheme in (SUPPLIES if assigner == "transport" else ["centroid"])
    ],
)


@every_way
def test_pseudo_masks_never_wait_and_equal_the_cpu(options, device):
    """But for 1 pixel of 200: where two costs are equal to rounding, either target may win."""
    inputs = make_inputs(0, device)
    grow(inputs, options)  # what is set up once may wait
    with no_waiting(device):
        masks = grow(inputs, options)
    want = grow(make_inputs(0, "cpu"), options)
    assert torch.equal(masks.semantic.cpu(), want.semantic)
    assert (masks.instance.cpu() == want.instance).float().mean() > 0.995
    assert (want.area[:, :-1] > 0).any()


@pytest.mark.cuda
@every_way
def test_pseudo_masks_in_a_cuda_graph(options, gpu):
    """Captured once, replayed on other inputs: the bits of the eager calls."""
    inputs = make_inputs(0, gpu)
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            grow(inputs, options)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = results(grow(inputs, options))
    for seed in (1, 2, 0):
        fresh = make_inputs(seed, gpu)
        for name, value in fresh.items():
            inputs[name].copy_(value)
        graph.replay()
        for got, want in zip(captured, results(grow(fresh, options)), strict=True):
            assert torch.equal(got, want)


@pytest.mark.parametrize("seed", [0, 1])
def test_pseudo_masks_give_the_same_bits_in_every_run(seed, device):
    options = PseudoMaskOptions()
    inputs = make_inputs(seed, device)
    first = results(grow(inputs, options))
    for _ in range(99 if device == "cuda" else 1):
        for one, again in zip(first, results(grow(inputs, options)), strict=True):
            assert torch.equal(one, again)


def step(device: str, kind: str) -> tuple[dict[str, float], Tensor]:
    """Losses and the gradient of all parameters in float64, after one step from fixed weights."""
    pytest.importorskip("timm")
    supervision = SupervisionConfig(
        kind="masks" if kind == "masks" else "points",
        pseudo_masks=PseudoMaskOptions(assigner="transport"),
    )
    torch.manual_seed(0)
    network = shake(PanopticNetwork(tiny(dropout=0.0)))
    training = TrainingModule(network, SegformerLossConfig(), supervision)
    training = training.double().to(device)
    losses, _ = training(make_batch().to(torch.device(device)), 10**6)
    sum(losses.values()).backward()
    gradients = [p.grad.flatten() for p in training.parameters() if p.grad is not None]
    values = {name: float(loss.detach()) for name, loss in losses.items()}
    return values, torch.cat(gradients).cpu()


@pytest.mark.parametrize(("kind", "tolerance"), [("masks", 1e-5), ("transport", 2e-2)])
def test_a_training_step_equals_the_cpu(kind, tolerance, device):
    """In float64, relative to each loss and to the whole gradient.

    Masks are grown in float32: a pixel where two targets cost the same to rounding may go to the
    other one, hence the wider tolerance of ``transport``.
    """
    want_losses, want = step("cpu", kind)
    losses, gradient = step(device, kind)
    assert losses.keys() == want_losses.keys()
    for name, loss in losses.items():
        assert loss == pytest.approx(want_losses[name], rel=tolerance, abs=tolerance), name
    assert float((gradient - want).norm()) <= tolerance * float(want.norm())
    assert float(want.norm()) > 0
