"""What a picture says without learned weights: edge strength, and the appearance of pixels.

Lengths in pixels are those of an ordinary picture; they are multiplied by the unit of
:class:`~point2mask.label.size.WorkingSize`.
"""

import numpy as np
from numpy.typing import NDArray

from point2mask import engine

COLOR_BINS = 8  # a channel
ORIENTATION_BINS = 6
# Gradient of lightness, units of L a pixel: below the first it has no orientation.
STRENGTH_LIMITS = (0.5, 1.5, 4.0, 10.0)


def lab_picture(rgb: NDArray[np.float32]) -> NDArray[np.float32]:
    """CIE L*a*b* ``float32 [H, W, 3]`` (D65) of an RGB picture ``[H, W, 3]`` in [0, 255]."""
    from skimage.color import rgb2lab

    return np.asarray(rgb2lab(rgb / np.float32(255)), dtype=np.float32)


def built_in_edges(lab: NDArray[np.float32], unit: float) -> NDArray[np.float32]:
    """Edge strength ``[H, W]``, about 1 on strong edges: colour gradient and histogram gradient.

    Their geometric mean: the first is sharp but sees texture, the second sees borders of texture
    but blurs them.
    """
    histogram = engine.histogram_gradient(
        np.moveaxis(_unit_lab(lab), 2, 0),
        bins=COLOR_BINS,
        radius=max(2, round(6 * unit)),
        distance=max(2, round(8 * unit)),
    )
    color = normalized(color_gradient(lab, 1.0))
    return np.asarray(np.sqrt(color * normalized(histogram)))


def color_gradient(lab: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    """Length of the Gaussian gradient ``[H, W]`` over all three channels."""
    from scipy.ndimage import gaussian_filter

    square = np.zeros(lab.shape[:2], np.float32)
    for channel in np.moveaxis(lab, 2, 0):
        for order in ((0, 1), (1, 0)):
            square += gaussian_filter(channel, sigma, order=order) ** 2
    return np.sqrt(square)


def normalized(edge: NDArray[np.floating]) -> NDArray[np.float32]:
    """Edge strength in units of its 99th percentile; zeros stay zeros."""
    top = float(np.percentile(edge, 99)) or float(edge.max()) or 1.0
    return np.asarray(edge / top, dtype=np.float32)


def appearance_bins(lab: NDArray[np.float32]) -> tuple[NDArray[np.int32], tuple[int, int]]:
    """Histogram bins of every pixel ``int32 [2, H, W]``, by colour and texture, and their counts.

    Texture is the orientation of the lightness gradient at four strengths, and none if it is weak.
    """
    from scipy.ndimage import gaussian_filter

    color = np.minimum((_unit_lab(lab) * COLOR_BINS).astype(np.int32), COLOR_BINS - 1)
    color_bin = (color[..., 0] * COLOR_BINS + color[..., 1]) * COLOR_BINS + color[..., 2]
    gradient_y, gradient_x = (
        gaussian_filter(lab[..., 0], 1.0, order=order) for order in ((1, 0), (0, 1))
    )
    turn = np.arctan2(gradient_y, gradient_x) % np.pi / np.pi
    orientation = np.minimum((turn * ORIENTATION_BINS).astype(np.int32), ORIENTATION_BINS - 1)
    strength = np.digitize(np.hypot(gradient_y, gradient_x), STRENGTH_LIMITS)
    texture_bin = np.where(strength > 0, 1 + (strength - 1) * ORIENTATION_BINS + orientation, 0)
    bins = np.stack([color_bin, texture_bin.astype(np.int32)])
    return bins, (COLOR_BINS**3, 1 + len(STRENGTH_LIMITS) * ORIENTATION_BINS)


def _unit_lab(lab: NDArray[np.float32]) -> NDArray[np.float32]:
    """L in [0, 100] and a, b in [-60, 60], which holds all but the most vivid, to [0, 1]."""
    low = np.array([0, -60, -60], np.float32)
    high = np.array([100, 60, 60], np.float32)
    return np.clip((lab - low) / (high - low), 0, 1)
