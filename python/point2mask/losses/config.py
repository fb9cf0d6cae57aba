"""Weights and constants of the losses."""

from dataclasses import dataclass, fields

from point2mask.losses.affinity import PUBLISHED_KERNELS

# All losses by name. Those of things and stuff are Panoptic SegFormer's, whose entropies exist for
# sigmoid masks alone; those of segments, things and stuff alike, are Mask2Former's.
LOSSES = (
    *("thing_class", "thing_box", "thing_giou", "thing_dice", "thing_entropy"),
    *("stuff_class", "stuff_dice", "stuff_entropy"),
    *("segment_class", "segment_dice", "segment_entropy"),  # of Mask2Former
    *("semantic_presence", "semantic_point", "semantic_lab", "semantic_tree"),
    *("contrast", "boundary"),
)


@dataclass(frozen=True, kw_only=True)
class LossConfig:
    """Weights and constants; the defaults are the published ones.

    A loss of weight 0 counts nothing; those of colours, boundary and contrast are not computed.
    """

    thing_class: float = 2.0
    thing_box: float = 5.0
    thing_giou: float = 2.0
    thing_dice: float = 2.0
    stuff_class: float = 4.0  # published as 2, twice
    stuff_dice: float = 2.0
    mask_entropy: float = 2.0  # only of sigmoid masks, which are not the published ones
    segment_class: float = 2.0  # of Mask2Former, as all of segments
    segment_dice: float = 5.0
    segment_entropy: float = 5.0
    no_object: float = 0.1  # weight of a query that stands for nothing, in its class
    semantic_presence: float = 2.0
    semantic_point: float = 1.0
    semantic_lab: float = 3.0  # λ_color
    semantic_tree: float = 3.0  # λ_color
    contrast: float = 1.0
    boundary: float = 1.0
    # Over so many steps the losses grow linearly from 0, but for those named. The published choice
    # (the tree grows, the classes of things do not) follows from substrings of their names there.
    warmup_iterations: int = 14659
    warmup_exempt: tuple[str, ...] = (
        "thing_class",
        "segment_class",
        "semantic_presence",
        "semantic_point",
        "semantic_lab",
        "contrast",
    )
    match_class: float = 2.0
    match_box: float = 5.0
    match_giou: float = 2.0
    # (size, weight) of the LAB windows; ((3, 1.0),) with dilation 1 is the supplement's Eq. 4.
    lab_kernels: tuple[tuple[int, float], ...] = PUBLISHED_KERNELS
    lab_dilation: int = 2
    tree_sigma: float = 0.02  # θ₂
    temperature: float = 0.07  # τ of the contrast

    def __post_init__(self) -> None:
        unknown = [name for name in self.warmup_exempt if name not in LOSSES]
        if unknown:
            raise ValueError(f"warmup_exempt must be of {', '.join(LOSSES)}, got {unknown[0]!r}")


# Beginnings of the names in LossConfig that are of one architecture alone.
_OWN = {
    "panoptic_segformer": ("thing_", "stuff_", "mask_", "match_"),
    "mask2former": ("segment_", "no_object"),
}


def check_losses(config: LossConfig, architecture: str) -> None:
    """That nothing was changed which has no part in the losses of an architecture.

    Raises:
        ValueError: names the weight or the exempt loss.
    """
    others = tuple(
        start for name, starts in _OWN.items() if name != architecture for start in starts
    )
    standard = LossConfig()
    for entry in fields(config):
        if entry.name.startswith(others):
            value, default = getattr(config, entry.name), getattr(standard, entry.name)
            if value != default:
                raise ValueError(f"loss.{entry.name}: architecture {architecture} has none")
    if config.warmup_exempt != standard.warmup_exempt:
        for name in config.warmup_exempt:
            if name.startswith(others):
                raise ValueError(f"loss.warmup_exempt: architecture {architecture} has no {name}")
