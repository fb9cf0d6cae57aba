"""Two pieces of Point2Mask in somebody else's training loop; see docs/own_loop.md.

The loop, the network and the data are plain PyTorch. What is between the marks was added.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# [added]
from point2mask import ops
from point2mask.losses import tree_energy
from point2mask.pseudo_masks.image_tree import image_tree


def tree_loss(logits: Tensor, image: Tensor, clicked: Tensor) -> Tensor:
    """Pixels joined by the colour tree should get the same classes; clicked: -1 for none."""
    valid = torch.ones_like(clicked, dtype=torch.bool)
    return tree_energy(logits[None], image_tree(image, valid), valid, clicked).sum()


def share_out(logits: Tensor, clicks: Tensor, areas: Tensor) -> Tensor:
    """Gives every pixel to one of K clicks [B, K] (pixel numbers) so that each gets its area."""
    change = ops.neighbor_difference(logits.detach().softmax(1), 8, "l1") + 0.01
    cost = ops.geodesic_distance(change, clicks[..., None].int()).flatten(2)
    demand = torch.ones_like(cost[:, 0])
    supply = areas * demand.sum(1, keepdim=True) / areas.sum(1, keepdim=True)
    potential = ops.sinkhorn(cost, supply, demand, epsilon=0.02, max_iterations=200).potential
    return ops.transport_labels(cost, potential, demand).view(len(logits), *logits.shape[2:])


# [end]


def scene(size: int = 48) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Two discs of one colour that touch, on noise: picture, classes, pixels of clicks, areas."""
    torch.manual_seed(0)
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    left = (x - 14) ** 2 + (y - 24) ** 2 < 10**2
    right = (x - 32) ** 2 + (y - 24) ** 2 < 8**2
    classes = (left | right).long()[None]
    image = torch.stack([0.2 + 0.6 * classes, 0.5 + 0 * classes, 0.8 - 0.6 * classes], 1)
    image = image + 0.05 * torch.randn(image.shape)
    corner, disc, other = 2 * size + 2, 24 * size + 14, 24 * size + 32
    instances = torch.where(right, 2, left.long())
    return image, instances[None], torch.tensor([[corner, disc, other]]), areas_of(instances)


def areas_of(instances: Tensor) -> Tensor:
    return torch.bincount(instances.flatten(), minlength=3)[None].float()


def main(steps: int = 60) -> tuple[Tensor, Tensor, Tensor]:
    """Trains on three clicks. Returns the classes, the instances that were found, and the truth."""
    image, instances, clicks, areas = scene()
    clicked = torch.full((1, instances[0].numel()), -1)
    clicked[0, clicks[0]] = torch.tensor([0, 1, 1])
    clicked = clicked.view_as(instances)
    network = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 2, 1))
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.02)
    for _ in range(steps):
        logits = network(image)
        loss = F.cross_entropy(logits, clicked, ignore_index=-1)
        loss = loss + 0.4 * tree_loss(logits, image, clicked)  # added
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    logits = network(image)
    return logits.argmax(1), share_out(logits, clicks, areas), instances  # added: share_out


if __name__ == "__main__":
    classes, found, truth = main()
    print(f"classes right: {(classes == truth.clamp(max=1)).float().mean():.3f}")
    print(f"instances right: {(found == truth).float().mean():.3f}")
