"""Every writer on a disk that is full: an error, and neither a cut file nor a temporary one."""

import errno
import resource
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from commands import fails
from PIL import Image

from point2mask import hub
from point2mask.app import Masks, Project
from point2mask.app.export import WRITERS, How, export, zipped
from point2mask.app.formats import copy_upright
from point2mask.checkpoint import save_tensors
from point2mask.data import PointTarget, files, png, read_panoptic, read_points, write_points
from point2mask.data.formats.table import write_csv
from point2mask.data.journal import Journal
from point2mask.data.shapes import write_shapes

FULL = 300  # bytes that a file can hold


@contextmanager
def full_disk():
    """A limit on the size of files is met as the end of the disk is: in the middle of a write."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (FULL, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def check(folder, write):
    """``write`` fails in ``folder``, which stays as it was; with room it writes more than fits."""
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with full_disk(), pytest.raises(OSError, match="too large") as raised:
        write()
    assert raised.value.errno == errno.EFBIG
    assert str(raised.value.filename).startswith(str(folder))
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    write()
    after = [path for path in folder.rglob("*") if path.is_file() and path not in before]
    assert max(path.stat().st_size for path in after) > FULL


NOISE = np.random.default_rng(0).integers(0, 256, (60, 50, 3), np.uint8)


@pytest.mark.parametrize("suffix", sorted(png.WRITTEN_SUFFIXES))
def test_pictures(suffix, tmp_path):
    check(tmp_path, lambda: png.write_rgb(tmp_path / f"picture{suffix}", NOISE))


def test_maps_of_ids(tmp_path):
    ids = NOISE.astype(np.int32).sum(2) * 7919
    check(tmp_path, lambda: png.write_ids(tmp_path / "ids.png", ids))


def test_json(tmp_path):
    check(tmp_path, lambda: files.write_json(tmp_path / "a.json", list(range(FULL))))


def test_streams_and_copies(tmp_path):
    source = tmp_path / "source"
    source.write_bytes(b"x" * (FULL + 1))
    check(tmp_path, lambda: copy_upright(source, tmp_path / "copy"))


def test_tensors(tmp_path):
    path = tmp_path / "a.safetensors"
    with full_disk(), pytest.raises(OSError, match=r"a\.safetensors: .*File too large"):
        save_tensors(path, {"a": torch.arange(FULL)})
    save_tensors(path, {"a": torch.arange(FULL)})
    assert path.stat().st_size > FULL


def test_the_line_names_the_file(tmp_path, capsys):
    write_shapes(tmp_path, "val", 1, (32, 48))
    truth, out = tmp_path / "annotations/panoptic_val.json", tmp_path / "points.json"
    with full_disk():
        said = fails(capsys, "points", "sample", "--annotations", truth, "--out", out)
    assert said == f"point2mask: error: {out}: File too large\n"


def test_programs(tmp_path, monkeypatch):
    predictor = SimpleNamespace(categories={}, network=torch.nn.Linear(FULL, 1))
    monkeypatch.setattr(
        hub,
        "export_network",
        lambda network, size: torch.export.export(network, (torch.ones(FULL),)),
    )
    check(tmp_path, lambda: hub.save_exported(predictor, tmp_path / "network.pt2", (8, 8)))


def test_journal(tmp_path):
    journal = Journal(tmp_path / "points.0.journal")
    journal.append({"image": 1})
    before = journal.path.read_bytes()
    with full_disk(), pytest.raises(OSError, match=r"\S") as raised:
        journal.append({"image": "x" * FULL})
    assert raised.value.filename == str(journal.path)
    assert journal.path.read_bytes() == before


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    """A project of one labelled picture, and its labels."""
    root = tmp_path_factory.mktemp("labelled")
    write_shapes(root, "val", 1, (96, 128))
    truth = read_panoptic(root / "annotations" / "panoptic_val.json")
    photos = root / "images" / "val"
    project = Project(photos, truth.categories)
    ids = truth.segment_map(truth.images[0])
    targets = []
    for segment in truth.images[0].segments:
        rows, columns = np.nonzero(ids == segment.id)
        targets.append(
            PointTarget(segment.id, segment.category_id, ((float(columns[0]), float(rows[0])),))
        )
    project.change(0, 0, targets)
    return project, project.labels()


@pytest.mark.parametrize("name", WRITERS)
def test_exports(name, labelled, tmp_path):
    project, labels = labelled
    masks = Masks(project.folder)

    def segment_map(record, targets, marks):
        return masks.segment_map(record, targets, labels.categories, marks=marks)

    def write():
        export(name, labels, project.folder, tmp_path, segment_map, How("built-in", "merge"))

    check(tmp_path, write)


def test_zips(tmp_path):
    folder = tmp_path / "voc"
    folder.mkdir()
    Image.fromarray(NOISE).save(folder / "a.png")
    check(tmp_path, lambda: zipped(folder))


def many(labels):
    """The same labels with so many clicks that they do not fit."""
    record, targets = labels.images[0]
    places = [(float(x), float(y)) for y in range(10) for x in range(60)]
    category = targets[0].category_id
    labels.images[0] = (record, [PointTarget(1, category, tuple(places))])
    return labels


def test_points(labelled, tmp_path):
    project, _ = labelled
    labels = many(project.labels())
    check(tmp_path, lambda: write_points(tmp_path / "points.json", labels))
    assert read_points(tmp_path / "points.json").images == labels.images
    check(tmp_path, lambda: write_csv(tmp_path / "points.csv", labels))
