"""A promptable network as a cue, tried with small networks of the same inputs and outputs."""

import json

import numpy as np
import pytest
from PIL import Image
from prompt_networks import SIDE, decoder_with, encoder_with, write_networks

from point2mask.cli import main
from point2mask.data import DataError, ImageRecord, PointLabels, PointTarget
from point2mask.data.marks import Marks
from point2mask.data.panoptic import read_panoptic
from point2mask.data.points import write_points
from point2mask.data.records import Category
from point2mask.label import PICTURE_ASSIGNERS, PreparedImage, label_image
from point2mask.label.mask_costs import HIGHEST, mask_cost
from point2mask.label.prompts import NEGATIVES, PromptableNetwork, prompt

pytest.importorskip("onnx", reason="needs onnx")
pytest.importorskip("onnxruntime", reason="needs point2mask[prompts]")

HEIGHT, WIDTH = 96, 128
BLUE, RED, GREEN = (40, 60, 200), (200, 50, 40), (60, 160, 60)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_networks(tmp_path_factory.mktemp("prompts") / "sam")


@pytest.fixture(scope="module")
def network(folder):
    return PromptableNetwork(folder)


def two_pieces():
    """Two red pieces far from each other on blue: only who knows the colour joins them."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    mask = ((y - 48) ** 2 + (x - 28) ** 2 < 18**2) | ((y - 48) ** 2 + (x - 100) ** 2 < 18**2)
    return np.where(mask[..., None], RED, BLUE).astype(np.uint8), mask


def iou(mine, true):
    return (mine & true).sum() / (mine | true).sum()


TARGETS = [PointTarget(3, 1, ((28.5, 48.5),)), PointTarget(7, 2, ((64.5, 10.5),))]
THINGS = [True, False]


@pytest.mark.parametrize("assigner", PICTURE_ASSIGNERS)
def test_masks_follow_the_network(network, assigner):
    image, mask = two_pieces()
    plain = label_image(image, TARGETS, assigner, is_thing=THINGS)
    assert iou(plain == 0, mask) < 0.6  # the other piece is not reached without it
    asked = label_image(image, TARGETS, assigner, is_thing=THINGS, prompts=network)
    assert iou(asked == 0, mask) > 0.9
    assert (asked >= 0).all()


@pytest.mark.parametrize("assigner", PICTURE_ASSIGNERS)
def test_the_picture_decides_where_the_network_denies_a_pixel_to_all(folder, tmp_path, assigner):
    nothing = decoder_with("top = {8}", "top = {-90}")
    network = PromptableNetwork(write_networks(tmp_path / "sam", decoder=nothing))
    image, _ = two_pieces()
    plain = label_image(image, TARGETS, assigner, is_thing=THINGS)
    asked = label_image(image, TARGETS, assigner, is_thing=THINGS, prompts=network)
    # Transport alone has other supplies, from the cells of the lowest cost.
    assert (plain == asked).mean() > (0.7 if assigner == "transport" else 0.999)


def test_pieces_of_stuff_are_asked_for_one_by_one(network):
    image = np.full((HEIGHT, WIDTH, 3), BLUE, np.uint8)
    image[:, :30] = RED
    image[:, 100:] = GREEN
    targets = [PointTarget(1, 1, ((10, 50), (110, 50))), PointTarget(2, 2, ((60, 50),))]
    prepared = network.prepare(image, (HEIGHT, WIDTH))
    clicks = [target.points for target in targets]
    stuff, _ = prepared.costs(clicks, [False, False], [])
    thing, _ = prepared.costs(clicks, [True, False], [])
    assert (stuff[50, 110] < 0.1) & (stuff[50, 10] < 0.1) & (stuff[50, 60] > 3)
    assert thing[50, 110] > 3  # by the first click alone, as this network has it


def test_clicks_on_nothing_stay_free(network):
    image, _ = two_pieces()
    marks = Marks(rest=((100.5, 48.5),))
    labels = label_image(image, TARGETS, is_thing=THINGS, marks=marks, prompts=network)
    assert labels[48, 100] == -1
    assert labels[48, 28] == 0


def test_what_was_asked_is_kept_and_changes_nothing(network):
    image, _ = two_pieces()
    prepared = PreparedImage(image, prompts=network)
    first = prepared.label(TARGETS, is_thing=THINGS)
    moved = [PointTarget(3, 1, ((100.5, 48.5),)), TARGETS[1]]
    other = prepared.label(moved, is_thing=THINGS)
    fresh = label_image(image, moved, is_thing=THINGS, prompts=network)
    np.testing.assert_array_equal(other, fresh)
    np.testing.assert_array_equal(first, prepared.label(TARGETS, is_thing=THINGS))


@pytest.mark.parametrize("shape", [(40, 300), (300, 40), (64, 64), (1, 7), (700, 900)])
def test_pictures_of_any_proportions(network, shape):
    image = np.full((*shape, 3), BLUE, np.uint8)
    image[:, : shape[1] // 2] = RED
    at = shape[0] / 2
    targets = [[(shape[1] / 4, at)], [(shape[1] * 3 / 4, at)]]
    labels = label_image(image, targets, prompts=network)
    assert labels.shape == shape
    assert (labels[:, : shape[1] // 4] == 0).all()
    assert (labels[:, -(shape[1] // 4) :] == 1).all()


def test_a_prompt_has_all_own_clicks_and_the_nearest_of_others():
    others = [(100.0 + k, 10.0) for k in range(20)]
    points, labels = prompt([(10.0, 20.0), (4.5, 6.5)], others[::-1], (2.0, 0.5))
    assert labels.tolist() == [1, 1] + [0] * NEGATIVES
    # (x, y) in the encoder's pixels; the decoder adds the half pixel again.
    np.testing.assert_allclose(points[:2], [(19.5, 9.5), (8.5, 2.75)])
    np.testing.assert_allclose(points[2:, 0], [2 * x - 0.5 for x, _ in others[:NEGATIVES]])
    assert (points.dtype, labels.dtype) == (np.float32, np.float32)


def test_costs_are_bounded_logarithms():
    logits = np.array([-1e30, -90, 0, 90, 1e30], np.float32)
    cost = mask_cost(logits)
    np.testing.assert_allclose(cost, [HIGHEST, HIGHEST, -np.log(0.51), 0, 0], atol=1e-6)
    assert (np.diff(mask_cost(np.linspace(-20, 20, 99, dtype=np.float32))) <= 0).all()


def test_label_with_prompts(folder, tmp_path, capsys):
    image, mask = two_pieces()
    Image.fromarray(image).save(tmp_path / "a.png")
    categories = {
        1: Category(1, "disc", True, (255, 0, 0)),
        2: Category(2, "ground", False, (0, 0, 255)),
    }
    labels = PointLabels(categories, [(ImageRecord(1, "a.png", HEIGHT, WIDTH), TARGETS)])
    write_points(tmp_path / "points.json", labels)
    command = ["label", "--images", str(tmp_path), "--points", str(tmp_path / "points.json")]
    out = tmp_path / "out"
    assert main([*command, "--out", str(out), "--prompts", str(folder), "--json"]) == 0
    data = read_panoptic(out / "panoptic.json", out / "panoptic")
    ids = data.segment_map(data.images[0])
    assert iou(ids == 3, mask) > 0.9
    summary = json.loads((out / "summary.json").read_text())
    assert summary["prompts"] == PromptableNetwork(folder).digest()
    capsys.readouterr()
    wrong = [*command, "--out", str(tmp_path / "other"), "--prompts"]
    assert main([*wrong, str(tmp_path / "none")]) == 2
    assert "expected the folder of a promptable network" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("encoder", "decoder", "message"),
    [
        (None, decoder_with("] has_mask_input", "] has_mask"), "got has_mask, image_embeddings"),
        (None, decoder_with("iou_predictions", "quality_of_masks"), "there is no iou_predictions"),
        (encoder_with("float[1,3,", "float[1,4,"), None, "square pictures [1, 3, S, S]"),
    ],
)
def test_refuses_other_networks(tmp_path, encoder, decoder, message):
    given = {"encoder": encoder, "decoder": decoder}
    folder = write_networks(tmp_path / "sam", **{k: v for k, v in given.items() if v})
    with pytest.raises(DataError) as error:
        PromptableNetwork(folder)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_the_side_is_the_encoders(network):
    assert network.side == SIDE


def test_refuses_other_files(tmp_path, folder):
    (tmp_path / "one").mkdir()
    with pytest.raises(DataError, match="expected two ONNX files, encoder and decoder, got none"):
        PromptableNetwork(tmp_path / "one")
    for name in ("a", "b"):
        (tmp_path / "one" / f"{name}.onnx").write_bytes(b"no network")
    with pytest.raises(DataError, match=r"a\.onnx: expected a network as ONNX") as error:
        PromptableNetwork(tmp_path / "one")
    assert "\n" not in str(error.value)
    encoder = (folder / "the_encoder.onnx").read_bytes()
    for name in ("a", "b"):
        (tmp_path / "one" / f"{name}.onnx").write_bytes(encoder)
    with pytest.raises(DataError, match="an encoder of one input and a decoder of 6, got 1 and 1"):
        PromptableNetwork(tmp_path / "one")


def test_a_network_that_gives_no_numbers_is_named(tmp_path):
    broken = decoder_with("top = {8}", "top = {nan}")
    network = PromptableNetwork(write_networks(tmp_path / "sam", decoder=broken))
    with pytest.raises(DataError, match="expected finite masks"):
        label_image(two_pieces()[0], TARGETS, prompts=network)
