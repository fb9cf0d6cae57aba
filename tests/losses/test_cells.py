"""Pictures and labels at stride 8, against the published operations on one whole image."""

import numpy as np
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from training import SIZES, geometry, make_batch, randn

from point2mask.pseudo_masks import PointBatch
from point2mask.pseudo_masks.cells import cell_labels, cell_means, point_labels


def test_colors_are_the_bilinear_resize_of_the_image_alone():
    batch = make_batch(fill=float("nan"))
    valid = geometry().finest
    colors = cell_means(batch.images, batch.image_size, valid.shape[1:])
    for b, (h, w) in enumerate(SIZES):  # multiples of 8, for which the resize has whole cells
        image = batch.images[b : b + 1, :, :h, :w]
        expected = F.interpolate(image, (h // 8, w // 8), mode="bilinear", align_corners=False)
        torch.testing.assert_close(colors[b, :, : h // 8, : w // 8], expected[0])


def test_colors_repeat_the_border_of_a_part_of_a_cell():
    images = randn(1, 3, 8, 16)
    images[..., 10:] = torch.nan
    colors = cell_means(images, torch.tensor([[8, 10]]), (1, 2))
    torch.testing.assert_close(colors[0, :, 0, 1], images[0, :, 3:5, 9].mean(1))


def test_labels_are_those_at_centres():
    labels = torch.arange(16 * 16).view(1, 16, 16)
    valid = torch.tensor([[[True, True], [True, False]]])
    picked = cell_labels(labels, torch.tensor([[16, 16]]), valid)
    assert picked.tolist() == [[[4 * 16 + 4, 4 * 16 + 12], [12 * 16 + 4, -1]]]


def published_labels(points, height, width, size):
    """Squares by max-pooling one-hot points, nearest resize, the lowest class wins."""
    target = np.zeros((6, height, width), bool)
    reach = size // 2
    for category, clicks in points:
        for x, y in clicks:
            y, x = int(y), int(x)
            rows = slice(max(y - reach, 0), y + reach + 1)
            target[category, rows, max(x - reach, 0) : x + reach + 1] = True
    cells = target[:, ::8, ::8]
    return np.where(cells.any(0), cells.argmax(0), -1)


CLICK = st.tuples(st.integers(0, 47), st.integers(0, 39)).map(lambda p: (float(p[0]), float(p[1])))
TARGET = st.tuples(st.integers(0, 5), st.lists(CLICK, max_size=3))


@given(st.lists(TARGET, max_size=4), st.sampled_from([1, 5, 9, 17, 33]))
def test_point_labels_equal_the_published_target(targets, size):
    valid = torch.ones(1, 5, 6, dtype=torch.bool)
    label = point_labels(PointBatch.from_lists([targets]), torch.tensor([[40, 48]]), valid, size)
    np.testing.assert_array_equal(label[0], published_labels(targets, 40, 48, size))


def test_no_point_labels_in_padding():
    valid = torch.zeros(1, 5, 6, dtype=torch.bool)
    valid[:, :3, :3] = True
    points = PointBatch.from_lists([[(2, [(23.0, 23.0)])]])
    label = point_labels(points, torch.tensor([[24, 24]]), valid, 17)
    assert (label >= 0).nonzero()[:, 1:].tolist() == [[2, 2]]
