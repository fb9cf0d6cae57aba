"""Everything that a run is made of, from a YAML file and the command line."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from math import inf
from pathlib import Path
from typing import Annotated, Any, Literal

from point2mask import recipes
from point2mask.data.augment import AugmentConfig
from point2mask.data.errors import DataError
from point2mask.data.fields import flatten, override, parse, to_plain
from point2mask.data.files import write_bytes
from point2mask.data.points import read_point_categories
from point2mask.data.records import read_categories
from point2mask.data.training import DataConfig
from point2mask.data.yaml_file import parse_yaml, read_yaml
from point2mask.losses.config import AnyLossConfig
from point2mask.messages import shown
from point2mask.models.backbone import check_backbone
from point2mask.models.config import AnyNetworkConfig, MergeConfig
from point2mask.pseudo_masks import SupervisionConfig
from point2mask.ranges import Checked, Count, Length, Range, Seed

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

Epochs = Annotated[int, Range(1, 10**6)]

# The same for a run that is finished and stays as it is: what it found is of all the rest.
FINISHED = ("data.root", "data.workers", "data.skip_broken", "report", "schedule.accumulation")

# The parts of a run that are to the letter of the published code with ``published: true``, a short
# form in recipes and on the command line. Otherwise they have the mends of docs/fidelity.md.
PUBLISHED = ("network", "loss", "supervision")


@dataclass(frozen=True, kw_only=True)
class ScheduleConfig(Checked):
    """Optimisation; the defaults are the published ones for VOC."""

    # Of the run; an epoch is then an equal part of it, and no pass over the images, of which few
    # would make too few steps.
    steps: Count | None = None
    epochs: Epochs = 24
    # The learning rate falls to a tenth after these epochs.
    milestones: Annotated[tuple[Epochs, ...], Length(0, 100)] = (15, 20)
    batch_size: Annotated[int, Range(1, 2**16)] = 8  # images a step, over all processes
    # Parts in which a process works off its share of a step. A part's losses are divided by its own
    # counts of things, clicks and the like: their mean is close to the loss of the whole step.
    accumulation: Annotated[int, Range(1, 2**16)] = 1
    learning_rate: Annotated[float, Range(0, 10, open_low=True)] = 1e-4  # of AdamW
    # A tenth for the backbone, for sampling offsets and for reference points, as published.
    slow_factor: Annotated[float, Range(0, 10, open_low=True)] = 0.1
    weight_decay: Annotated[float, Range(0, 10)] = 1e-4
    # Largest L2 norm of the gradient.
    clip_norm: Annotated[float, Range(0, inf, open_low=True)] = 0.1
    # Of averaged weights, which are then evaluated; 0 = none.
    ema_decay: Annotated[float, Range(0, 1, open_high=True)] = 0.0
    precision: Literal["float32", "bfloat16"] = "float32"

    def check(self) -> None:
        if list(self.milestones) != sorted(set(self.milestones)):
            raise ValueError(f"milestones: expected epochs that ascend, got {self.milestones}")
        if self.steps is not None and self.steps < self.epochs:
            raise ValueError(
                f"steps: expected at least one an epoch, so {self.epochs}, got {self.steps}"
            )
        if self.batch_size % self.accumulation:
            raise ValueError(
                f"batch_size: expected a multiple of accumulation={self.accumulation}, got "
                f"{self.batch_size}"
            )


@dataclass(frozen=True, kw_only=True)
class ReportConfig(Checked):
    """What a run tells and keeps."""

    log_steps: Count = 50  # steps between lines and scalars
    evaluate_epochs: Count = 1  # epochs between evaluations; the last epoch is always evaluated
    evaluate_images: Count | None = None  # the first so many images, but all after the last epoch
    checkpoint_steps: Count = 1000  # steps between checkpoints, beside one after every epoch
    keep_checkpoints: Annotated[int, Range(1, 10**6)] = 3  # the last so many
    pictures: Annotated[int, Range(0, 1000)] = 4  # examples an evaluation


@dataclass(frozen=True, kw_only=True)
class RunConfig(Checked):
    """A whole run. Read from a file, the losses are those of the network's architecture."""

    data: DataConfig
    network: AnyNetworkConfig
    loss: AnyLossConfig
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    supervision: SupervisionConfig = field(default_factory=SupervisionConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    merge: MergeConfig = field(default_factory=MergeConfig)
    report: ReportConfig = field(default_factory=ReportConfig)
    seed: Seed = 0

    def check(self) -> None:
        if self.loss.architecture != self.network.architecture:
            raise ValueError(
                f"loss.architecture: expected that of the network, {self.network.architecture}, "
                f"got {self.loss.architecture}"
            )
        if self.supervision.pseudo_masks.learned and not self.network.click_layers:
            raise ValueError(
                "network.click_layers: expected at least 1 for what supervision.pseudo_masks takes "
                "from the click branch, got 0"
            )
        if not self.network.semantic_layers:
            raise ValueError("network.semantic_layers: expected at least 1 to train with, got 0")
        if self.supervision.kind == "masks" and self.data.train.annotations is None:
            raise ValueError(
                "data.train.annotations: expected true masks for supervision.kind=masks, got none"
            )


def load_config(
    recipe: str | Path, overrides: Sequence[str] = (), needs_weights: bool = True
) -> RunConfig:
    """The configuration of a recipe, by name, or of a YAML file, with ``key.sub=value`` on top.

    ``published: true`` sets ``network.published``, ``loss.published`` and
    ``supervision.published``.

    Args:
        recipe: name or file.
        overrides: each ``key.sub=value``.
        needs_weights: whether the file of the backbone's weights has to be there; a run that goes
            on from a checkpoint has all of its own.

    Raises:
        DataError: no YAML, a wrong ``key=value``, a backbone that timm does not have, or as
            :func:`~point2mask.data.fields.parse`.
    """
    values = read_yaml(recipes.find(recipe))
    known = {entry.name for entry in fields(RunConfig)} | {"published"}
    if values and not known & values.keys():
        got = shown(next(iter(values)))
        raise DataError(f"{recipe}: expected a recipe, with keys such as data, got {got}")
    given = []
    for entry in overrides:
        key, equals, text = entry.partition("=")
        if not equals or not all(key.split(".")):
            raise DataError(f"expected key=value, got {shown(entry)}")
        override(values, key, parse_yaml(text, shown(entry)))
        given.append(key)
    _count_classes(values)
    try:
        return _config_of(values, needs_weights)
    except DataError as error:
        # Keys of the command line are found there; of the others the file is named.
        path = str(error).partition(":")[0]
        if any(path.startswith(key) or key.startswith(path) for key in given):
            raise
        raise DataError(f"{recipe}: {error}") from error


def _config_of(values: dict[str, Any], needs_weights: bool) -> RunConfig:
    """The configuration that plain values say; they are changed."""
    published = values.pop("published", False)
    if not isinstance(published, bool):
        raise DataError(f"published: expected true or false, got {shown(published)}")
    for part in PUBLISHED if published else ():
        override(values, f"{part}.published", True)
    config = parse(RunConfig, values)
    backbone = config.network.backbone
    try:
        check_backbone(backbone if needs_weights else replace(backbone, pretrained="none"))
    except ValueError as error:
        raise DataError(f"network.backbone.{error}") from error
    return config


def _count_classes(values: dict[str, Any]) -> None:
    """Replaces ``num_things: null`` and ``num_stuff: null`` by what the training data has."""
    try:
        network, data = values["network"], values["data"]
        train = data["train"]
        absent = [name for name in ("num_things", "num_stuff") if network.get(name, 0) is None]
        name = train.get("annotations") or train.get("points")
        path = Path(data.get("root", ".")) / name if absent else None
    except (KeyError, TypeError, AttributeError):
        return  # not of the layout: what is wrong is said when it is parsed
    if path is not None:
        # Clicks are read with the changes that the annotation page has not brought into the file.
        found = (read_categories if train.get("annotations") else read_point_categories)(path)
        kinds = [category.isthing for category in found.values()]
        counts = {"num_things": sum(kinds), "num_stuff": len(kinds) - sum(kinds)}
        network.update({name: counts[name] for name in absent})


def warm_ups(config: RunConfig) -> dict[str, int]:
    """Steps until all losses count in full, and until masks are made as they are in the end."""
    found = {"loss.warmup_iterations": config.loss.warmup_iterations}
    supervision = config.supervision
    if supervision.kind == "points" and supervision.warms_up:
        found["supervision.transport_warmup"] = supervision.transport_warmup
    return found


def unfinished_warm_ups(config: RunConfig, total: int) -> list[str]:
    """What to say of a run of ``total`` steps that ends before it learns in full."""
    waits = [(name, steps, "in full") for name, steps in warm_ups(config).items()]
    if (start := config.supervision.masks_from) is not None:
        waits.append(("supervision.own_masks_from", start, "from masks of its own"))
    return [
        f"{name}={steps}, but the run ends after {total} steps: it never learns {how}; make it "
        "longer by schedule.steps"
        for name, steps, how in waits
        if steps >= total
    ]


def save_config(path: Path, config: RunConfig) -> None:
    """Writes YAML that :func:`load_config` reads back to the same configuration."""
    import yaml

    write_bytes(path, yaml.safe_dump(to_plain(config), sort_keys=False).encode())


def _named(value: Any) -> Any:
    """A value; of whole paths and URLs the last two names."""
    if isinstance(value, str) and (Path(value).is_absolute() or "://" in value):
        return Path(value).parts[-2:]
    return value


def check_resumable(
    saved: RunConfig, given: RunConfig, changeable: Sequence[str] = CHANGEABLE
) -> None:
    """That a run can go on with another configuration.

    Files of the data may have moved: of whole paths the last two names count.

    Raises:
        DataError: a value differs that decides what is computed.
    """
    before, after = flatten(to_plain(saved)), flatten(to_plain(given))
    if given.schedule.steps is not None:  # epochs are parts of them: the rate would be another
        changeable = [key for key in changeable if key != "schedule.epochs"]
    for path in sorted(before.keys() | after.keys()):
        free = any(path == key or path.startswith(f"{key}.") for key in changeable)
        values = before.get(path), after.get(path)
        if path.startswith("data."):
            values = _named(values[0]), _named(values[1])
        if not free and values[0] != values[1]:
            raise DataError(
                f"{path}: the run to be taken up again has {before.get(path)!r}, "
                f"got {shown(after.get(path))}"
            )
