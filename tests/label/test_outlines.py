"""Outlines moved to edges: a picture whose edges are known, scikit-image, and what never moves."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import distance_transform_edt
from skimage.segmentation import watershed

from point2mask.label.outlines import edge_strength, move_to_edges


def disc(y, x, radius, shape=(48, 64)):
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    return (rows - y) ** 2 + (columns - x) ** 2 <= radius**2


def flooded(truth, grown):
    """Grown labels in a picture whose colours are the true labels', with noise."""
    colors = np.array([[0.2, 0.5, 0.2], [0.7, 0.4, 0.3], [0.2, 0.3, 0.8]])
    noise = np.random.default_rng(0).normal(0, 0.02, (*truth.shape, 3))
    image = torch.from_numpy(colors[truth] + noise).permute(2, 0, 1).clamp(0, 1).float()
    return move_to_edges(grown.astype(np.int32), edge_strength(image))


def test_outlines_find_the_edges_nearby():
    truth = np.where(disc(24, 20, 12), 1, np.where(disc(24, 44, 12), 2, 0))
    shifted = np.where(disc(26, 22, 13), 1, np.where(disc(22, 45, 10), 2, 0))
    assert (shifted != truth).mean() > 0.08
    assert (flooded(truth, shifted) != truth).mean() < 0.01
    # Nobody's pixels are moved as others are.
    shifted, truth = shifted - 1, truth - 1
    assert (flooded(truth + 1, shifted) != truth).mean() < 0.01


def test_what_is_thin_or_whole_stays():
    truth = np.where(disc(24, 20, 12), 1, 0)
    line = np.zeros(truth.shape, int)
    line[30] = 1  # no deeper than it is thin
    assert (flooded(truth, line)[30] == 1).all()
    np.testing.assert_array_equal(flooded(truth, np.full(truth.shape, 4)), 4)
    np.testing.assert_array_equal(flooded(truth, np.full(truth.shape, -1)), -1)


def reference(labels, edge, reach):
    height, width = labels.shape
    padded = np.pad(labels, 1, mode="edge")
    around = [padded[y : y + height, x : x + width] for y, x in ((0, 1), (2, 1), (1, 0), (1, 2))]
    is_outline = np.any([labels != beside for beside in around], axis=0)
    depth = np.full(labels.shape, np.inf)
    if is_outline.any():
        depth = distance_transform_edt(~is_outline) + 1
    inner = np.zeros(labels.shape, bool)
    for value in np.unique(labels):
        own = labels == value
        inner |= own & (depth > min(reach, 0.6 * depth[own].max()))
    padded = np.pad(inner, 1, constant_values=True)
    around = [padded[y : y + height, x : x + width] for y, x in ((0, 1), (2, 1), (1, 0), (1, 2))]
    markers = np.where(inner & ~np.all(around, axis=0), labels + 2, 0)
    return np.where(inner, labels, watershed(edge, markers) - 2)


@given(st.integers(0, 2**32 - 1), st.integers(1, 20), st.integers(1, 20), st.integers(1, 6))
def test_is_scikit_images_watershed_between_inner_parts(seed, height, width, reach):
    random = np.random.default_rng(seed)
    edge = random.random((height, width), np.float32)
    labels = np.full((height, width), random.integers(-1, 2), np.int32)
    for label in range(random.integers(1, 5)):
        y, x, radius = random.uniform(0, (height, width, 9))
        labels[disc(y, x, radius, labels.shape)] = label
    got = move_to_edges(labels, edge, reach)
    assert got.dtype == np.int32
    np.testing.assert_array_equal(got, reference(labels, edge, reach))
    np.testing.assert_array_equal(np.unique(got), np.unique(labels))  # nobody vanishes


def test_edges_are_strong_between_colours():
    image = torch.zeros(3, 20, 30)
    image[:, :, 15:] = torch.tensor([0.0, 0.6, 0.0])[:, None, None]
    edge = edge_strength(image)
    assert edge.dtype == np.float32
    assert edge.shape == (20, 30)
    assert set(edge.argmax(1)) <= {14, 15}
    assert edge[:, :8].max() < 1e-3
    np.testing.assert_array_equal(edge, edge_strength(image.double()))
