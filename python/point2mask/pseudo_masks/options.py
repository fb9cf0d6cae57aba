"""Constants of the method as typed options; the defaults are the published values."""

from dataclasses import dataclass, field, replace
from math import inf
from typing import Annotated, Literal

from point2mask.messages import shown
from point2mask.ranges import Checked, Range, Share, Weight

Supplies = Literal["centroid", "uniform", "network", "learned", "given"]
Assigner = Literal["transport", "shortest_path", "nearest", "first_phase", "learned"]
Relaxation = Annotated[float, Range(0, inf, open_low=True)]


@dataclass(frozen=True)
class TransportOptions(Checked):
    """Options of the optimal-transport assigner; defaults are the published values (b.6).

    Attributes:
        supplies: scheme of the targets' areas: ``centroid`` (published), ``uniform``; ``network``,
            the areas of the masks that the network itself draws
            (:func:`~point2mask.pseudo_masks.areas.network_areas`); ``learned``, what the click
            branch expects; or ``given``, those that the caller hands in.
        iterations: Sinkhorn iterations. 80 at epsilon 1e-3 stop far from convergence, which
            protects against wrong supplies; trust in the supplies allows more.
        epsilon: strength of the entropic regularisation, in units of cost.
        tolerance: stop an image early below this relative supply error; 0 = never.
        supply_relaxation, demand_relaxation: strength rho of a KL penalty that replaces the
            supplies (the demands) as a hard constraint; infinite = hard.
    """

    supplies: Supplies = "centroid"
    iterations: Annotated[int, Range(0, 10**6)] = 80
    epsilon: Annotated[float, Range(0, 1e6, open_low=True)] = 1e-3
    tolerance: Share = 0.0
    supply_relaxation: Relaxation = inf
    demand_relaxation: Relaxation = inf


@dataclass(frozen=True)
class PseudoMaskOptions(Checked):
    """Constants of the method; defaults are those of the published configurations.

    Attributes:
        assigner: ``transport``, ``shortest_path``, ``nearest`` or ``first_phase``, the last being
            ``nearest`` as it was published; ``learned``, the likeliest target of the click branch.
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
        learned_weight: of -log p in the cost, p being what the click branch gives a target at a
            pixel; for the assigners that look at the cost. 0 as published.
    """

    assigner: Assigner = "transport"
    transport: TransportOptions = TransportOptions()
    stride: Annotated[int, Range(1, 1024)] = 16
    point_size: Annotated[int, Range(1, 1023, odd=True)] = 17
    confidence: Share = 0.5
    semantic_weight: Weight = 1.0
    boundary_weight: Weight = 0.1
    feature_weight: Weight = 0.1
    step_weight: Weight = 0.0
    class_penalty: Weight = 0.0
    learned_weight: Weight = 0.0

    def check(self) -> None:
        if self.learned_weight > 0 and self.assigner in ("shortest_path", "learned"):
            raise ValueError(
                "learned_weight: expected 0 for an assigner that does not look at the cost, "
                f"{self.assigner}, got {shown(self.learned_weight)}"
            )

    @property
    def learned(self) -> bool:
        """Whether masks depend on the click branch."""
        supplies = self.assigner == "transport" and self.transport.supplies == "learned"
        return self.assigner == "learned" or self.learned_weight > 0 or supplies


@dataclass(frozen=True, kw_only=True)
class SupervisionConfig(Checked):
    """What the network learns from.

    Attributes:
        kind: ``points``, masks grown from the clicks anew in every step, or ``masks``, the true
            masks of the batch.
        pseudo_masks: how masks are grown. ``assigner="shortest_path"`` is PSPS: its edge cost has
            the Sobel edges of the picture in place of the learned boundary, and no first phase.
        transport_warmup: up to this step ``transport`` and ``learned`` give way to ``nearest``
            along the paths, which is what the published first phase amounts to (b.5), and
            ``learned_weight`` is 0. Published: 12000 on VOC, 60000 on COCO; 0 is transport from the
            first step on.
        refine_sigma: above 0 the semantic map is filtered along the picture's tree before masks are
            grown (:func:`~point2mask.pseudo_masks.refine.refine`). Published: 0, not at all.
        clicked_classes: classes without a click in an image have no part in its semantic map while
            it learns from clicks. With many classes this keeps the colour losses from their easy
            way out, one class everywhere. Published: False.
        own_masks_from: from this step on the network learns from masks that its averaged weights
            (its weights, without ``schedule.ema_decay``) have grown once from the clicks of all
            training pictures, of one and a half times the size of test pictures, as from true
            masks: clicks are sampled from them too. The run's folder keeps them in ``masks``. None,
            as published: never. Without effect on ``kind="masks"``.
        published: ``first_phase`` in the place of ``nearest``: docs/fidelity.md.
    """

    kind: Literal["points", "masks"] = "points"
    pseudo_masks: PseudoMaskOptions = field(default_factory=PseudoMaskOptions)
    transport_warmup: Annotated[int, Range(0, 10**9)] = 12000
    refine_sigma: Weight = 0.0
    clicked_classes: bool = False
    own_masks_from: Annotated[int, Range(1, 10**9)] | None = None
    published: bool = False

    def check(self) -> None:
        if self.pseudo_masks.transport.supplies == "given":
            raise ValueError(
                "pseudo_masks.transport.supplies: expected one of centroid, uniform, network, "
                "learned, got 'given', which is for callers of pseudo_masks() with areas of their "
                "own"
            )

    @property
    def masks_from(self) -> int | None:
        """The step from which masks of the network's own are learned from, if ever."""
        return self.own_masks_from if self.kind == "points" else None

    @property
    def warms_up(self) -> bool:
        """Whether ``transport_warmup`` matters."""
        return self._waits or self.pseudo_masks.learned_weight > 0

    @property
    def _waits(self) -> bool:
        return self.pseudo_masks.assigner in ("transport", "learned")

    def at(self, step: int) -> PseudoMaskOptions:
        """How masks are grown in a step."""
        if self.warms_up and step < self.transport_warmup:
            first: Assigner = "first_phase" if self.published else "nearest"
            first = first if self._waits else self.pseudo_masks.assigner
            return replace(self.pseudo_masks, assigner=first, learned_weight=0.0)
        return self.pseudo_masks
