"""rgb_to_lab against scikit-image."""

import numpy as np
import pytest
import torch
from skimage.color import rgb2lab

from point2mask.ops import rgb_to_lab


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 2e-4), (torch.float32, 4e-4)])
def test_equals_scikit_image(dtype, tolerance):
    # scikit-image rounds the slope of the linear part to 7.787, which shifts a by up to
    # 500 * 4e-5 * 0.0089 = 1.7e-4; float32 adds about 1e-4.
    image = np.random.default_rng(0).random((2, 3, 20, 30))
    image[0, :, :2] *= 0.01  # the linear ends of both curves
    got = rgb_to_lab(torch.from_numpy(image).to(dtype))
    assert got.dtype == dtype
    expected = rgb2lab(image, channel_axis=1)
    np.testing.assert_allclose(got.numpy(), expected, rtol=0, atol=tolerance)


def test_literal_colors():
    colors = torch.tensor([[0.0, 0, 0], [1, 1, 1], [1, 0, 0], [0, 0, 1]]).double()
    got = rgb_to_lab(colors.T[None, :, None])[0, :, 0].T
    expected = [[0, 0, 0], [100, 0, 0], [53.24, 80.09, 67.20], [32.30, 79.19, -107.86]]
    torch.testing.assert_close(got, torch.tensor(expected).double(), rtol=0, atol=0.01)


def test_clips_to_the_unit_interval():
    wild = torch.tensor([-3.0, 0.5, 7.0]).view(1, 3, 1, 1)
    assert torch.equal(rgb_to_lab(wild), rgb_to_lab(wild.clamp(0, 1)))


@pytest.mark.parametrize("shape", [(0, 3, 4, 5), (2, 3, 0, 5)])
def test_empty_images(shape):
    assert rgb_to_lab(torch.zeros(shape)).shape == shape


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (torch.zeros(3, 4, 5), r"image must have shape \[B, 3, H, W\], got \[3, 4, 5\]"),
        (torch.zeros(1, 4, 4, 5), r"image must have shape \[B, 3, H, W\], got \[1, 4, 4, 5\]"),
        (torch.zeros(1, 3, 4, 5, dtype=torch.uint8), "image must be floating point in"),
    ],
)
def test_rejects(image, message):
    with pytest.raises(ValueError, match=message):
        rgb_to_lab(image)


def test_autocast_changes_nothing():
    image = torch.rand(1, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", torch.bfloat16):
        got = rgb_to_lab(image)
    assert got.dtype == torch.float32
    assert torch.equal(got, rgb_to_lab(image))
