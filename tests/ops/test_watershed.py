"""The watershed: the engine against the plain reference and scikit-image."""

import numpy as np
import pytest
import skimage
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from skimage.segmentation import watershed as flood

from point2mask import engine
from point2mask.ops import reference

VERSION = tuple(int(part) for part in skimage.__version__.split(".")[:2])


@st.composite
def scenes(draw):
    """Few levels, so that most are ties, of markers and of all else; or none but by chance."""
    shape = draw(st.integers(0, 25)), draw(st.integers(0, 25))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    levels = np.array([-np.inf, -2.0, -0.0, 0.0, 0.5, 3e8, np.inf], np.float32)
    edge = levels[rng.integers(7 - draw(st.integers(1, 7)), 7, shape)]
    if draw(st.booleans()):
        edge = rng.normal(size=shape).astype(np.float32)
    share = draw(st.sampled_from([0.0, 0.01, 0.1, 0.7]))
    markers = np.where(rng.random(shape) < share, rng.integers(0, 9, shape), -1)
    return edge, markers.astype(np.int32)


@examples(300)
@given(scene=scenes())
def test_floods_as_the_reference(scene):
    np.testing.assert_array_equal(engine.watershed(*scene), reference.watershed(*scene))


@examples(300)
@given(scene=scenes())
def test_floods_as_scikit_image(scene):
    """Later versions may take markers in another order: there they are made the lowest pixels."""
    edge, markers = scene
    if VERSION > (0, 26):
        edge = np.where(markers >= 0, np.float32(-np.inf), edge)
    if edge.size:
        np.testing.assert_array_equal(engine.watershed(edge, markers), flood(edge, markers + 1) - 1)


def test_a_large_smooth_picture_as_scikit_image():
    y, x = np.indices((300, 400)) / 20
    edge = (np.sin(y) * np.cos(x) + np.sin(y * x / 9)).astype(np.float32)
    markers = np.full(edge.shape, -1, np.int32)
    markers[10::37, 5::41] = np.arange(8 * 10).reshape(8, 10)
    edge[markers >= 0] = edge.min()
    np.testing.assert_array_equal(engine.watershed(edge, markers), flood(edge, markers + 1) - 1)


@pytest.mark.parametrize(
    ("edge", "markers", "message"),
    [
        (np.array([[0, np.nan]]), [[0, -1]], "watershed: edge must not be NaN"),
        (np.zeros((1, 2)), [[0, -2]], "watershed: markers must be at least -1, got -2"),
        (np.zeros((1, 2)), [[0], [1]], r"watershed: markers must have shape \[H=1, W=2\]"),
        (np.zeros((1, 2)), [[0.5, 1]], "watershed: markers must hold integers, got float64"),
        (
            np.zeros((2**31, 0)),
            np.zeros((2**31, 0), np.int32),
            r"watershed: edge must have \(H \+ 2\) .* 4294967295, got H=2147483648, W=0",
        ),
        (np.zeros(2), [0, 1], r"watershed: edge must have shape \[H, W\], got \[2\]"),
    ],
)
def test_rejects(edge, markers, message):
    with pytest.raises(ValueError, match=message):
        engine.watershed(edge, markers)
