"""The network: images to candidate things, stuff, semantic maps, and their merge to segments."""

from point2mask.models.base import Candidates, Encoded, NetworkOutput, PointNetwork, Semantics
from point2mask.models.config import (
    AnyNetworkConfig,
    BackboneConfig,
    Mask2FormerConfig,
    MaskDINOConfig,
    MergeConfig,
    NetworkConfig,
)
from point2mask.models.decoder import Locations
from point2mask.models.geometry import Geometry, on_canvas
from point2mask.models.inference import MergedSegment, PanopticPrediction, merge_masks, predict
from point2mask.models.mask2former import Mask2FormerNetwork, Mask2FormerOutput
from point2mask.models.mask_decoder import ClassMasks
from point2mask.models.maskdino import MaskDINONetwork, MaskDINOOutput
from point2mask.models.network import PanopticNetwork, PanopticOutput, ThingMasks

__all__ = [
    "AnyNetworkConfig",
    "BackboneConfig",
    "Candidates",
    "ClassMasks",
    "Encoded",
    "Geometry",
    "Locations",
    "Mask2FormerConfig",
    "Mask2FormerNetwork",
    "Mask2FormerOutput",
    "MaskDINOConfig",
    "MaskDINONetwork",
    "MaskDINOOutput",
    "MergeConfig",
    "MergedSegment",
    "NetworkConfig",
    "NetworkOutput",
    "PanopticNetwork",
    "PanopticOutput",
    "PanopticPrediction",
    "PointNetwork",
    "Semantics",
    "ThingMasks",
    "make_network",
    "merge_masks",
    "on_canvas",
    "predict",
]


def make_network(config: AnyNetworkConfig) -> PointNetwork:
    """The network of a configuration, with its pretrained backbone."""
    if isinstance(config, Mask2FormerConfig):
        return Mask2FormerNetwork(config)
    if isinstance(config, MaskDINOConfig):
        return MaskDINONetwork(config)
    return PanopticNetwork(config)
