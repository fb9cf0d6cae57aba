"""label_image on pictures whose masks are known."""

import numpy as np
import pytest

from point2mask.data import PointTarget
from point2mask.label import PICTURE_ASSIGNERS, PreparedImage, label_image

BLUE, RED, GREEN = (40, 60, 200), (200, 50, 40), (60, 160, 60)


def target(identity, *points, area=None):
    return PointTarget(identity, 1, points, area)


def noisy(picture, seed=0, amplitude=4):
    noise = np.random.default_rng(seed).integers(-amplitude, amplitude + 1, picture.shape)
    return np.clip(picture + noise, 0, 255).astype(np.uint8)


def disc_picture():
    """A red disc on blue with a green bar below: masks [H, W] 0 background, 1 disc, 2 bar."""
    y, x = np.mgrid[:96, :128]
    masks = np.where((y - 40) ** 2 + (x - 50) ** 2 < 22**2, 1, np.where(y > 75, 2, 0))
    return noisy(np.array([BLUE, RED, GREEN])[masks]), masks


DISC_TARGETS = [target(10, (100.0, 20.0)), target(11, (55.0, 45.0)), target(12, (30.0, 85.0))]
IS_THING = [False, True, False]


def iou(labels, masks, index):
    mine, true = labels == index, masks == index
    return (mine & true).sum() / (mine | true).sum()


@pytest.mark.parametrize("assigner", PICTURE_ASSIGNERS)
def test_finds_regions_of_one_colour(assigner):
    image, masks = disc_picture()
    labels = label_image(image, DISC_TARGETS, assigner, is_thing=IS_THING)
    assert labels.dtype == np.int32
    for index in range(3):
        assert iou(labels, masks, index) > 0.9


@pytest.mark.parametrize("assigner", PICTURE_ASSIGNERS)
def test_is_deterministic_and_leaves_its_input_alone(assigner):
    image, _ = disc_picture()
    before = image.copy()
    first = label_image(image, DISC_TARGETS, assigner)
    np.testing.assert_array_equal(first, label_image(image, DISC_TARGETS, assigner))
    np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize("assigner", PICTURE_ASSIGNERS)
def test_all_points_of_a_target_count(assigner):
    picture = np.full((60, 120, 3), BLUE)
    picture[20:40, 10:30] = picture[20:40, 90:110] = RED
    targets = [target(1, (60.0, 5.0)), target(2, (20.0, 30.0), (100.0, 30.0))]
    labels = label_image(noisy(picture), targets, assigner, is_thing=[False, True])
    assert (labels[22:38, 12:28] == 1).mean() > 0.95
    assert (labels[22:38, 92:108] == 1).mean() > 0.95
    assert (labels[45:, 50:70] == 0).all()


@pytest.mark.parametrize("assigner", PICTURE_ASSIGNERS)
def test_crowded_clicks_each_get_their_pixel(assigner):
    image, _ = disc_picture()
    clicks = [(x, y) for y in range(30, 36) for x in range(40, 46)]
    targets = [target(k + 1, (float(x), float(y))) for k, (x, y) in enumerate(clicks)]
    labels = label_image(image, targets, assigner, max_side=64)  # four clicks a pixel
    assert [labels[y, x] for x, y in clicks] == list(range(len(clicks)))


@pytest.mark.parametrize("assigner", PICTURE_ASSIGNERS)
@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (7, 5)])
def test_tiny_pictures(assigner, shape):
    image = noisy(np.full((*shape, 3), 128), amplitude=20)
    labels = label_image(image, [target(5, (0.0, 0.0), area=3.0)], assigner)
    assert labels.shape == shape
    assert (labels == 0).all()


@pytest.mark.parametrize("assigner", PICTURE_ASSIGNERS)
def test_a_flat_picture_is_shared(assigner):
    image = np.full((64, 128, 3), 100, np.uint8)
    targets = [target(1, (30.0, 32.0)), target(2, (98.0, 32.0))]
    labels = label_image(image, targets, assigner)
    assert set(np.unique(labels)) == {0, 1}
    assert labels[32, 20] == 0
    assert labels[32, 108] == 1


def test_given_edges_replace_what_the_picture_lacks():
    image = np.full((64, 128, 3), 100, np.uint8)
    edges = np.zeros((32, 64), np.float32)  # of another size, too
    edges[:, 20] = edges[:, 21] = 3.0
    targets = [target(1, (10.0, 32.0)), target(2, (98.0, 32.0))]
    for assigner in ("merge", "watershed"):
        labels = label_image(image, targets, assigner, edges=edges)
        np.testing.assert_array_equal(np.unique(labels[:, :38]), [0])
        np.testing.assert_array_equal(np.unique(labels[:, 46:]), [1])


def test_things_stay_near_their_clicks():
    image, _ = disc_picture()
    flat = noisy(np.full((96, 128, 3), BLUE), amplitude=25)
    targets = [target(1, (64.0, 48.0)), target(2, (84.0, 48.0))]
    thing = label_image(flat, targets, "merge", is_thing=[True, False]) == 0
    stuff = label_image(flat, targets, "merge", is_thing=[False, False]) == 0
    assert thing.sum() < stuff.sum()
    assert image.shape == flat.shape


def test_targets_without_clicks_get_nothing():
    image, masks = disc_picture()
    targets = [target(9), *DISC_TARGETS]
    labels = label_image(image, targets, is_thing=[True, *IS_THING])
    assert iou(labels - 1, masks, 1) > 0.9
    assert (label_image(image, []) == -1).all()
    assert (label_image(image, [target(9)]) == -1).all()


def test_targets_may_be_clicks_alone():
    image, _ = disc_picture()
    expected = label_image(image, DISC_TARGETS, is_thing=IS_THING)
    for make in (list, tuple, np.array):
        clicks = [make([list(point) for point in target.points]) for target in DISC_TARGETS]
        labels = label_image(image, clicks, is_thing=IS_THING)
        np.testing.assert_array_equal(labels, expected)


IMAGE = np.zeros((4, 6, 3), np.uint8)
ONE = [target(1, (0.0, 0.0))]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"image": IMAGE[..., 0]}, r"image must be uint8 \[H, W, 3\], got uint8 \[4, 6\]"),
        ({"image": IMAGE.astype(float)}, r"image must be uint8 \[H, W, 3\], got float64"),
        ({"assigner": "nearest"}, "assigner must be one of merge, .*, got 'nearest'"),
        ({"max_side": 0}, "max_side must be at least 1, got 0"),
        ({"is_thing": []}, "is_thing must have 1 entries, got 0"),
        ({"image": IMAGE.tolist()}, r"image must be a NumPy array uint8 \[H, W, 3\], got a list"),
        ({"edges": [[0.0]]}, r"edges must be a NumPy array \[h, w\], got a list"),
        ({"edges": np.zeros(6)}, r"edges must be real numbers \[h, w\], got float64 \[6\]"),
        ({"edges": np.zeros((4, 6), complex)}, r"edges must be real numbers .*, got complex128"),
        ({"edges": np.full((4, 6), np.nan)}, "edges must be finite in float32 .* from nan to nan"),
        ({"edges": np.full((4, 6), 1e39)}, "edges must be finite in float32 and not negative"),
        ({"edges": np.full((4, 6), np.inf)}, "edges must be finite in float32 .* to inf"),
        ({"edges": np.full((4, 6), -0.5)}, "and not negative, got values from -0.5 to -0.5"),
        ({"targets": [target(7, (0.0, 0.0), area=0.0)]}, "area must be .* > 0 or None, got 0.0 of"),
        (
            {"targets": [target(7, (0.0, 0.0), area=-1)]},
            "area must be a finite .*, got -1 of target 7",
        ),
        ({"targets": [target(7, (0.0, 0.0), area=np.nan)]}, "area must be a finite .*, got nan"),
        ({"targets": [target(7, (0.0, 0.0), area=np.inf)]}, "area must be a finite .*, got inf"),
        ({"targets": [target(7, (0.0, 0.0), area="9")]}, "area must be a finite .*, got '9'"),
        ({"targets": [target(7, (np.nan, 0.0))]}, r"inside 6 x 4 .*, got \(nan, 0.0\) of target 7"),
        ({"targets": [target(7, (np.inf, 0.0))]}, r"inside 6 x 4 .*, got \(inf, 0.0\) of target 7"),
        ({"targets": [target(7, (0.0,))]}, r"points must be \(x, y\), got \(0.0,\) of target 7"),
        ({"targets": [target(7, (6.0, 0.0))]}, r"inside 6 x 4 .*, got \(6.0, 0.0\) of target 7"),
        ({"targets": [target(7, 3.0)]}, r"points must be \(x, y\), got 3.0 of target 7"),
        ({"targets": [(3, 2)]}, r"PointTargets or lists of clicks \[.*, got \(3, 2\) at index 0"),
        ({"targets": [*ONE, 5]}, "PointTargets or lists of clicks .*, got 5 at index 1"),
        ({"targets": [[("3", 2)]]}, r"lists of clicks .*, got \[\('3', 2\)\] at index 0"),
        ({"targets": [[(3, 9)]]}, r"inside 6 x 4 pixels, got \(3, 9\) of target 1"),
        ({"targets": [*ONE, target(2, (0.5, 0.5))]}, r"must not share a pixel, got \(0, 0\)"),
    ],
)
def test_rejects(arguments, message):
    with pytest.raises(ValueError, match=message):
        label_image(**({"image": IMAGE, "targets": ONE} | arguments))


@pytest.mark.parametrize("assigner", PICTURE_ASSIGNERS)
def test_a_prepared_image_gives_the_same_bits_while_its_clicks_change(assigner):
    image, _ = disc_picture()
    edges = np.random.default_rng(1).random((20, 30))
    prepared = PreparedImage(image, edges, max_side=100)
    moved = target(11, (45.0, 36.0), (60.0, 44.0), area=1500.0)
    for targets in (DISC_TARGETS, [DISC_TARGETS[0], moved, DISC_TARGETS[2]], DISC_TARGETS[:2], []):
        kinds = IS_THING[: len(targets)]
        expected = label_image(image, targets, assigner, edges, 100, kinds)
        np.testing.assert_array_equal(prepared.label(targets, assigner, kinds), expected)
