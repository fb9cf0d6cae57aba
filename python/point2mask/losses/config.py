"""Weights and constants of the losses, of every architecture."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from point2mask.losses.affinity import PUBLISHED_KERNELS
from point2mask.messages import did_you_mean, shown
from point2mask.ranges import Checked, Length, Range, Weight

Architecture = Literal["panoptic_segformer", "mask2former", "maskdino"]
Kernel = tuple[Annotated[int, Range(3, 99, odd=True)], Weight]  # side of a window, and its weight


@dataclass(frozen=True, kw_only=True)
class PointLossConfig(Checked):
    """What every network learns by: its semantic map and the maps that serve the pseudo masks.

    The defaults are the published values. A loss of weight 0 counts nothing; those of colours,
    boundary and contrast are not computed then.

    Attributes:
        of_things: names of the losses that are scaled by the share of things among the segments to
            be found, as published.
        of_stuff: of those that are scaled by the share of stuff.
        unscaled: of the others.
        of_clicks: of the click branch, which are not scaled either.
    """

    of_things: ClassVar[tuple[str, ...]] = (
        "semantic_presence",
        "semantic_point",
        "semantic_lab",
        "semantic_tree",
    )
    of_stuff: ClassVar[tuple[str, ...]] = ()
    unscaled: ClassVar[tuple[str, ...]] = ("contrast", "boundary")
    of_clicks: ClassVar[tuple[str, ...]] = (
        *("click_point", "click_mask", "click_lab", "click_tree", "click_class"),
    )

    semantic_presence: Weight = 2.0
    semantic_point: Weight = 1.0
    # Whether the classes of an image count alike in it, and not the labelled cells: where one click
    # on the ground stands against forty on things, the map else has things everywhere. Of clicks
    # alone: masks say how much of an image each class has.
    point_by_class: bool = False
    semantic_lab: Weight = 3.0  # λ_color
    semantic_tree: Weight = 3.0  # λ_color
    contrast: Weight = 1.0
    boundary: Weight = 1.0
    # Of a click branch, which is not published: with these the semantic map learns beside it.
    click_point: Weight = 0.5
    click_mask: Weight = 0.5
    click_lab: Weight = 0.3
    click_tree: Weight = 0.3
    click_class: Weight = 0.5
    # Over so many steps the losses grow linearly from 0, but for those named. The published choice
    # (the tree grows, the classes of things do not) follows from substrings of their names there.
    warmup_iterations: Annotated[int, Range(0, 10**9)] = 14659
    warmup_exempt: tuple[str, ...] = ()
    # Of the LAB windows; ((3, 1.0),) with dilation 1 is the supplement's Eq. 4.
    lab_kernels: Annotated[tuple[Kernel, ...], Length(1, 16)] = PUBLISHED_KERNELS
    lab_dilation: Annotated[int, Range(1, 64)] = 2
    tree_sigma: Annotated[float, Range(0, 1e6, open_low=True)] = 0.02  # θ₂
    temperature: Annotated[float, Range(1e-3, 1e3)] = 0.07  # τ of the contrast
    # Contrast, boundary, and what sums are divided by, to the letter of the published code: without
    # the mends that docs/fidelity.md lists.
    published: bool = False

    def check(self) -> None:
        known = self.names()
        for index, name in enumerate(self.warmup_exempt):
            if name not in known:
                raise ValueError(
                    f"warmup_exempt[{index}]: expected one of {', '.join(known)}, got {shown(name)}"
                    + did_you_mean(name, known)
                )

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """All losses, each with a weight of its name."""
        return (*cls.of_things, *cls.of_stuff, *cls.unscaled, *cls.of_clicks)


@dataclass(frozen=True, kw_only=True)
class SegformerLossConfig(PointLossConfig):
    """Losses of Panoptic SegFormer; the entropies are of sigmoid masks, not the published ones."""

    of_things: ClassVar[tuple[str, ...]] = (
        *("thing_class", "thing_box", "thing_giou", "thing_dice", "thing_entropy"),
        *PointLossConfig.of_things,
    )
    of_stuff: ClassVar[tuple[str, ...]] = ("stuff_class", "stuff_dice", "stuff_entropy")

    architecture: Literal["panoptic_segformer"] = "panoptic_segformer"
    thing_class: Weight = 2.0
    thing_box: Weight = 5.0
    thing_giou: Weight = 2.0
    thing_dice: Weight = 2.0
    thing_entropy: Weight = 2.0
    stuff_class: Weight = 4.0  # published as 2, twice
    stuff_dice: Weight = 2.0
    stuff_entropy: Weight = 2.0
    match_class: Weight = 2.0
    match_box: Weight = 5.0
    match_giou: Weight = 2.0
    warmup_exempt: tuple[str, ...] = (
        *("thing_class", "semantic_presence", "semantic_point", "semantic_lab", "contrast"),
    )


@dataclass(frozen=True, kw_only=True)
class Mask2FormerLossConfig(PointLossConfig):
    """Losses of Mask2Former, whose segments are things and stuff alike."""

    unscaled: ClassVar[tuple[str, ...]] = (
        *("segment_class", "segment_dice", "segment_entropy"),
        *PointLossConfig.unscaled,
    )

    architecture: Literal["mask2former"] = "mask2former"
    segment_class: Weight = 2.0
    segment_dice: Weight = 5.0
    segment_entropy: Weight = 5.0
    no_object: Weight = 0.1  # weight of a query that stands for nothing, in its class
    warmup_exempt: tuple[str, ...] = (
        *("segment_class", "semantic_presence", "semantic_point", "semantic_lab", "contrast"),
    )


@dataclass(frozen=True, kw_only=True)
class MaskDINOLossConfig(PointLossConfig):
    """Losses of MaskDINO: of the queries that find segments, and of those that find noised targets
    again, which are not matched. Queries are matched by the weights of their losses."""

    unscaled: ClassVar[tuple[str, ...]] = (
        *(f"segment_{part}" for part in ("class", "box", "giou", "dice", "entropy")),
        *(f"denoising_{part}" for part in ("class", "box", "giou", "dice", "entropy")),
        *PointLossConfig.unscaled,
    )

    architecture: Literal["maskdino"] = "maskdino"
    segment_class: Weight = 4.0
    segment_box: Weight = 5.0
    segment_giou: Weight = 2.0
    segment_dice: Weight = 5.0
    segment_entropy: Weight = 5.0
    denoising_class: Weight = 4.0
    denoising_box: Weight = 5.0
    denoising_giou: Weight = 2.0
    denoising_dice: Weight = 5.0
    denoising_entropy: Weight = 5.0
    warmup_exempt: tuple[str, ...] = (
        *("segment_class", "denoising_class", "semantic_presence", "semantic_point"),
        *("semantic_lab", "contrast"),
    )


AnyLossConfig = SegformerLossConfig | Mask2FormerLossConfig | MaskDINOLossConfig


def published_losses(architecture: Architecture) -> AnyLossConfig:
    """The losses of an architecture with the published weights."""
    kinds: dict[Architecture, type[AnyLossConfig]] = {
        "panoptic_segformer": SegformerLossConfig,
        "mask2former": Mask2FormerLossConfig,
        "maskdino": MaskDINOLossConfig,
    }
    return kinds[architecture]()
