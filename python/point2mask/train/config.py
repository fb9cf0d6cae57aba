"""Everything that a run is made of, from a YAML file and the command line."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from point2mask import recipes
from point2mask.data.augment import AugmentConfig
from point2mask.data.errors import DataError
from point2mask.data.fields import flatten, override, parse, to_plain
from point2mask.data.files import open_regular
from point2mask.data.training import DataConfig
from point2mask.losses.config import LossConfig, check_losses
from point2mask.models.config import AnyNetworkConfig, MergeConfig
from point2mask.pseudo_masks import SupervisionConfig

# What may differ when a run is taken up again: how far, where and how often, but not what.
CHANGEABLE = (
    "data.root",
    "data.workers",
    "data.skip_broken",
    "data.val",
    "merge",
    "report",
    "schedule.accumulation",
    "schedule.epochs",
)


@dataclass(frozen=True, kw_only=True)
class ScheduleConfig:
    """Optimisation; the defaults are the published ones for VOC."""

    epochs: int = 24
    milestones: tuple[int, ...] = (15, 20)  # the learning rate falls to a tenth after these epochs
    batch_size: int = 8  # images a step, over all processes
    # Parts in which a process works off its share of a step. A part's losses are divided by its own
    # counts of things, clicks and the like: their mean is close to the loss of the whole step.
    accumulation: int = 1
    learning_rate: float = 1e-4  # of AdamW
    # A tenth for the backbone, for sampling offsets and for reference points, as published.
    slow_factor: float = 0.1
    weight_decay: float = 1e-4
    clip_norm: float = 0.1  # largest L2 norm of the gradient
    ema_decay: float = 0.0  # of averaged weights, which are then evaluated; 0 = none
    precision: Literal["float32", "bfloat16"] = "float32"

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "accumulation"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("learning_rate", "slow_factor", "clip_norm"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be above 0, got {getattr(self, name)}")
        if not 0 <= self.ema_decay < 1:
            raise ValueError(f"ema_decay must be in [0, 1), got {self.ema_decay}")
        if list(self.milestones) != sorted(self.milestones):
            raise ValueError(f"milestones must ascend, got {list(self.milestones)}")


@dataclass(frozen=True, kw_only=True)
class ReportConfig:
    """What a run tells and keeps."""

    log_steps: int = 50  # steps between lines and scalars
    evaluate_epochs: int = 1  # epochs between evaluations; the last epoch is always evaluated
    evaluate_images: int | None = None  # the first so many images, but all after the last epoch
    checkpoint_steps: int = 1000  # steps between checkpoints, beside one after every epoch
    keep_checkpoints: int = 3  # the last so many
    pictures: int = 4  # examples an evaluation

    def __post_init__(self) -> None:
        for name in ("log_steps", "evaluate_epochs", "checkpoint_steps", "keep_checkpoints"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    data: DataConfig
    network: AnyNetworkConfig
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    supervision: SupervisionConfig = field(default_factory=SupervisionConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    merge: MergeConfig = field(default_factory=MergeConfig)
    report: ReportConfig = field(default_factory=ReportConfig)
    seed: int = 0

    def __post_init__(self) -> None:
        check_losses(self.loss, self.network.architecture)


def load_config(recipe: str | Path, overrides: Sequence[str] = ()) -> RunConfig:
    """The configuration of a recipe, by name, or of a YAML file, with ``key.sub=value`` on top.

    Raises:
        DataError: no YAML, a wrong ``key=value``, or as :func:`~point2mask.data.fields.parse`.
    """
    values = _read_yaml(recipes.find(recipe))
    for entry in overrides:
        key, equals, text = entry.partition("=")
        if not equals or not all(key.split(".")):
            raise DataError(f"expected key=value, got {entry!r}")
        override(values, key, _parse_yaml(text, entry))
    return parse(RunConfig, values)


def save_config(path: Path, config: RunConfig) -> None:
    """Writes YAML that :func:`load_config` reads back to the same configuration."""
    import yaml

    beside = path.with_suffix(".tmp")
    beside.write_text(yaml.safe_dump(to_plain(config), sort_keys=False), encoding="utf-8")
    os.replace(beside, path)


def check_resumable(saved: RunConfig, given: RunConfig) -> None:
    """That a run can go on with another configuration.

    Raises:
        DataError: a value differs that decides what is computed.
    """
    before, after = flatten(to_plain(saved)), flatten(to_plain(given))
    for path in sorted(before.keys() | after.keys()):
        free = any(path == key or path.startswith(f"{key}.") for key in CHANGEABLE)
        if not free and before.get(path) != after.get(path):
            raise DataError(
                f"{path}: the run to be taken up again has {before.get(path)!r}, "
                f"got {after.get(path)!r}"
            )


def _read_yaml(path: Path) -> dict[str, Any]:
    with open_regular(path, "a YAML configuration") as file:
        content = file.read()
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: expected UTF-8 text ({error})") from error
    values = _parse_yaml(text, str(path))
    if not isinstance(values, dict):
        raise DataError(f"{path}: expected keys and values")
    return values


def _parse_yaml(text: str, place: str) -> Any:
    """As ``yaml.safe_load``, but a key that stands twice is an error."""
    import yaml

    class Loader(yaml.SafeLoader):  # type: ignore[misc]
        def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> Any:
            keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
            for key in keys:
                if keys.count(key) > 1:
                    raise DataError(f"{place}: the key {key!r} stands there twice")
            return super().construct_mapping(node, deep)

    try:
        return yaml.load(text, Loader)  # a SafeLoader
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{place}: expected YAML ({reason})") from error
