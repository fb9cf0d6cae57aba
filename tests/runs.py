"""Small runs: generated pictures, a tiny network, and a module with one loss."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from msgspec import structs
from networks import TINY, TINY_MASK2FORMER, TINY_MASKDINO, shake
from torch import nn

from point2mask.data import read_panoptic, sample_points, write_points
from point2mask.data.augment import AugmentConfig
from point2mask.data.shapes import write_shapes
from point2mask.data.training import DataConfig, SourceConfig
from point2mask.losses import SegformerLossConfig, published_losses
from point2mask.models import BackboneConfig, MergeConfig, PanopticNetwork
from point2mask.predict import Predictor
from point2mask.pseudo_masks import SupervisionConfig
from point2mask.train.config import ReportConfig, RunConfig, ScheduleConfig

SIZE = (32, 48)


def write_data(root: Path, train: int = 6, val: int = 2) -> None:
    write_shapes(root, "train", train, SIZE)
    write_shapes(root, "val", val, SIZE)


def source(split: str) -> SourceConfig:
    return SourceConfig(images=f"images/{split}", annotations=f"annotations/panoptic_{split}.json")


def with_areas(root: Path, config: RunConfig) -> RunConfig:
    """The run from clicks, of which some have areas: every other one of every other image."""
    labels = sample_points(
        read_panoptic(root / "annotations/panoptic_train.json"), 1, 0, area_error=0.3
    )
    for number, (record, targets) in enumerate(labels.images):
        labels.images[number] = (
            record,
            [
                target if (number + k) % 2 and number % 2 else structs.replace(target, area=None)
                for k, target in enumerate(targets)
            ],
        )
    write_points(root / "sized.json", labels)
    train = replace(config.data.train, points="sized.json")
    return replace(config, data=replace(config.data, train=train))


def config(root: Path, **changes: Any) -> RunConfig:
    """Of 3 epochs of 3 steps, on the data of :func:`write_data`."""
    values = RunConfig(
        data=DataConfig(train=source("train"), val=None, root=str(root), workers=0),
        network=replace(
            TINY,
            num_things=6,
            num_stuff=4,
            backbone=BackboneConfig(
                name="tf_efficientnet_lite0", pretrained="none", freeze_stem=False
            ),
        ),
        augment=AugmentConfig(short_sides=(32, 40), max_side=64, test_short_side=32),
        loss=SegformerLossConfig(),
        schedule=ScheduleConfig(epochs=3, milestones=(1,), batch_size=2),
        report=ReportConfig(log_steps=2),
    )
    return replace(values, **changes)


def short(root: Path) -> RunConfig:
    """Of one epoch, without pictures."""
    values = config(root)
    return replace(
        values,
        schedule=replace(values.schedule, epochs=1),
        report=replace(values.report, pictures=0),
    )


def of(architecture: str, config: RunConfig) -> RunConfig:
    """The same run with another network."""
    own = config.network
    if own.architecture == architecture:
        return config
    network = replace(
        {"mask2former": TINY_MASK2FORMER, "maskdino": TINY_MASKDINO}[architecture],
        num_things=own.num_things,
        num_stuff=own.num_stuff,
        backbone=own.backbone,
    )
    return replace(config, network=network, loss=published_losses(architecture))


def predictor(root: Path, augmentation: AugmentConfig, merge: MergeConfig) -> Predictor:
    """With a network that was never trained, of the categories of data that it writes."""
    write_data(root, train=1, val=1)
    categories = read_panoptic(root / "annotations/panoptic_val.json").categories
    torch.manual_seed(0)
    network = shake(PanopticNetwork(config(root).network)).eval()
    return Predictor(network, categories, augmentation, merge, SupervisionConfig())


class Semantic(nn.Module):
    """Cross-entropy of the semantic map at the clicks: the least that a loop can train."""

    def __init__(self, config: RunConfig) -> None:
        super().__init__()
        self.network = PanopticNetwork(config.network)

    def forward(self, batch: Any, step: int) -> tuple[dict[str, torch.Tensor], None]:
        encoded = self.network.encode(batch.images, batch.image_size)
        logits = self.network.decode_semantics(encoded).logits[-1]
        target = torch.full((len(logits), *logits.shape[-2:]), -100)
        points = batch.points
        for b, k, p in points.is_point.nonzero().tolist():
            x, y = (points.xy[b, k, p] // 8).long().tolist()
            target[b, y, x] = points.category[b, k]
        return {"semantic": F.cross_entropy(logits, target)}, None
