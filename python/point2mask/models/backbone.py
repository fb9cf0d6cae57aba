"""Image networks of timm as backbones: features at strides 8, 16 and 32."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from point2mask.messages import did_you_mean
from point2mask.models.config import MASK_LEVELS, MASK_STRIDE, STRIDES, BackboneConfig
from point2mask.models.geometry import Geometry, cells
from point2mask.models.swin import PATCH, pad_before_rolling, resize_bias_tables
from point2mask.models.weights import (
    cached_weights,
    check_loaded,
    efficientnet_lite0,
    read_weights,
)

_STRIDES = STRIDES[:MASK_LEVELS]


class Backbone(nn.Module):
    """Features at strides 8, 16 and 32, or at others, of images of any size.

    An image is padded with zeros, its mean colour, to a multiple of 32 and never to the size of
    its neighbours in the batch: its features do not depend on them. ``published``: to whole patches
    of a transformer alone, and Swin as in :mod:`point2mask.models.swin`.

    Attributes:
        channels: of the feature maps.
        mean, std: ``[3, 1, 1]``, of the pixel values in [0, 1], RGB, that the weights were trained
            with; they are saved and loaded with them.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        config: BackboneConfig,
        strides: tuple[int, ...] = _STRIDES,
        published: bool = False,
    ) -> None:
        super().__init__()
        body, mean, std = _build(config, strides, published)
        self.body: Any = body
        self.register_buffer("mean", torch.tensor(mean)[:, None, None])
        self.register_buffer("std", torch.tensor(std)[:, None, None])
        info = body.feature_info
        self._strides = strides
        self._taken = [info.reduction().index(stride) for stride in strides]
        self.channels: list[int] = [info.channels()[i] for i in self._taken]
        # Transformers end in an unnormalised sum and, like the published Swin, get a LayerNorm.
        self._channels_last = str(getattr(self.body, "output_fmt", "NCHW")).endswith("NHWC")
        self.norms = nn.ModuleList(
            nn.LayerNorm(width) if self._channels_last else nn.Identity() for width in self.channels
        )
        self._multiple = _STRIDES[-1]
        if published:
            self._multiple = PATCH if self._channels_last else 1
        self._freeze_batch_norm = config.freeze_batch_norm
        if config.freeze_stem:
            first_trained = info.module_name()[info.reduction().index(_STRIDES[0])]
            for name, parameter in self.body.named_parameters():
                if _inside(name, first_trained):
                    break
                parameter.requires_grad_(False)
        if config.freeze_batch_norm:
            for module in self._batch_norms():
                module.requires_grad_(False)
        self.train(self.training)

    def train(self, mode: bool = True) -> "Backbone":
        super().train(mode)
        if self._freeze_batch_norm:
            for module in self._batch_norms():
                module.eval()
        return self

    def _batch_norms(self) -> list[_BatchNorm]:
        return [module for module in self.body.modules() if isinstance(module, _BatchNorm)]

    def forward(self, images: Tensor) -> list[Tensor]:
        """Maps ``[B, C_l, ceil(H / s), ceil(W / s)]`` of images ``[B, 3, H, W]``."""
        height, width = images.shape[-2:]
        multiple = self._multiple
        padded = F.pad(images, (0, -width % multiple, 0, -height % multiple))
        # Channels last: a quarter of the time of a convolutional network on the CPU.
        features = self.body(padded.contiguous(memory_format=torch.channels_last))
        outputs = []
        for index, stride, norm in zip(self._taken, self._strides, self.norms, strict=True):
            x = norm(features[index])
            if self._channels_last:
                x = x.permute(0, 3, 1, 2)
            outputs.append(x[..., : cells(height, stride), : cells(width, stride)])
        return outputs


def check_backbone(config: BackboneConfig) -> None:
    """That there is such a network with such weights, without room for them or asking for them.

    Raises:
        ValueError: with the name of the field.
    """
    import timm

    name, _, tag = config.name.partition(".")
    if not timm.is_model(name):
        hint = did_you_mean(name, timm.list_models(), 0.6)
        raise ValueError(f"name: expected an image network of timm, got {config.name!r}{hint}")
    tags = [known.partition(".")[2] for known in timm.list_models(f"{name}.*", pretrained=True)]
    if tag and tag not in tags:
        raise ValueError(
            f"name: expected weights of timm's {name} ({', '.join(tags) or 'it has none'}), got "
            f"{tag!r}{did_you_mean(tag, tags)}"
        )
    kinds = ("none", "hub", "package")
    if config.pretrained not in kinds and not Path(config.pretrained).is_file():
        raise ValueError(
            f"pretrained: expected one of {', '.join(kinds)}, or a file, got "
            f"{config.pretrained!r}{did_you_mean(config.pretrained, kinds)}"
        )
    with torch.device("meta"):
        _build(replace(config, pretrained="none"), _STRIDES, published=False)


def run_by_size(
    network: Callable[..., Sequence[Tensor]],
    inputs: Sequence[Tensor],
    geometry: Geometry,
    shapes: Sequence[tuple[int, int]],
    strides: Sequence[int] = (1,),
) -> list[Tensor]:
    """Applies a network to the images, or maps, of a padded batch as if each were alone.

    Images of one size go together. The network takes each of the inputs as ``[b, C, h, w]``, of
    cells of ``strides`` pixels, and returns some maps, which are padded with zeros to ``shapes``:
    ``[B, C, h_i, w_i]`` each.
    """
    parts, order = [], []
    for (height, width), members in geometry.groups().items():
        own = [
            of_group(x, members)[..., : cells(height, stride), : cells(width, stride)]
            for x, stride in zip(inputs, strides, strict=True)
        ]
        maps = network(*own)
        parts.append([pad_to(x, shape) for x, shape in zip(maps, shapes, strict=True)])
        order += members
    return [in_order(level, order) for level in zip(*parts, strict=True)]


def mask_shape(canvas: tuple[int, int]) -> tuple[int, int]:
    """Cells of the masks of segments, on a canvas of pixels."""
    return cells(canvas[0], MASK_STRIDE), cells(canvas[1], MASK_STRIDE)


def of_group(maps: Tensor, members: list[int]) -> Tensor:
    """The maps of some images of a batch; of all of them without a copy."""
    return maps if len(members) == len(maps) else maps[members]


def pad_to(maps: Tensor, shape: tuple[int, int], value: float = 0.0) -> Tensor:
    """Maps ``[..., h, w]`` with more rows below and columns to the right."""
    return F.pad(maps, (0, shape[1] - maps.shape[-1], 0, shape[0] - maps.shape[-2]), value=value)


def in_order(parts: Sequence[Tensor], order: list[int], dim: int = 0) -> Tensor:
    """Parts of a batch as one, whose image b is ``order.index(b)`` of the parts together."""
    if len(parts) == 1:
        return parts[0]
    back = torch.tensor(order, device=parts[0].device).argsort()
    return torch.cat(list(parts), dim).index_select(dim, back)


def _build(
    config: BackboneConfig, wanted: tuple[int, ...], published: bool
) -> tuple[Any, tuple[float, ...], tuple[float, ...]]:
    """timm's feature extractor with the weights asked for, and the mean and std they expect."""
    import timm

    options: dict[str, Any] = {
        "features_only": True,
        "pretrained": config.pretrained not in ("none", "package"),
    }
    if config.drop_path:
        options["drop_path_rate"] = config.drop_path
    if config.window is not None:
        options["window_size"] = config.window
    swin = config.name.startswith("swin")
    if swin:
        options["strict_img_size"] = False  # else the one size of its training
        options["always_partition"] = published
    state: dict[str, Tensor] = {}
    if config.pretrained not in ("none", "hub", "package"):
        state = read_weights(config.pretrained)
    elif config.pretrained == "hub":
        state = cached_weights(config.name)
        if not state and swin and published and config.window is not None:
            state = timm.create_model(config.name, pretrained=True).state_dict()
    if state:
        if swin and published and config.window is not None:
            state = resize_bias_tables(state, config.window)
        options["pretrained_cfg_overlay"] = {"state_dict": state}
    try:
        body: Any = timm.create_model(config.name, **options)
        strides = body.feature_info.reduction()
    except (ArithmeticError, AssertionError, AttributeError, LookupError, TypeError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise ValueError(f"name: timm makes no features of {config.name!r} ({reason})") from error
    except RuntimeError as error:
        if not state:
            raise
        reason = " ".join(str(error).split())[:200]
        raise ValueError(
            f"{config.pretrained}: expected the weights of {config.name}, got others ({reason})"
        ) from error
    if swin and published:
        pad_before_rolling(body)
    if not set(wanted) <= set(strides):
        raise ValueError(
            f"name: expected a network with features at strides {wanted}, got {strides} of "
            f"{config.name!r}"
        )
    if config.pretrained == "package":
        state = efficientnet_lite0()
        body.load_state_dict({name: state[name] for name in body.state_dict()})
        return body, (127 / 255,) * 3, (128 / 255,) * 3
    if state and config.pretrained != "hub":
        check_loaded(body, state, config.pretrained)
    source = body.pretrained_cfg
    source.pop("state_dict", None)  # timm's own copy of the weights
    return body, tuple(source["mean"]), tuple(source["std"])


def _inside(parameter: str, module: str) -> bool:
    """Whether a parameter belongs to a module; timm flattens some names with underscores."""
    return parameter.replace(".", "_").startswith(module.replace(".", "_") + "_")
