"""Losses of the semantic map, against their equations in NumPy."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from training import randn

from point2mask.losses import (
    class_presence_focal,
    lab_affinity,
    point_cross_entropy,
    tree_energy,
)
from point2mask.losses.affinity import PUBLISHED_KERNELS
from point2mask.pseudo_masks.image_tree import image_tree

L, B, C, H, W = 2, 2, 3, 5, 6
LOGITS = randn(L, B, C, H, W)
# The second image is smaller than the canvas.
VALID = torch.ones(B, H, W, dtype=torch.bool)
VALID[1, 4:] = VALID[1, :, 5:] = False
EXTENT = [(H, W), (4, 5)]
LABEL = torch.where(VALID & (randn(B, H, W, seed=1) > 0.5), 1, -1)
KINDS = torch.where(LABEL >= 0, randn(B, H, W, seed=4).mul(9).long() % C, -1)


def softmax(z):
    e = np.exp(z - z.max(0))
    return e / e.sum(0)


def test_point_cross_entropy():
    loss = point_cross_entropy(LOGITS, LABEL)
    expected = np.zeros(B)
    for layer, b in np.ndindex(L, B):
        p = softmax(LOGITS[layer, b].numpy())
        for y, x in np.argwhere(LABEL[b].numpy() >= 0):
            expected[b] -= np.log(p[LABEL[b, y, x], y, x])
    np.testing.assert_allclose(loss, expected / (LABEL >= 0).sum().item(), rtol=1e-12)


@given(
    counts=st.lists(st.tuples(*[st.integers(0, 6)] * 3), min_size=1, max_size=3),
    seed=st.integers(0, 99),
)
def test_point_cross_entropy_by_class(counts, seed):
    """An image counts as much as its labels; its classes count alike."""
    label = torch.full((len(counts), 30), -1)
    for image, own in enumerate(counts):
        label[image, : sum(own)] = torch.repeat_interleave(torch.arange(3), torch.tensor(own))
    label = label[:, torch.randperm(30, generator=torch.Generator().manual_seed(seed))]
    logits = randn(2, len(counts), 3, 5, 6, seed=seed)
    loss = point_cross_entropy(logits, label.view(-1, 5, 6), by_class=True)
    expected = np.zeros(len(counts))
    for image, own in enumerate(counts):
        present = [c for c in range(3) if own[c]]
        for layer, kind in itertools.product(range(2), present):
            p = softmax(logits[layer, image].numpy()).reshape(3, -1)
            mean = np.log(p[kind, label[image].numpy() == kind]).mean()
            expected[image] -= sum(own) / len(present) * mean
    every = max(sum(map(sum, counts)), 1)
    np.testing.assert_allclose(loss, expected / every, rtol=1e-10)
    if all(len({*filter(None, own)}) < 2 for own in counts):  # as many of each
        torch.testing.assert_close(loss, point_cross_entropy(logits, label.view(-1, 5, 6)))


def test_point_cross_entropy_without_labels_is_zero():
    logits = LOGITS.clone().requires_grad_()
    loss = point_cross_entropy(logits, torch.full_like(LABEL, -1))
    loss.sum().backward()
    assert loss.tolist() == [0, 0]
    assert not logits.grad.any()


def lab_loss(p, lab, size, dilation):
    """Eq. 4 and 5 for one image: p [C, h, w], lab [3, h, w]."""
    height, width = p.shape[1:]
    reach = [dilation * (i - size // 2) for i in range(size)]
    total, pairs = 0.0, 0
    for y, x in np.ndindex(height, width):
        for dy, dx in ((dy, dx) for dy in reach for dx in reach if (dy, dx) != (0, 0)):
            v, u = y + dy, x + dx
            if not (0 <= v < height and 0 <= u < width):
                continue
            if np.exp(-np.linalg.norm(lab[:, y, x] - lab[:, v, u]) / 2) >= 0.3:
                total -= np.log((p[:, y, x] * p[:, v, u]).sum())
                pairs += 1
    return total / max(pairs, 1)


@pytest.mark.parametrize(("kernels", "dilation"), [(PUBLISHED_KERNELS, 2), (((3, 1.0),), 1)])
def test_lab_affinity(kernels, dilation):
    lab = torch.where(VALID[:, None], randn(B, 3, H, W, seed=2), torch.nan)
    loss = lab_affinity(LOGITS, lab, VALID, kernels, dilation)
    expected = np.zeros(B)
    for layer, b in np.ndindex(L, B):
        h, w = EXTENT[b]
        p = softmax(LOGITS[layer, b, :, :h, :w].numpy())
        for size, weight in kernels:
            part = lab_loss(p, lab[b, :, :h, :w].numpy(), size, dilation)
            assert part > 0
            expected[b] += weight * part / B
    np.testing.assert_allclose(loss, expected, rtol=1e-9)  # a sum of some hundred terms


def tree_filtered(p, guide, sigma):
    """Eq. 6 and 7 for one image: Kruskal's tree, then the product of the edges of every path."""
    height, width = p.shape[1:]
    pixels = height * width
    g = guide.reshape(3, -1)
    edges = [(i, i + 1) for i in range(pixels) if (i + 1) % width]
    edges += [(i, i + width) for i in range(pixels - width)]
    weight = {e: ((g[:, e[0]] - g[:, e[1]]) ** 2).sum() for e in edges}
    component = list(range(pixels))
    links = [[] for _ in range(pixels)]
    for a, b in sorted(edges, key=weight.get):
        if component[a] != component[b]:
            old, new = component[a], component[b]
            component = [new if c == old else c for c in component]
            s = np.exp(-weight[a, b] / sigma)
            links[a].append((b, s))
            links[b].append((a, s))
    similarity = np.zeros((pixels, pixels))
    for start in range(pixels):
        stack = [(start, -1, 1.0)]
        while stack:
            node, before, product = stack.pop()
            similarity[start, node] = product
            stack += [(n, node, product * s) for n, s in links[node] if n != before]
    flat = p.reshape(len(p), -1)
    return ((flat @ similarity) / similarity.sum(0)).reshape(p.shape)


def test_tree_energy():
    guide = torch.where(VALID[:, None], 0.1 * randn(B, 3, H, W, seed=3), torch.nan)
    loss = tree_energy(LOGITS, image_tree(guide, VALID), VALID, LABEL)
    unlabelled = (VALID & (LABEL < 0)).sum().item()
    expected = np.zeros(B)
    for layer, b in np.ndindex(L, B):
        h, w = EXTENT[b]
        p = softmax(LOGITS[layer, b, :, :h, :w].numpy())
        smooth = tree_filtered(p, guide[b, :, :h, :w].numpy(), 0.02)
        expected[b] += np.abs(p - smooth).sum() / unlabelled
    assert expected.min() > 0.01
    np.testing.assert_allclose(loss, expected, rtol=1e-9)


def test_tree_energy_with_every_pixel_labelled_is_finite():
    tree = image_tree(randn(B, 3, H, W), VALID)
    assert tree_energy(LOGITS, tree, VALID, torch.zeros_like(LABEL)).isfinite().all()


def test_class_presence_focal():
    logits = randn(L, B, C)
    present = torch.tensor([[True, False, True], [False, False, True]])
    loss = class_presence_focal(logits, present)
    expected = np.zeros(B)
    for layer, b, c in np.ndindex(L, B, C):
        p = 1 / (1 + np.exp(-logits[layer, b, c].item()))
        if present[b, c]:
            expected[b] -= 0.25 * (1 - p) ** 2 * np.log(p)
        else:
            expected[b] -= 0.75 * p**2 * np.log(1 - p)
    np.testing.assert_allclose(loss, expected / 3, rtol=1e-12)
    assert class_presence_focal(logits, torch.zeros_like(present)).isfinite().all()


GUIDE = 0.1 * randn(B, 3, H, W, seed=3)
LOSSES = {
    "point": lambda z: point_cross_entropy(z, LABEL),
    "point by class": lambda z: point_cross_entropy(z, KINDS, by_class=True),
    "lab": lambda z: lab_affinity(z, randn(B, 3, H, W, seed=2), VALID),
    "tree": lambda z: tree_energy(z, image_tree(GUIDE, VALID), VALID, LABEL),
}


@pytest.mark.parametrize("name", LOSSES)
def test_gradients(name):
    logits = LOGITS[:, :, :, :4, :4].clone()
    full = LOGITS.clone()

    def loss(part):
        z = full.clone()
        z[:, :, :, :4, :4] = part
        return LOSSES[name](z)

    assert torch.autograd.gradcheck(loss, logits.requires_grad_(), fast_mode=True)


@pytest.mark.parametrize("name", LOSSES)
def test_padding_has_no_influence(name):
    changed = torch.where(VALID[:, None], LOGITS, 7 * randn(L, B, C, H, W, seed=9))
    changed.requires_grad_()
    loss = LOSSES[name](changed)
    loss.sum().backward()
    torch.testing.assert_close(loss.detach(), LOSSES[name](LOGITS))
    assert not (changed.grad * ~VALID[:, None]).any()
