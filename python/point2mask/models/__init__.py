"""The network: images to candidate things, stuff, semantic maps, and their merge to segments."""

from point2mask.models.config import BackboneConfig, MergeConfig, NetworkConfig
from point2mask.models.decoder import Locations
from point2mask.models.geometry import Geometry
from point2mask.models.inference import PanopticPrediction, Segment, merge_masks, predict
from point2mask.models.mask_decoder import ClassMasks
from point2mask.models.network import (
    Encoded,
    NetworkOutput,
    PanopticNetwork,
    Semantics,
    ThingMasks,
)

__all__ = [
    "BackboneConfig",
    "ClassMasks",
    "Encoded",
    "Geometry",
    "Locations",
    "MergeConfig",
    "NetworkConfig",
    "NetworkOutput",
    "PanopticNetwork",
    "PanopticPrediction",
    "Segment",
    "Semantics",
    "ThingMasks",
    "merge_masks",
    "predict",
]
