"""Prediction: files that can be scored, at the pictures' own sizes."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import runs
import torch
from networks import shake

from point2mask.cli import main
from point2mask.data import (
    BrokenPictureError,
    DataError,
    PointTarget,
    Spreading,
    read_panoptic,
    read_rgb,
    sample_points,
    write_points,
    write_rgb,
)
from point2mask.data.augment import AugmentConfig
from point2mask.data.results import INDEX
from point2mask.data.sources import find_pictures
from point2mask.data.training import class_channels
from point2mask.evaluation import panoptic_quality, read_predictions
from point2mask.label.network import TrainedNetwork
from point2mask.models import MergeConfig, PanopticNetwork, make_network
from point2mask.predict import Predictor, evaluate, predict_folder
from point2mask.pseudo_masks import SupervisionConfig

EVERYTHING = MergeConfig(quality_things=0.0, quality_stuff=0.0, mask_threshold=0.3)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    runs.write_data(root, train=4, val=3)
    return root


@pytest.fixture(scope="module")
def truth(root):
    return read_panoptic(root / "annotations/panoptic_val.json")


@pytest.fixture(scope="module")
def predictor(root, truth):
    """An untrained network whose every mask counts."""
    torch.manual_seed(0)
    network = shake(PanopticNetwork(runs.config(root).network)).eval()
    sizes = AugmentConfig(test_short_side=45, max_side=64)
    return Predictor(network, truth.categories, sizes, EVERYTHING, SupervisionConfig())


def test_a_folder_can_be_scored_and_agrees_with_evaluate(root, truth, predictor, tmp_path):
    images = root / "images/val"
    records = [image.record for image in truth.images]
    calls = []
    watch = lambda *n: calls.append(n)  # noqa: E731
    predict_folder(predictor, images, records, tmp_path, progress=watch, overlays=True)
    assert calls == [(1, 3), (2, 3), (3, 3)]
    written = read_predictions(tmp_path, truth)
    assert any(image.segments for image in written.images)
    for image in written.images:
        assert written.segment_map(image).shape == runs.SIZE
    pictures = sorted(path.name for path in (tmp_path / "overlays").iterdir())
    assert pictures == ["000001.jpg", "000002.jpg", "000003.jpg"]
    parts = [evaluate(predictor, images, truth, [0]), evaluate(predictor, images, truth, [1, 2])]
    quality = (parts[0] + parts[1]).quality()
    np.testing.assert_equal(quality, panoptic_quality(truth, written))
    counts = [q.false_positives + q.true_positives for q in quality.per_category.values()]
    assert sum(counts) > 0


@pytest.mark.parametrize("architecture", ["panoptic_segformer", "mask2former", "maskdino"])
def test_a_picture_does_not_mind_its_company(root, truth, predictor, architecture):
    """Pictures of other sizes beside it, and so padding, change nothing."""
    torch.manual_seed(0)
    config = runs.of(architecture, runs.config(root)).network
    all_kept = MergeConfig(
        quality_things=0.0, quality_stuff=0.0, overlap_things=1.0, mask_threshold=0.1
    )
    network = shake(make_network(config)).eval()
    predictor = replace(predictor, network=network, merge=all_kept)
    whole = read_rgb(root / "images/val/000001.png")
    pictures = [whole, whole[:, :30], whole[5:25].repeat(2, 1)]
    for picture, (ids, segments) in zip(pictures, predictor.predict_batch(pictures), strict=True):
        alone, segments_alone = predictor.predict(picture)
        np.testing.assert_array_equal(ids, alone)
        assert segments == segments_alone
        assert segments


@pytest.mark.parametrize("architecture", ["panoptic_segformer", "mask2former", "maskdino"])
@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_computes_in_it_and_finds_much_the_same(
    root, truth, predictor, architecture, precision
):
    torch.manual_seed(0)
    config = runs.of(architecture, runs.config(root)).network
    predictor = replace(predictor, network=shake(make_network(config)).eval())
    half = replace(predictor, precision=precision)
    assert half.digest() != predictor.digest()
    kinds = set()
    hooks = [
        module.register_forward_hook(lambda *call: kinds.add(call[-1].dtype))
        for module in predictor.network.modules()
        if isinstance(module, torch.nn.Linear)
    ]
    pixels = read_rgb(root / "images/val/000001.png")
    ids, segments = half.predict(pixels)
    assert kinds - {torch.float32} == {getattr(torch, precision)}  # boxes are in full
    for hook in hooks:
        hook.remove()
    full, others = predictor.predict(pixels)
    assert bool(segments) == bool(others)
    assert ((ids > 0) == (full > 0)).mean() > 0.9
    trained = TrainedNetwork(half)
    keys = list(truth.categories)
    clicks = [PointTarget(n, k, ((9.0 * n, 9.0 * n),)) for n, k in ((1, keys[0]), (2, keys[-1]))]
    labels = trained.prepare(pixels).label(clicks, truth.categories)
    expected = TrainedNetwork(predictor).prepare(pixels).label(clicks, truth.categories)
    assert (labels == expected).mean() > 0.9


def masks(folder):
    """The bytes of all masks, and the index."""
    return {path.name: path.read_bytes() for path in [*folder.rglob("*.png"), folder / INDEX]}


@pytest.mark.slow
def test_batches_processes_and_interruptions_change_nothing(root, truth, predictor, tmp_path):
    images, records = root / "images/val", [image.record for image in truth.images]
    predict_folder(predictor, images, records, tmp_path / "plain")
    spreadings = {
        "batches": Spreading(batch=2),
        "processes": Spreading(workers=2),
        "again": Spreading(batch=3, resume=True),
    }
    for name, spreading in spreadings.items():
        predict_folder(predictor, images, records, tmp_path / name, spreading)
        assert masks(tmp_path / name) == masks(tmp_path / "plain")


def test_pictures_that_cannot_be_read_are_left_out_where_that_is_asked_for(
    root, truth, predictor, tmp_path
):
    records = [image.record for image in truth.images]
    images = tmp_path / "images"
    shutil.copytree(root / "images/val", images)
    (images / records[1].file_name).write_bytes(b"cut")
    with pytest.raises(BrokenPictureError, match=records[1].file_name):
        predict_folder(predictor, images, records, tmp_path / "out")
    broken, spreading = [], Spreading(batch=3, resume=True)
    made = predict_folder(
        predictor, images, records, tmp_path / "out", spreading, on_broken=broken.append
    )
    assert (made.images, list(made.left_out)) == (2, [records[1].file_name])
    assert len(broken) == 1
    assert len(read_panoptic(tmp_path / "out" / INDEX).images) == 2


def test_a_perfect_network_is_perfect(root, truth):
    """A stand-in that knows the truth: classes, sizes and ids survive the way through."""

    class Oracle(Predictor):
        def predict(self, pixels):
            for image in truth.images:
                if np.array_equal(pixels, read_rgb(root / "images/val" / image.record.file_name)):
                    return truth.segment_map(image), list(image.segments)
            raise AssertionError

    oracle = Oracle(None, truth.categories, AugmentConfig(), MergeConfig(), SupervisionConfig())
    quality = evaluate(oracle, root / "images/val", truth, range(3)).quality()
    assert quality.all.pq == 1.0


def test_classes_of_the_network_are_categories_things_first(predictor, root):
    pixels = read_rgb(root / "images/val/000001.png")
    ids, segments = predictor.predict(pixels)
    channels = class_channels(predictor.categories)
    assert {segment.category_id for segment in segments} <= channels.keys()
    values, counts = np.unique(ids[ids > 0], return_counts=True)
    areas = {segment.id: segment.area for segment in segments}
    assert areas == dict(zip(values.tolist(), counts.tolist(), strict=True))


@pytest.fixture
def photos(tmp_path):
    for name in ("b.png", "a/c.jpg", "a/d/e.jpg"):
        write_rgb(tmp_path / "photos" / name, np.zeros((4, 6, 3), np.uint8))
    (tmp_path / "photos" / "notes.txt").write_text("no picture")
    return tmp_path / "photos"


@pytest.mark.parametrize(
    ("sources", "root", "names"),
    [
        ([""], "", ["a/c.jpg", "a/d/e.jpg", "b.png"]),
        (["a"], "a", ["c.jpg", "d/e.jpg"]),
        (["b.png"], "", ["b.png"]),
        (["a/d/e.jpg", "a/c.jpg"], "a", ["d/e.jpg", "c.jpg"]),
        (["a/d", "b.png"], "", ["a/d/e.jpg", "b.png"]),
        (["a", "a/c.jpg", "a/d"], "a", ["c.jpg", "d/e.jpg"]),
        (["*/*.jpg"], "", ["a/c.jpg"]),
        (["a/**/*.jpg"], "a", ["c.jpg", "d/e.jpg"]),
        (["?.*"], "", ["b.png"]),
    ],
)
def test_pictures_are_found_by_files_folders_and_patterns(photos, sources, root, names):
    folder, records = find_pictures([photos / source for source in sources])
    assert folder.resolve() == photos / root
    assert [(r.id, r.file_name, r.height, r.width) for r in records] == [
        (name, name, 4, 6) for name in names
    ]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("notes.txt", r"notes\.txt: expected a folder, a pattern or a picture"),
        ("none.jpg", r"none\.jpg: expected a picture, a folder or a pattern, but nothing is there"),
        ("*.txt", r"\*\.txt: expected pictures of this pattern, got none"),
        ("empty", "empty: expected pictures, got none"),
        ("video.mp4", r"got a video; write its frames into a folder first: ffmpeg -i video\.mp4"),
        ("broken.png", r"broken\.png: expected an image as JPEG"),
        ("outside", r"outside/x\.png: expected a file inside"),
        ("twins", r"twins: .* but x\.jpg and x\.png both have x\.png"),
    ],
)
def test_no_pictures(photos, source, message):
    (photos / "empty").mkdir()
    (photos / "broken.png").write_bytes(b"broken")
    (photos / "outside").mkdir()
    (photos / "outside" / "x.png").symlink_to(photos / "b.png")
    for suffix in ("jpg", "png"):
        write_rgb(photos / "twins" / f"x.{suffix}", np.zeros((4, 6, 3), np.uint8))
    with pytest.raises(DataError, match=message):
        find_pictures([photos / source])


CONFIG = """
data:
  root: {root}
  train: {{images: images/train, annotations: annotations/panoptic_train.json}}
  val: {{images: images/val, annotations: annotations/panoptic_val.json}}
  workers: 0
augment: {{short_sides: [32], max_side: 64, test_short_side: 32}}
network:
  num_things: 6
  num_stuff: 4
  backbone: {{name: tf_efficientnet_lite0, pretrained: none, freeze_stem: false}}
  width: 32
  heads: 4
  points: 2
  feedforward: 48
  encoder_layers: 1
  location_layers: 1
  queries: 12
  thing_layers: 1
  stuff_layers: 1
  semantic_layers: 1
  feature_width: 8
  norm_groups: 8
schedule: {{epochs: 1, milestones: [], batch_size: 2}}
"""


def test_train_predict_and_evaluate_from_the_command_line(root, tmp_path, capsys):
    config, out = tmp_path / "small.yaml", tmp_path / "run"
    config.write_text(CONFIG.format(root=root))
    command = [
        "train",
        str(config),
        "--out",
        str(out),
        "schedule.learning_rate=2e-4",
        "--device",
        "cpu",
    ]
    assert main(command) == 0
    printed = capsys.readouterr()
    assert "thing_dice" in printed.out
    assert printed.out.splitlines()[-3].startswith("all ")
    assert printed.err.splitlines()[-1].startswith("2 steps in ")
    assert "learning_rate: 0.0002" in (out / "config.yaml").read_text()

    assert main(command) == 2
    assert "there is a run in it; --resume goes on with it" in capsys.readouterr().err
    assert main([*command, "--resume"]) == 0
    capsys.readouterr()

    arguments = ["--checkpoint", out, "--images", root / "images/val", "--device", "cpu"]
    annotations = root / "annotations/panoptic_val.json"
    predicted = tmp_path / "predicted"
    command = ["predict", *arguments, "--out", predicted, "--annotations", annotations]
    predict_command = command
    assert main(list(map(str, command))) == 0
    assert "segments in 3 images" in capsys.readouterr().err
    command = ["evaluate", "--truth", annotations, "--predictions", predicted, "--json", "-"]
    assert main(list(map(str, command))) == 0
    quality = json.loads(capsys.readouterr().out)
    result = json.loads((out / "result.json").read_text())
    assert quality["all"] == result["quality"]["all"]

    before = {path: path.read_bytes() for path in predicted.rglob("*.*")}
    assert main(list(map(str, predict_command))) == 2
    assert "holds results of an earlier run" in capsys.readouterr().err
    assert main([*map(str, predict_command), "--resume"]) == 0
    assert "in 3 images, 3 of them kept," in capsys.readouterr().err
    after = {path: path.read_bytes() for path in predicted.rglob("*.*")}
    assert {p: c for p, c in after.items() if p.name != "summary.json"} == {
        p: c for p, c in before.items() if p.name != "summary.json"
    }

    clicks = tmp_path / "clicks.json"
    write_points(clicks, sample_points(read_panoptic(annotations)))
    command = ["predict", *arguments, "--out", tmp_path / "listed", "--annotations", clicks]
    assert main(list(map(str, command))) == 0
    assert "segments in 3 images" in capsys.readouterr().err

    two = [*predict_command[1:], "--out", tmp_path / "z", "--images", predicted, tmp_path]
    assert main(["predict", *map(str, two)]) == 2
    assert "with --annotations, --images is one folder" in capsys.readouterr().err

    plain = tmp_path / "plain"
    command = ["predict", *arguments, "--out", plain, "--no-overlays", "--json"]
    assert main(list(map(str, command))) == 0
    said = json.loads(capsys.readouterr().out)
    assert said.pop("seconds") > 0
    segments = sum(len(i.segments) for i in read_panoptic(plain / "panoptic.json").images)
    assert said == {
        "annotations": str(plain / "panoptic.json"),
        "images": 3,
        "segments": segments,
        "kept": 0,
        "empty": sum(not i.segments for i in read_panoptic(plain / "panoptic.json").images),
        "notes": {},
        "left_out": [],
    }
    assert not (plain / "overlays").exists()
    names = {image.record.file_name for image in read_panoptic(plain / "panoptic.json").images}
    assert names == {"000001.png", "000002.png", "000003.png"}
    command = ["predict", *arguments, "--out", tmp_path / "strict", "--quality", 1]
    assert main(list(map(str, command))) == 0
    said = capsys.readouterr().err
    assert "0 segments in 3 images" in said
    assert "without a segment: 3 images, such as 000001.png" in said
    assert "no segment was found in any picture. Most often the network was trained for" in said
    assert "1 for things and 1 for stuff: try a lower --quality" in said


def test_errors_are_one_line(root, tmp_path, capsys, monkeypatch):
    config = tmp_path / "small.yaml"
    config.write_text(CONFIG.format(root=root))
    assert main(["train", str(config), "schedule.epoch=2", "--out", str(tmp_path / "x")]) == 2
    error = capsys.readouterr().err
    assert error == ("point2mask: error: schedule.epoch: unknown key; did you mean 'epochs'?\n")
    assert main(["train", str(config), "--processes", "3", "--out", str(tmp_path / "x")]) == 2
    assert "expected 3 processes, got 1" in capsys.readouterr().err
    from point2mask.train.errors import TrainingError

    def fail(*_, **__):
        raise TrainingError("step 3: loss 'x' is nan; images: a.png")

    monkeypatch.setattr("point2mask.train.train.train", fail)
    assert main(["train", str(config)]) == 2
    assert capsys.readouterr().err == (
        "point2mask: error: step 3: loss 'x' is nan; images: a.png\n"
    )
    photos = tmp_path / "photos"
    photos.mkdir()
    arguments = ["--images", str(photos), "--out", str(tmp_path / "y")]
    assert main(["predict", "--checkpoint", str(tmp_path), *arguments]) == 2
    assert "expected pictures, got none" in capsys.readouterr().err
    write_rgb(photos / "a.png", np.zeros((4, 6, 3), np.uint8))
    assert main(["predict", "--checkpoint", str(tmp_path), *arguments]) == 2
    assert "expected a checkpoint, or the folder of a run" in capsys.readouterr().err


def test_the_network_is_tested_at_its_size(root, truth):
    """The prediction of a picture is that of the resized picture, brought back to its size."""
    seen = []

    class Watched(PanopticNetwork):
        def encode(self, images, image_size):
            seen.append((tuple(images.shape), image_size.tolist()))
            return super().encode(images, image_size)

    network = Watched(replace(runs.config(root).network, queries=3)).eval()
    sizes = AugmentConfig(test_short_side=40, max_side=1000)
    predictor = Predictor(network, truth.categories, sizes, MergeConfig(), SupervisionConfig())
    ids, _ = predictor.predict(np.zeros((20, 33, 3), np.uint8))
    assert ids.shape == (20, 33)
    assert seen == [((1, 3, 64, 96), [[40, 66]])]
