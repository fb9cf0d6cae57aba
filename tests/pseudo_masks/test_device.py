"""The step on a GPU, without one: the host neither waits for the device nor hands it values.

Under ``FakeTensorMode`` tensors say that they are on ``cuda`` and have no values: an operation that
needs one (``item``, ``nonzero``, a boolean index) raises. What the mode lets pass is a copy between
host and device; both directions make the host wait, and cannot be captured in a CUDA graph.
"""

import pytest
import torch
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensorMode,
)
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from point2mask.pseudo_masks import (
    ASSIGNERS,
    SUPPLIES,
    PointBatch,
    PseudoMaskOptions,
    TransportOptions,
    pseudo_masks,
)

CLASSES, IMAGES, TARGETS, HEIGHT, WIDTH = 6, 2, 5, 48, 56


class HostTensors(TorchDispatchMode):
    """Operations that read or write a tensor on the host."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        tensors = [t for t in tree_leaves((args, kwargs, result)) if isinstance(t, torch.Tensor)]
        if any(t.device.type == "cpu" for t in tensors):
            self.seen.append(str(func))
        return result


def on_device(padded):
    """Arguments of the step that live on a device."""

    def map_(*shape):
        return torch.empty(IMAGES, *shape, device="cuda")

    points = PointBatch(
        torch.empty(IMAGES, TARGETS, 2, 2, device="cuda"),
        torch.empty(IMAGES, TARGETS, dtype=torch.int64, device="cuda"),
    )
    is_thing = torch.empty(CLASSES, dtype=torch.bool, device="cuda")
    maps = {
        "boundary": map_(HEIGHT // 2, WIDTH // 2),
        "feature": map_(8, HEIGHT // 4, WIDTH // 4),
        "low_level": map_(HEIGHT, WIDTH),
        "areas": map_(TARGETS),
    }
    if padded:
        maps["image_size"] = torch.empty(IMAGES, 2, dtype=torch.int64, device="cuda")
    return (map_(CLASSES, HEIGHT, WIDTH), points, is_thing), maps


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("scheme", SUPPLIES)
@pytest.mark.parametrize("assigner", ASSIGNERS)
def test_the_step_stays_on_the_device(assigner, scheme, padded):
    options = PseudoMaskOptions(
        assigner=assigner, transport=TransportOptions(supplies=scheme), class_penalty=0.5
    )
    with FakeTensorMode():
        arguments, maps = on_device(padded)
        with HostTensors() as host:
            result = pseudo_masks(*arguments, **maps, options=options)
        assert host.seen == []
        assert {t.device.type for t in vars(result).values()} == {"cuda"}


@pytest.mark.parametrize(
    "waits",
    [
        lambda t: t.sum().item(),
        lambda t: bool((t > 0).any()),
        lambda t: t.nonzero(),
        lambda t: t[t > 0],
        lambda t: t.unique(),
        lambda t: t.cpu(),
        lambda t: t.new_tensor([1.0, 2.0]),
        lambda t: t + torch.zeros(3).to(t.device),
    ],
)
def test_what_waits_is_noticed(waits):
    with FakeTensorMode(), HostTensors() as host:
        tensor = torch.empty(3, device="cuda")
        try:
            waits(tensor)
        except (DataDependentOutputException, DynamicOutputShapeException):
            return
    assert host.seen
