"""What others offer for the operators, as functions of the operators' own arguments.

``PEERS[operator](wrap)`` is the operator in plain torch; ``wrap`` is ``torch.compile`` or nothing
and goes around the parts that have fixed shapes and no decision of the host. ``LIBRARIES`` holds
what other packages have, if they are installed.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from gpu_problems import Size, positions
from published import LevelFilter
from torch import Tensor

from point2mask.ops import GRID_OFFSETS

Wrap = Callable[[Callable[..., Any]], Callable[..., Any]]
Run = Callable[[], Any]
HOST_LOOP = "a loop on the host: nothing to compile"


def sinkhorn(wrap: Wrap) -> Callable[..., Tensor]:
    @wrap
    def step(u: Tensor, cost: Tensor, log_b: Tensor, log_a: Tensor, epsilon: float) -> Tensor:
        v = epsilon * (log_a - ((u[:, :, None] - cost) / epsilon).logsumexp(1))
        return epsilon * (log_b - ((v[:, None] - cost) / epsilon).logsumexp(2))

    def run(
        cost: Tensor, supply: Tensor, demand: Tensor, epsilon: float, iterations: int, *_: Any
    ) -> Tensor:
        u, log_b, log_a = torch.zeros_like(supply), supply.log(), demand.log()
        for _ in range(iterations):
            u = step(u, cost, log_b, log_a, epsilon)
        return u

    return run


def sinkhorn_backward(wrap: Wrap) -> Callable[..., Tensor]:
    """Implicit differentiation by a K x K system, as the operator does it; the cost's gradient."""

    @wrap
    def couple(
        cost: Tensor, demand: Tensor, potential: Tensor, epsilon: float
    ) -> tuple[Tensor, ...]:
        share = ((potential[:, :, None] - cost) / epsilon).softmax(1)
        plan = share * demand[:, None]
        return share, plan, torch.diag_embed(plan.sum(2)) - plan @ share.transpose(1, 2)

    @wrap
    def spread(share: Tensor, plan: Tensor, z: Tensor) -> Tensor:
        return plan * (z - (share * z).sum(1, keepdim=True))

    def run(
        grad: Tensor, cost: Tensor, supply: Tensor, demand: Tensor, potential: Tensor,
        epsilon: float, *_: Any,
    ) -> Tensor:  # fmt: skip
        share, plan, system = couple(cost, demand, potential, epsilon)
        centred = grad - grad.mean(1, keepdim=True)
        system = system + system.diagonal(dim1=1, dim2=2).mean() / len(
            system[0]
        )  # the free constant
        return spread(share, plan, torch.linalg.solve(system, centred[:, :, None]))

    return run


def transport_labels(wrap: Wrap) -> Callable[..., Tensor]:
    return wrap(lambda cost, potential, demand: (cost - potential[:, :, None]).argmin(1))


def transport_plan(wrap: Wrap) -> Callable[..., Tensor]:
    @wrap
    def run(cost: Tensor, potential: Tensor, demand: Tensor, epsilon: float, *_: Any) -> Tensor:
        return ((potential[:, :, None] - cost) / epsilon).softmax(1) * demand[:, None]

    return run


def _shifted(map_: Tensor, dy: int, dx: int, fill: float) -> Tensor:
    """The value at the neighbour by (dy, dx) of every pixel, ``fill`` outside."""
    height, width = map_.shape[-2:]
    padded = F.pad(map_, (1, 1, 1, 1), value=fill)
    return padded[..., 1 + dy : 1 + dy + height, 1 + dx : 1 + dx + width]


def geodesic_distance(wrap: Wrap) -> Callable[..., Tensor]:
    """Bellman-Ford; the host looks every 16 rounds whether anything still changes."""

    @wrap
    def rounds(distance: Tensor, inwards: Tensor) -> Tensor:
        for _ in range(16):
            for d, (dy, dx) in enumerate(GRID_OFFSETS):
                through = _shifted(distance, -dy, -dx, torch.inf) + inwards[:, d, None]
                distance = torch.minimum(distance, through)
        return distance

    def run(edge_cost: Tensor, seeds: Tensor) -> Tensor:
        images, _, height, width = edge_cost.shape
        inwards = torch.stack(
            [_shifted(edge_cost[:, d], -y, -x, torch.inf) for d, (y, x) in enumerate(GRID_OFFSETS)],
            1,
        )
        distance = edge_cost.new_full((images, seeds.shape[1], height * width), torch.inf)
        distance = distance.scatter(2, seeds.long(), 0.0).unflatten(2, (height, width))
        while True:
            lower = rounds(distance, inwards)
            if torch.equal(lower, distance):
                return distance
            distance = lower

    return run


def spanning_tree(wrap: Wrap) -> Callable[..., Tensor]:
    """Boruvka by scatter_reduce: the edges' mask ``[B, 2, H, W]``, unrooted and in no order."""

    def run(edge_weight: Tensor) -> Tensor:
        images, _, height, width = edge_weight.shape
        pixels = height * width
        inside = torch.ones_like(edge_weight, dtype=torch.bool)
        inside[:, 0, -1] = inside[:, 1, :, -1] = False
        bits = edge_weight.view(torch.int32).flatten().long()  # weights are not negative
        key = (bits << 32 | torch.arange(bits.numel(), device=bits.device))[inside.flatten()]
        edge = key & 0xFFFFFFFF
        image, rest = edge // (2 * pixels), edge % (2 * pixels)
        a = image * pixels + rest % pixels
        b = a + torch.where(rest < pixels, width, 1)
        component = torch.arange(images * pixels, device=key.device)
        chosen = torch.zeros(bits.numel(), dtype=torch.bool, device=key.device)
        number = torch.full_like(component, torch.iinfo(torch.int64).max)
        for _ in range(max((pixels - 1).bit_length(), 1)):
            ca, cb = component[a], component[b]
            offer = torch.where(ca != cb, key, number[0])
            best = number.scatter_reduce(0, ca, offer, "amin").scatter_reduce(0, cb, offer, "amin")
            taken = best < number
            chosen |= torch.zeros_like(chosen).scatter(0, (best & 0xFFFFFFFF)[taken], True)
            wins_a, wins_b = (ca != cb) & (best[ca] == key), (ca != cb) & (best[cb] == key)
            link = torch.arange(len(component), device=key.device)
            link = link.scatter(0, ca[wins_a], cb[wins_a]).scatter(0, cb[wins_b], ca[wins_b])
            mutual = (link[link] == torch.arange(len(link), device=key.device)) & (
                link > torch.arange(len(link), device=key.device)
            )
            link = torch.where(mutual, torch.arange(len(link), device=key.device), link)
            for _ in range(max((pixels - 1).bit_length(), 1)):
                link = link[link]
            component = link[component]
        return chosen.view(edge_weight.shape)

    return run


def _levels(order: Tensor, parent: Tensor, similarity: Tensor) -> list[LevelFilter]:
    return [LevelFilter(*tree) for tree in zip(order, parent, similarity, strict=True)]


class TreeFilter:
    """The level-synchronous filter; its levels are found once, outside of the timing."""

    def __init__(self, wrap: Wrap) -> None:
        self.trees: list[LevelFilter] = []

    def __call__(
        self, feature: Tensor, order: Tensor, parent: Tensor, similarity: Tensor, *_: Any
    ) -> Tensor:
        self.trees = self.trees or _levels(order, parent, similarity)
        return torch.stack([tree(x) for tree, x in zip(self.trees, feature, strict=True)])


class TreeFilterBackward(TreeFilter):
    """The features' gradient alone: the filter is its own transpose."""

    def __call__(self, grad: Tensor, feature: Tensor, output: Tensor, *tree: Any) -> Tensor:
        return super().__call__(grad, *tree)


def neighbor_difference(wrap: Wrap) -> Callable[..., Tensor]:
    @wrap
    def run(feature: Tensor, directions: int, norm: str) -> Tensor:
        # Steps that leave the image give NaN, and then 0.
        steps = [(feature - _shifted(feature, *d, torch.nan)).abs().sum(1) for d in GRID_OFFSETS]
        return torch.stack(steps, 1).nan_to_num(0.0)

    return run


def _unfolded(map_: Tensor, dilation: int) -> Tensor:
    """``[B, C, 9, H, W]``, as the published losses see a window of 3 x 3."""
    return F.unfold(map_, 3, dilation, dilation).unflatten(1, (-1, 9)).unflatten(3, map_.shape[2:])


def lab_affinity_loss(wrap: Wrap) -> Callable[..., Tensor]:
    @wrap
    def run(
        logits: Tensor,
        lab: Tensor,
        size: int,
        dilation: int,
        theta: float,
        threshold: float,
        *_: Any,
    ) -> Tensor:
        distance = (_unfolded(lab, dilation) - lab[:, :, None]).square().sum(1).sqrt()
        near = (-distance / theta).exp() >= threshold
        log_p = logits.log_softmax(1)
        agree = -(_unfolded(log_p, dilation) + log_p[:, :, None]).logsumexp(1)
        return (agree * near).sum((1, 2, 3)) / near.sum((1, 2, 3))

    return run


def boundary_loss(wrap: Wrap) -> Callable[..., Tensor]:
    @wrap
    def run(
        boundary: Tensor, instance: Tensor, semantic: Tensor, size: int, dilation: int
    ) -> Tensor:
        def pairs(map_: Tensor) -> tuple[Tensor, Tensor]:
            return _unfolded(map_[:, None].float(), dilation)[:, 0], map_[:, None]

        (b, own_b), (i, own_i), (s, own_s) = pairs(boundary), pairs(instance), pairs(semantic)
        together = 1 - torch.maximum(b, own_b)
        thing = (i == own_i) & (own_i >= 0)
        stuff = (i < 0) & (own_i < 0) & (s == own_s)
        parts = (
            (thing, together, 0.25),
            (stuff, together, 0.25),
            (~(thing | stuff), 1 - together, 0.5),
        )
        loss = boundary.new_zeros(len(boundary))
        for mask, a, weight in parts:
            total = (-(a + 1e-5).log() * mask).sum((1, 2, 3))
            loss = loss + weight * total / mask.sum((1, 2, 3)).clamp_min(1)
        return loss

    return run


def mask_statistics(wrap: Wrap) -> Callable[..., tuple[Tensor, ...]]:
    @wrap
    def run(labels: Tensor, targets: int) -> tuple[Tensor, ...]:
        images, height, width = labels.shape
        index = torch.where(labels < 0, targets, labels).flatten(1).long()
        y = torch.arange(height * width, device=labels.device).expand(images, -1) // width
        x = torch.arange(height * width, device=labels.device).expand(images, -1) % width
        zero = torch.zeros(images, targets + 1, dtype=torch.int64, device=labels.device)
        sums = [zero.scatter_add(1, index, value) for value in (torch.ones_like(x), y, x)]
        low = [zero.scatter_reduce(1, index, v, "amin", include_self=False) for v in (x, y)]
        high = [zero.scatter_reduce(1, index, v, "amax", include_self=False) for v in (x, y)]
        return *sums, *low, *high

    return run


def deformable_attention(wrap: Wrap) -> Callable[..., Tensor]:
    """A grid_sample a map."""

    def run(value: Tensor, where: Tensor, weight: Tensor, shapes: Tensor) -> Tensor:
        return read(value, where, weight, shapes.tolist())

    @wrap
    def read(value: Tensor, where: Tensor, weight: Tensor, sizes: list[list[int]]) -> Tensor:
        grid = (2 * where - 1).transpose(1, 2).flatten(0, 1)
        shares = weight.transpose(1, 2).flatten(0, 1)[:, None]
        parts = value.transpose(1, 2).flatten(0, 1).split([h * w for h, w in sizes], 1)
        total = value.new_zeros(len(grid), value.shape[-1], where.shape[1])
        for level, part in enumerate(parts):
            maps = part.transpose(1, 2).unflatten(2, sizes[level])
            sample = F.grid_sample(maps, grid[:, :, level], align_corners=False)
            total = total + (sample * shares[:, :, :, level]).sum(-1)
        return total.unflatten(0, (len(value), -1)).permute(0, 3, 1, 2)

    return run


PEERS: dict[str, Callable[[Wrap], Callable[..., Any]]] = {
    "sinkhorn": sinkhorn,
    "sinkhorn_backward": sinkhorn_backward,
    "transport_labels": transport_labels,
    "transport_plan": transport_plan,
    "geodesic_distance": geodesic_distance,
    "spanning_tree": spanning_tree,
    "tree_filter": TreeFilter,
    "tree_filter_backward": TreeFilterBackward,
    "neighbor_difference": neighbor_difference,
    "lab_affinity_loss": lab_affinity_loss,
    "boundary_loss": boundary_loss,
    "mask_statistics": mask_statistics,
    "deformable_attention": deformable_attention,
}
# Gradients that autograd takes of a peer above: which arguments of the gradient operator are those
# of the operator, and which of these is differentiated.
DIFFERENTIABLE: dict[str, tuple[Callable[[tuple[Any, ...]], tuple[Any, ...]], int]] = {
    "transport_plan": (lambda a: a[1:], 0),
    "neighbor_difference": (lambda a: (a[1], 8, a[3]), 0),
    "lab_affinity_loss": (lambda a: (*a[1:3], *a[4:]), 0),
    "boundary_loss": (lambda a: (*a[1:4], *a[5:]), 0),
    "deformable_attention": (lambda a: a[1:], 0),
}


def gradient(operator: str, wrap: Wrap, arguments: tuple[Any, ...]) -> Run:
    """The backward pass alone, of a graph that is kept."""
    select, which = DIFFERENTIABLE[operator]
    inputs = list(select(arguments))
    inputs[which] = leaf = inputs[which].clone().requires_grad_()
    output: list[Tensor] = []

    def run() -> tuple[Tensor, ...]:
        if not output:  # the forward pass belongs to the warm-up
            output.append(PEERS[operator](wrap)(*inputs))
        return torch.autograd.grad(output[0], leaf, arguments[0], retain_graph=True)

    return run


NOTHING_TO_COMPILE = ("spanning_tree", "tree_filter", "tree_filter_backward")


def geomloss_sinkhorn(size: Size, arguments: tuple[Any, ...]) -> Run:
    """As many iterations of its own schedule."""
    from geomloss import ot

    cost, supply, demand, epsilon, iterations, *_ = arguments
    cost = cost.transpose(1, 2).contiguous()
    return lambda: ot.solve_batch(cost, reg=epsilon, a=demand, b=supply, max_iter=iterations)


def keops_sinkhorn(size: Size, arguments: tuple[Any, ...]) -> Run:
    """The same loop on lazy distances: nothing of size N·K is stored."""
    from pykeops.torch import LazyTensor

    cost, supply, demand, epsilon, iterations, *_ = arguments
    pixel, centre = positions(size, torch.Generator().manual_seed(0), str(cost.device))
    log_a, log_b = demand.log()[:, :, None], supply.log()[:, :, None]
    x, y = LazyTensor(pixel[:, :, None].contiguous()), LazyTensor(centre[:, None].contiguous())
    lazy = ((x - y) ** 2).sum(-1).sqrt()

    def run() -> Tensor:
        u = torch.zeros_like(log_b)
        for _ in range(iterations):
            v = epsilon * (log_a - ((LazyTensor(u[:, None]) - lazy) / epsilon).logsumexp(2))
            u = epsilon * (log_b - ((LazyTensor(v[:, :, None]) - lazy) / epsilon).logsumexp(1))
        return u

    return run


def cugraph_spanning_tree(size: Size, arguments: tuple[Any, ...]) -> Run:
    """All images as one forest; weights + 1, since it may take 0 for a missing edge."""
    import cudf
    import cugraph

    (weight,) = arguments
    images, _, height, width = weight.shape
    pixel = torch.arange(images * height * width, device=weight.device).view(-1, height, width)
    ends = (pixel[:, :-1], pixel[:, 1:]), (pixel[:, :, :-1], pixel[:, :, 1:])
    source, target = (torch.cat([pair[i].flatten() for pair in ends]) for i in (0, 1))
    values = torch.cat([weight[:, 0, :-1].flatten(), weight[:, 1, :, :-1].flatten()]) + 1
    frame = cudf.DataFrame(
        {"src": cudf.Series(source), "dst": cudf.Series(target), "weight": cudf.Series(values)}
    )
    graph = cugraph.Graph()
    graph.from_cudf_edgelist(frame, source="src", destination="dst", edge_attr="weight")
    return lambda: cugraph.minimum_spanning_tree(graph)


# Operator, name, the module that must be there, and what makes the call.
LIBRARIES: tuple[tuple[str, str, str, Callable[[Size, tuple[Any, ...]], Run]], ...] = (
    ("sinkhorn", "GeomLoss", "geomloss", geomloss_sinkhorn),
    ("sinkhorn", "KeOps", "pykeops", keops_sinkhorn),
    ("spanning_tree", "cuGraph", "cugraph", cugraph_spanning_tree),
)
