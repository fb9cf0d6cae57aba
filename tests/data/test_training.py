"""The training set: what it reads, what it leaves out, and that its items stand on their own."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from msgspec import structs
from torch.utils.data import DataLoader
from turned_pictures import write_turned

from point2mask.data import (
    Category,
    DataError,
    ImageRecord,
    Segment,
    read_panoptic,
    sample_points,
    write_panoptic,
    write_point_pngs,
    write_points,
    write_rgb,
)
from point2mask.data.augment import AugmentConfig
from point2mask.data.frames import to_shown
from point2mask.data.sampling import Batches
from point2mask.data.shapes import write_shapes
from point2mask.data.targets import labels_in_frame
from point2mask.data.training import (
    DataConfig,
    SourceConfig,
    TrainingSet,
    class_channels,
    thing_channels,
)

ANNOTATIONS = "annotations/panoptic_train.json"
PLAIN = AugmentConfig(short_sides=(32,), max_side=48, flip=0.0)  # leaves 32 x 48 alone


@pytest.fixture
def root(tmp_path):
    write_shapes(tmp_path, "train", 4, (32, 48))
    return tmp_path


def data(root, **source):
    source = {"images": "images/train", "annotations": ANNOTATIONS} | source
    return DataConfig(train=SourceConfig(**source), root=str(root), workers=0)


def test_clicks_are_the_same_from_every_kind_of_file(root):
    dataset = read_panoptic(root / ANNOTATIONS)
    labels = sample_points(dataset, 3, 5)
    write_points(root / "points.json", labels)
    write_point_pngs(root / "pngs", labels)
    sampled = TrainingSet(data(root, points_per_segment=3, point_seed=5), PLAIN, with_truth=True)
    for source in (
        {"points": "points.json"},
        {"points": "points.json", "annotations": None},
        {"points": "pngs"},
        {"points": "pngs", "masks": "annotations/panoptic_train"},
        {"points": "pngs", "frame": None},  # and true masks are asked for
    ):
        other = TrainingSet(data(root, **source), PLAIN, with_truth="frame" in source)
        assert len(other) == len(sampled) == 4
        for index in range(4):
            a, b = sampled.load(index), other.load(index)
            assert torch.equal(a.image, b.image)
            assert torch.equal(a.category, b.category)
            # PNGs have lost the order of the clicks.
            clicks = [sorted(zip(s.target.tolist(), s.xy.tolist(), strict=True)) for s in (a, b)]
            assert clicks[0] == clicks[1]
            blind = source.get("annotations", 0) is None or source == {"points": "pngs"}
            assert (b.truth is None) == blind
            if not blind:
                assert torch.equal(a.truth, b.truth)


def test_only_the_first_images_can_be_taken(root):
    write_points(root / "points.json", sample_points(read_panoptic(root / ANNOTATIONS), 1, 0))
    for source in ({}, {"points": "points.json", "annotations": None}):
        whole, part = (TrainingSet(data(root, **source, first=n), PLAIN) for n in (None, 3))
        assert (len(whole), len(part)) == (4, 3)
        assert torch.equal(part.load(2).image, whole.load(2).image)
    with pytest.raises(ValueError, match=r"^first: expected an integer in .*, got 0$"):
        SourceConfig(images="images", annotations=ANNOTATIONS, first=0)


def test_a_batch(root):
    dataset = TrainingSet(data(root), AugmentConfig(short_sides=(40,), flip=0.0), with_truth=True)
    batch, _ = dataset.collate([dataset[0, index] for index in (2, 0)])
    assert batch.names == ("000003.png", "000001.png")
    assert batch.images.shape == (2, 3, 64, 64)
    assert batch.image_size.tolist() == [[40, 60]] * 2
    assert (batch.images[:, :, 40:] == 0).all()
    assert (batch.images[:, :, :, 60:] == 0).all()
    assert batch.images.max() <= 1
    assert batch.truth.shape == (2, 64, 64)
    assert (batch.truth[:, 40:] == -1).all()
    assert batch.is_thing.tolist() == [True] * 6 + [False] * 4
    for b, k, p in batch.points.is_point.nonzero().tolist():
        x, y = batch.points.xy[b, k, p].long()
        assert batch.truth[b, y, x] == k
    blind = TrainingSet(data(root), PLAIN)
    assert blind.collate([blind[0, 0]])[0].truth is None


def test_items_depend_on_epoch_and_index_alone(root):
    config = AugmentConfig(short_sides=(20, 32, 40), max_side=60)
    dataset = TrainingSet(data(root), config, seed=3)
    batches = Batches(len(dataset), 2, 3)

    def load(workers):
        loader = DataLoader(
            dataset, batch_sampler=batches, collate_fn=dataset.collate, num_workers=workers
        )
        iterator = iter(loader)
        return [next(iterator)[0] for _ in range(5)]

    torch.manual_seed(0)
    first = load(0)
    torch.manual_seed(1)
    for a, b in zip(first, load(1), strict=True):
        assert a.names == b.names
        assert torch.equal(a.images, b.images)
        assert torch.equal(a.points.xy, b.points.xy)
    images = {dataset[epoch, 0][1].image.numpy().tobytes() for epoch in range(12)}
    assert len(images) > 3


def test_areas_come_with_the_clicks(root):
    """Those of some targets of one image, as large as they are in the resized one."""
    labels = sample_points(read_panoptic(root / ANNOTATIONS), 1, 5, area_error=0.3)
    record, targets = labels.images[1]
    assert len(targets) > 2
    for number in (0, 2):
        other, stated = labels.images[number]
        labels.images[number] = other, [structs.replace(t, area=None) for t in stated]
    labels.images[1] = record, [targets[0], structs.replace(targets[1], area=None), *targets[2:]]
    write_points(root / "points.json", labels)
    larger = AugmentConfig(short_sides=(64,), max_side=96)
    dataset = TrainingSet(data(root, points="points.json", annotations=None), larger)
    batch, _ = dataset.collate([dataset[0, index] for index in (0, 1, 2)])
    area = batch.points.area
    assert area.shape == batch.points.category.shape
    assert area[[0, 2]].isnan().all()
    kept = [4 * t.area for t in labels.images[1][1] if t.area is not None]
    stated = ~area[1].isnan()
    assert not stated[1]
    torch.testing.assert_close(area[1][stated], torch.tensor(kept))
    there = batch.to(torch.device("meta"))
    assert there.points.area.device.type == "meta"
    assert dataset.collate([dataset[0, 0], dataset[0, 2]])[0].points.area is None
    assert dataset.load(0).area is None


CATEGORIES = {
    9: Category(9, "grass", False, (0, 99, 0)),
    4: Category(4, "cat", True, (99, 0, 0)),
    2: Category(2, "dog", True, (0, 0, 99)),
}


def write_small(root):
    """An image with grass, a cat and a crowd of dogs, one with grass, one with dogs only."""
    maps = np.zeros((3, 6, 8), np.int32)
    maps[0, :2], maps[0, 2:4], maps[0, 4:] = 5, 6, 7
    maps[1] = 5
    maps[2, 1:] = 7
    segments = (
        (Segment(5, 9), Segment(6, 4), Segment(7, 2, iscrowd=True)),
        (Segment(5, 9),),
        (Segment(7, 2, iscrowd=True),),
    )
    items = []
    for index, name in enumerate("abc"):
        record = ImageRecord(index, f"{name}.png", 6, 8)
        items.append((record, maps[index], segments[index]))
        write_rgb(root / "images/train" / record.file_name, np.zeros((6, 8, 3), np.uint8))
    write_panoptic(root / ANNOTATIONS, None, CATEGORIES, items)


def test_things_come_first_and_crowds_are_void(tmp_path, monkeypatch):
    write_small(tmp_path)
    assert class_channels(CATEGORIES) == {4: 0, 2: 1, 9: 2}
    assert thing_channels(CATEGORIES).tolist() == [True, True, False]
    dataset = TrainingSet(data(tmp_path), PLAIN)
    assert (len(dataset), dataset.skipped) == (1, 2)
    sample = dataset.load(0)
    assert sample.category.tolist() == [2, 0]
    assert sample.truth[:, 0].tolist() == [0, 0, 1, 1, -1, -1]
    all_images = replace(data(tmp_path), skip_without_things=False)
    monkeypatch.setattr("point2mask.data.training._with_things", None)  # nobody asks
    dataset = TrainingSet(all_images, PLAIN)
    assert (len(dataset), dataset.skipped) == (3, 0)
    batch, _ = dataset.collate([dataset[0, 2]])
    assert batch.points.category.shape == (1, 0)


def test_broken_images(root):
    (root / "images/train/000002.png").write_bytes(b"no picture")
    dataset = TrainingSet(data(root), PLAIN)
    with pytest.raises(DataError, match=r"000002\.png"):
        dataset.load(1)
    batch, broken = dataset.collate([dataset[0, 1], dataset[0, 0]])
    assert [image.name for image in broken] == ["000002.png"]
    assert "000002.png" in broken[0].reason
    assert batch.names == ("000001.png",)
    assert dataset.collate([dataset[0, 1]])[0] is None


def test_clicks_must_fit_the_annotations(root):
    labels = sample_points(read_panoptic(root / ANNOTATIONS))
    record, targets = labels.images[0]
    wrong = [structs.replace(targets[0], id=77), *targets[1:]]
    write_points(root / "p.json", replace(labels, images=[(record, wrong)]))
    with pytest.raises(DataError, match=r"p\.json: expected targets .* got 77 in image 1"):
        TrainingSet(data(root, points="p.json"), PLAIN)
    categories = {**labels.categories, 1: replace(labels.categories[1], isthing=False)}
    write_points(root / "p.json", replace(labels, categories=categories))
    with pytest.raises(DataError, match="expected the categories of the annotations"):
        TrainingSet(data(root, points="p.json"), PLAIN)
    other = structs.replace(record, id=99, file_name="x.png")
    write_points(root / "p.json", replace(labels, images=[(other, [])]))
    with pytest.raises(DataError, match="expected images of the annotations, got 99"):
        TrainingSet(data(root, points="p.json"), PLAIN)
    write_points(root / "p.json", labels)
    with pytest.raises(DataError, match="full masks needs annotations"):
        TrainingSet(data(root, points="p.json", annotations=None), PLAIN, with_truth=True)
    with pytest.raises(ValueError, match=r"^annotations: expected annotations or points"):
        SourceConfig(images="x")


@pytest.mark.parametrize(("processes", "accumulation"), [(1, 1), (2, 1), (1, 2), (2, 2)])
def test_batches_are_the_same_however_they_are_shared(processes, accumulation):
    def steps(processes, accumulation, start, count):
        """Keys of every step, of all processes together."""
        parts = [
            iter(Batches(10, 4, 7, rank, processes, accumulation, start))
            for rank in range(processes)
        ]
        return [
            [key for _ in range(accumulation) for part in parts for key in next(part)]
            for _ in range(count)
        ]

    whole = steps(1, 1, 0, 9)
    assert steps(processes, accumulation, 0, 9) == whole
    assert steps(processes, accumulation, 4, 5) == whole[4:]
    for epoch in range(3):
        keys = [key for step in whole[3 * epoch : 3 * epoch + 3] for key in step]
        assert {index for _, index in keys} == set(range(10))
        assert {e for e, _ in keys} == {epoch}
    orders = {tuple(index for _, index in whole[3 * epoch]) for epoch in range(3)}
    assert len(orders) == 3


def test_a_batch_that_cannot_be_shared():
    with pytest.raises(ValueError, match="multiple of processes x accumulation = 2 x 3, got 8"):
        Batches(10, 8, 0, 0, 2, 3)
    with pytest.raises(ValueError, match="at least 1 image"):
        Batches(0, 8, 0)
    # More images a step than there are: they come several times.
    assert len(next(iter(Batches(3, 8, 0)))) == 8


@pytest.mark.parametrize("frame", [None, "stored", "shown"])
@pytest.mark.parametrize("size", [(32, 48), (32, 32)])
def test_pictures_are_in_the_frame_of_their_masks(tmp_path, frame, size):
    """Turned where the configuration says so; as stored where nothing says otherwise."""
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    write_turned(tmp_path / "images" / "a.png", pixels, 6)
    seen = to_shown(pixels, 6) if frame == "shown" else pixels
    ids = (seen[..., 0] > 99).astype(np.int32) + 1
    record = ImageRecord(1, "a.png", *ids.shape)
    categories = {1: Category(1, "cat", True, (9, 9, 9))}
    segments = [Segment(1, 1), Segment(2, 1)]
    write_panoptic(tmp_path / "p.json", None, categories, [(record, ids, segments)])
    source = {"images": "images", "annotations": "p.json", "frame": frame}
    sample = TrainingSet(data(tmp_path, **source), PLAIN, with_truth=True).load(0)
    np.testing.assert_array_equal(sample.image.permute(1, 2, 0).numpy(), seen)
    np.testing.assert_array_equal(sample.truth.numpy() + 1, ids)


def test_clicks_and_masks_in_two_frames_are_refused(root):
    labels = sample_points(read_panoptic(root / ANNOTATIONS), 1, 5)
    write_points(root / "points.json", labels_in_frame(labels, "shown"))
    with pytest.raises(
        DataError, match=r"points\.json: expected the frame stored of image 1 as in"
    ):
        TrainingSet(data(root, points="points.json"), PLAIN)
    TrainingSet(data(root, points="points.json", frame="shown"), PLAIN)
