"""Cells, resizes and position encodings of padded batches."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from networks import batch

from point2mask.models.config import MASK_LEVELS, STRIDES
from point2mask.models.geometry import Geometry, cells, on_canvas
from point2mask.models.positional import sine_position

SIDE = st.integers(1, 100)


def geometry_of(sizes, canvas) -> Geometry:
    images, image_size = batch(sizes, canvas)
    return Geometry.of(image_size, images)


@given(st.lists(st.tuples(SIDE, SIDE), min_size=1, max_size=3))
def test_maps_are_placed_on_the_least_canvas(sizes):
    maps = [torch.rand(2, h, w) for h, w in sizes]
    canvas = on_canvas(maps, -1)
    heights, widths = zip(*sizes, strict=True)
    assert canvas.shape == (len(sizes), 2, -(-max(heights) // 32) * 32, -(-max(widths) // 32) * 32)
    for one, placed in zip(maps, canvas, strict=True):
        h, w = one.shape[1:]
        assert torch.equal(placed[:, :h, :w], one)
        assert bool((placed[:, h:] == -1).all())
        assert bool((placed[:, :, w:] == -1).all())


@given(st.lists(st.tuples(SIDE, SIDE), min_size=1, max_size=3), st.integers(0, 40))
def test_a_cell_is_valid_if_it_holds_a_pixel_of_its_image(sizes, slack):
    canvas = (max(h for h, _ in sizes) + slack, max(w for _, w in sizes) + 2 * slack)
    geometry = geometry_of(sizes, canvas)
    pixels = torch.zeros(len(sizes), 1, *canvas)
    for image, (h, w) in zip(pixels, sizes, strict=True):
        image[:, :h, :w] = 1
    expected = []
    for stride, shape in zip(STRIDES, geometry.shapes, strict=True):
        padded = F.pad(pixels, (0, -canvas[1] % stride, 0, -canvas[0] % stride))
        level = F.max_pool2d(padded, stride)[:, 0] > 0
        assert level.shape[1:] == shape
        expected.append(level.flatten(1))
    assert torch.equal(geometry.valid, torch.cat(expected, 1))
    assert torch.equal(geometry.finest.flatten(1), expected[0])
    assert geometry.mask_cells == sum(level.shape[1] for level in expected[:MASK_LEVELS])


@given(SIDE, SIDE, st.integers(0, 40), st.integers(1, 2))
def test_resizing_to_stride_8_is_bilinear_on_the_image_alone(height, width, slack, level):
    geometry = geometry_of([(height, width)], (height + slack, width + slack))
    maps = torch.randn(1, 2, *geometry.shapes[level], dtype=torch.float64)
    stride, factor = STRIDES[level], STRIDES[level] // STRIDES[0]
    inside = maps[..., : cells(height, stride), : cells(width, stride)]
    expected = F.interpolate(inside, scale_factor=factor, mode="bilinear", align_corners=False)
    h, w = cells(height, STRIDES[0]), cells(width, STRIDES[0])
    found = geometry.to_finest(level, maps)
    assert found.shape[-2:] == geometry.shapes[0]
    # The weights are multiples of 1/64: only sums are rounded.
    torch.testing.assert_close(found[..., :h, :w], expected[..., :h, :w], rtol=0, atol=1e-14)


@pytest.mark.parametrize("leading", [(), (2,)])
def test_full_resolution_is_that_of_each_image_alone(leading):
    sizes, canvas = [(41, 64), (8, 13)], (48, 70)
    geometry = geometry_of(sizes, canvas)
    maps = torch.randn(*leading, 2, 3, *geometry.shapes[0], requires_grad=True)
    full = geometry.to_pixels(maps)
    assert full.shape == (*leading, 2, 3, *canvas)
    for b, (h, w) in enumerate(sizes):
        part = maps.select(-4, b)[..., : cells(h, 8), : cells(w, 8)]
        flat = part.reshape(-1, 1, *part.shape[-2:])
        alone = F.interpolate(flat, scale_factor=8, mode="bilinear")[..., :h, :w]
        found = full.select(-4, b)
        assert torch.equal(found[..., :h, :w].reshape(alone.shape), alone)
        assert (found[..., h:, :] == 0).all()
        assert (found[..., w:] == 0).all()
    (gradient,) = torch.autograd.grad(full.sum(), maps)
    assert (gradient.movedim(-3, 0)[:, ..., ~geometry.finest] == 0).all()


def test_no_maps_at_full_resolution():
    geometry = geometry_of([(20, 30)], (20, 30))
    assert geometry.to_pixels(torch.zeros(1, 0, 3, 4)).shape == (1, 0, 20, 30)


@pytest.mark.parametrize("size", [(0, 4), (9, 4), (8, 5)])
def test_sizes_outside_the_batch_are_refused(size):
    images = torch.zeros(2, 3, 8, 4)
    with pytest.raises(ValueError, match=r"image_size must be within 1 x 1 and 8 x 4, .* image 1"):
        Geometry.of(torch.tensor([(8, 4), size]), images)


def test_wrong_shapes_are_refused():
    with pytest.raises(ValueError, match="images must have shape"):
        Geometry.of(torch.tensor([[4, 4]]), torch.zeros(1, 1, 4, 4))
    with pytest.raises(ValueError, match="image_size must have shape"):
        Geometry.of(torch.tensor([4, 4]), torch.zeros(1, 3, 4, 4))


def test_position_depends_on_the_place_in_the_image_alone():
    """The same image in a larger batch, and the same relative place in a larger image."""
    extent = torch.tensor([[5.0, 3.0]], dtype=torch.float64)
    small = sine_position((3, 5), extent, 8).view(3, 5, 8)
    padded = sine_position((6, 7), extent, 8).view(6, 7, 8)
    assert torch.equal(padded[:3, :5], small)
    scaled = sine_position((9, 15), 3 * extent, 8).view(9, 15, 8)
    # Not 0 only because of the small constant in the denominator, 1e-6 of a cell.
    torch.testing.assert_close(scaled[1::3, 1::3], small, rtol=0, atol=1e-5)
