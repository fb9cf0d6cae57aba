"""What every network does alike: an image in a batch, on a canvas of NaN, is an image alone."""

from collections.abc import Callable, Collection

import torch
from networks import batch
from torch import Tensor

from point2mask.models import MergeConfig, NetworkOutput, PointNetwork, predict
from point2mask.models.export import export_network

SIZES = [(97, 130), (64, 64), (33, 70), (64, 64)]
CANVAS = (104, 150)

Everything = Callable[[PointNetwork, Tensor, Tensor], dict[str, Tensor]]


def maps_of(output: NetworkOutput) -> dict[str, Tensor]:
    """What masks are grown from, the batch second."""
    return {
        "semantics": output.semantics.logits,
        "presence": output.semantics.presence_logits,
        "boundary": output.boundary_logits[None],
        "features": output.features[None],
    }


@torch.no_grad()
def check_batches(
    everything: Everything,
    network: PointNetwork,
    maps: Collection[str],
    sizes: list[tuple[int, int]] = SIZES,
) -> None:
    """All that a network says, the batch second; ``maps`` are compared where the image is."""
    images, image_size = batch(sizes, CANVAS)
    together = everything(network, images, image_size)
    for b, (h, w) in enumerate(sizes):
        alone = everything(network, images[b : b + 1, :, :h, :w], image_size[b : b + 1])
        for name, expected in alone.items():
            found = together[name][:, b]
            if name in maps:
                found = found[..., : expected.shape[-2], : expected.shape[-1]]
            torch.testing.assert_close(found, expected[:, 0], rtol=1e-8, atol=1e-8)


@torch.no_grad()
def check_predictions(network: PointNetwork, merge: MergeConfig, segments: int) -> None:
    """There are more than so many segments, with their areas, and of stuff one a class."""
    images, image_size = batch(SIZES, CANVAS)
    together = predict(network, images, image_size, config=merge, semantic=True)
    assert sum(len(p.segments) for p in together) > segments
    for b, (h, w) in enumerate(SIZES):
        single = images[b : b + 1, :, :h, :w]
        (alone,) = predict(network, single, image_size[b : b + 1], config=merge, semantic=True)
        assert torch.equal(together[b].segment_map, alone.segment_map)
        assert torch.equal(together[b].semantic, alone.semantic)
        stuff = [s.label for s in alone.segments if s.label >= 3]
        assert len(stuff) == len(set(stuff))
        for segment in alone.segments:
            assert segment.area == (alone.segment_map == segment.id).sum()


@torch.no_grad()
def exported(network: PointNetwork) -> tuple[dict[str, Tensor], Tensor, Tensor]:
    """What the exported network finds in a picture, and what the network itself takes for it."""
    mean, std = (torch.tensor(v)[:, None, None] for v in ((0.4, 0.5, 0.6), (0.2, 0.3, 0.25)))
    network.backbone.mean.copy_(mean)
    network.backbone.std.copy_(std)
    pictures = torch.rand(1, 3, 45, 70, generator=torch.Generator().manual_seed(1))
    found = export_network(network, (45, 70)).module()(pictures)
    return found, (pictures - mean) / std, torch.tensor([[45, 70]])
