"""pseudo_masks: nothing in it makes a GPU wait, and a batch takes no more calls than an image."""

import math

import pytest
import torch
from pseudo_mask_cases import CLASSES, IS_THING, random_case, random_partition
from torch.utils._python_dispatch import TorchDispatchMode
from transfers import pretended_cuda

from point2mask.pseudo_masks import (
    MAP_ASSIGNERS,
    SUPPLIES,
    PointBatch,
    PseudoMaskOptions,
    TransportOptions,
    pseudo_masks,
)


class HostReads(TorchDispatchMode):
    """Counts what would stop a GPU: values read back, and outputs sized by values."""

    NAMES = ("_local_scalar_dense", "nonzero", "masked_select", "unique", "is_nonzero", "equal")

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if any(name in str(func) for name in self.NAMES):
            self.seen.append(str(func))
        return func(*args, **(kwargs or {}))


class CallCount(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += 1
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("scheme", SUPPLIES)
@pytest.mark.parametrize("assigner", MAP_ASSIGNERS)
def test_reads_no_value_back_and_calls_no_more_for_more_images(assigner, scheme):
    options = PseudoMaskOptions(assigner=assigner, transport=TransportOptions(supplies=scheme))
    semantic, boundary, feature, targets = random_case(10)
    counts = []
    for images in (1, 3):
        stated = [math.nan, *[500.0] * (len(targets) - 1)]
        points = PointBatch.from_lists([targets] * images, [stated] * images)
        with HostReads() as reads, CallCount() as calls:
            pseudo_masks(
                semantic.expand(images, -1, -1, -1),
                points,
                IS_THING,
                boundary_logits=boundary.expand(images, -1, -1),
                feature=feature.expand(images, -1, -1, -1),
                areas=torch.ones(points.category.shape, dtype=torch.float64),
                partition=random_partition(len(targets)).expand(images, -1, -1, -1),
                options=options,
            )
        assert reads.seen == []
        counts.append(calls.count)
    assert counts[0] == counts[1]


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("scheme", SUPPLIES)
@pytest.mark.parametrize("assigner", MAP_ASSIGNERS)
def test_a_gpu_is_never_waited_for(assigner, scheme, padded):
    """Not even by a copy of a number from the host; so the step can be captured in a graph."""
    options = PseudoMaskOptions(
        assigner=assigner, class_penalty=1.0, transport=TransportOptions(supplies=scheme)
    )
    with pretended_cuda() as transfers:

        def maps(*shape):
            return torch.empty(shape, device="cuda")

        category = torch.empty((2, 5), dtype=torch.int64, device="cuda")
        points = PointBatch(maps(2, 5, 3, 2), category, maps(2, 5))
        result = pseudo_masks(
            maps(2, CLASSES, 96, 112),
            points,
            torch.empty(CLASSES, dtype=torch.bool, device="cuda"),
            boundary_logits=maps(2, 24, 28),
            feature=maps(2, 8, 24, 28),
            low_level=maps(2, 6, 7),
            image_size=torch.empty((2, 2), dtype=torch.int32, device="cuda") if padded else None,
            areas=maps(2, 5),
            partition=maps(2, 5, 96, 112),
            options=options,
        )
    assert result.panoptic.device.type == "cuda"
    assert transfers.seen == []


def test_transfers_are_noticed():
    with pretended_cuda() as transfers:
        there = torch.ones(2, device="cuda")
        there.new_tensor([1.0, 2.0])
        torch.tensor([1, 2], device="cuda")
        there[:] = torch.ones(2)
        there.cpu()
    assert len(transfers.seen) == 4
