"""Constants of the method as typed options; the defaults are the published values."""

from dataclasses import dataclass, field, replace
from math import inf
from typing import Literal


def _require(condition: bool, expectation: str, value: object) -> None:
    if not condition:
        raise ValueError(f"{expectation}, got {value!r}")


@dataclass(frozen=True)
class TransportOptions:
    """Options of the optimal-transport assigner; defaults are the published values (b.6).

    Attributes:
        supplies: scheme of the targets' areas: ``centroid``, ``uniform`` or ``given``.
        iterations: Sinkhorn iterations. 80 at epsilon 1e-3 stop far from convergence, which
            protects against wrong supplies; trust in the supplies allows more.
        epsilon: strength of the entropic regularisation, in units of cost.
        tolerance: stop an image early below this relative supply error; 0 = never.
        supply_relaxation, demand_relaxation: strength rho of a KL penalty that replaces the
            supplies (the demands) as a hard constraint; infinite = hard.
    """

    supplies: str = "centroid"
    iterations: int = 80
    epsilon: float = 1e-3
    tolerance: float = 0.0
    supply_relaxation: float = inf
    demand_relaxation: float = inf

    def __post_init__(self) -> None:
        _require(self.iterations >= 0, "iterations must not be negative", self.iterations)
        _require(0 < self.epsilon < inf, "epsilon must be positive and finite", self.epsilon)
        _require(self.tolerance >= 0, "tolerance must not be negative", self.tolerance)
        for name in ("supply_relaxation", "demand_relaxation"):
            _require(getattr(self, name) > 0, f"{name} must be positive", getattr(self, name))


@dataclass(frozen=True)
class PseudoMaskOptions:
    """Constants of the method; defaults are those of the published configurations.

    Attributes:
        assigner: ``transport``, ``shortest_path`` or ``nearest``.
        transport: options of the transport assigner.
        stride: image pixels a cell of the graph on which shortest paths are computed.
        point_size: side of the square around a click that is certain of its class, pixels.
        confidence: below this likelihood a pixel's semantic label is ignored.
        semantic_weight, boundary_weight, feature_weight: weights of the edge cost; see
            :func:`edge_cost`. ``feature_weight=0`` is the supplementary material's variant.
        step_weight: cost of any step of a path, published 0. Where a semantic map is certain, the
            published cost of a way inside a region is nearly nothing and rivals of one class are
            told apart by noise; with a little length the nearer click wins.
        class_penalty: added to the cost of targets of another class than the pixel's most likely
            one. 0 as published; a value above the largest distance keeps classes apart.
    """

    assigner: str = "transport"
    transport: TransportOptions = TransportOptions()
    stride: int = 16
    point_size: int = 17
    confidence: float = 0.5
    semantic_weight: float = 1.0
    boundary_weight: float = 0.1
    feature_weight: float = 0.1
    step_weight: float = 0.0
    class_penalty: float = 0.0

    def __post_init__(self) -> None:
        _require(self.stride >= 1, "stride must be at least 1 pixel", self.stride)
        odd = self.point_size >= 1 and self.point_size % 2 == 1
        _require(odd, "point_size must be odd and positive", self.point_size)
        _require(0 <= self.confidence <= 1, "confidence must lie in [0, 1]", self.confidence)
        weights = ("semantic_weight", "boundary_weight", "feature_weight", "step_weight")
        for name in (*weights, "class_penalty"):
            value = getattr(self, name)
            _require(0 <= value < inf, f"{name} must be finite and not negative", value)


@dataclass(frozen=True, kw_only=True)
class SupervisionConfig:
    """What the network learns from.

    Attributes:
        kind: ``points``, masks grown from the clicks anew in every step, or ``masks``, the true
            masks of the batch.
        pseudo_masks: how masks are grown. ``assigner="shortest_path"`` is PSPS: its edge cost has
            the Sobel edges of the picture in place of the learned boundary, and no first phase.
            Beside the supplies of :mod:`point2mask.pseudo_masks` there is ``network``: the areas of
            the masks that the network itself draws
            (:func:`~point2mask.pseudo_masks.areas.network_areas`).
        transport_warmup: so many steps ``transport`` gives way to ``nearest``, which is what the
            published first phase amounts to (b.5). Published: 12000 on VOC, 60000 on COCO.
        refine_sigma: above 0 the semantic map is filtered along the picture's tree before masks are
            grown (:func:`~point2mask.pseudo_masks.refine.refine`). Published: 0, not at all.
        clicked_classes: classes without a click in an image have no part in its semantic map while
            it learns from clicks. With many classes this keeps the colour losses from their easy
            way out, one class everywhere. Published: False.
    """

    kind: Literal["points", "masks"] = "points"
    pseudo_masks: PseudoMaskOptions = field(default_factory=PseudoMaskOptions)
    transport_warmup: int = 12000
    refine_sigma: float = 0.0
    clicked_classes: bool = False

    def __post_init__(self) -> None:
        if self.kind not in ("points", "masks"):
            raise ValueError(f"kind must be 'points' or 'masks', got {self.kind!r}")
        if not 0 <= self.refine_sigma < inf:
            raise ValueError(f"refine_sigma must not be negative, got {self.refine_sigma}")

    def at(self, step: int) -> PseudoMaskOptions:
        """How masks are grown in a step."""
        if self.pseudo_masks.assigner == "transport" and step < self.transport_warmup:
            return replace(self.pseudo_masks, assigner="nearest")
        return self.pseudo_masks
