"""Files of stores and files in tars: read and written as those of a folder."""

import os
import shutil
import tarfile
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from commands import error_line
from label_folders import masks_and_index, run
from tars import entry

from point2mask.cli import main
from point2mask.data import (
    DataError,
    read_panoptic,
    read_rgb,
    sample_points,
    write_point_pngs,
    write_points,
)
from point2mask.data.augment import AugmentConfig
from point2mask.data.files import file_size, open_local, read_bounded, resolve_inside
from point2mask.data.places import files_below, is_url, path_of, written_in
from point2mask.data.report import Report
from point2mask.data.shapes import write_shapes
from point2mask.data.sources import find_pictures
from point2mask.data.training import DataConfig, SourceConfig, TrainingSet, read_source
from point2mask.evaluation import read_predictions, read_truth

COUNT = 3


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Pictures with masks and clicks; the pictures also as a tar, and as two in a folder."""
    root = tmp_path_factory.mktemp("data")
    write_shapes(root, "val", COUNT, (48, 64))
    labels = sample_points(read_panoptic(root / "annotations" / "panoptic_val.json"))
    for name in ("points.json", "points.jsonl"):
        write_points(root / name, labels)
    pictures = sorted((root / "images" / "val").iterdir())
    pack(root / "val.tar", pictures)
    pack(root / "shards" / "00.tar", pictures[:2])
    pack(root / "shards" / "01.tar", pictures[2:])
    return root


@pytest.fixture
def store(root):
    """The same in a store."""
    pytest.importorskip("upath", reason="the extra remote is not installed")
    store = path_of(f"memory://{root.name}")
    for path in root.rglob("*"):
        if path.is_file():
            (store / path.relative_to(root).as_posix()).write_bytes(path.read_bytes())
    yield store
    store.fs.rm(store.path, recursive=True)


def pack(tar, paths):
    tar.parent.mkdir(exist_ok=True)
    with tarfile.open(tar, "w") as file:
        for path in paths:
            file.add(path, f"./{path.name}")


def stored(folder):
    """As :func:`label_folders.masks_and_index`."""
    paths = [
        path for path in folder.rglob("*.*") if path.is_file() and not path.name.endswith(".lock")
    ]
    found = {Path(path.relative_to(folder).as_posix()): path.read_bytes() for path in paths}
    return {name: content for name, content in found.items() if name.name != "summary.json"}


def local(folder):
    return {
        n: content for n, content in masks_and_index(folder).items() if not n.name.endswith(".lock")
    }


@pytest.mark.parametrize("points", ["points.json", "points.jsonl"])
def test_a_store_is_labelled_as_a_folder_is(root, store, tmp_path, points, capsys):
    assert run(root / "images/val", root / points, tmp_path / "out") == 0
    out = store / "out"
    assert run(store / "images/val", store / points, out, "--workers", 1) == 0
    assert stored(out) == local(tmp_path / "out")
    assert run(store / "images/val", store / points, out) == 2
    assert "holds results of an earlier run" in capsys.readouterr().err
    mask = next(iter(sorted((out / "panoptic").iterdir(), key=str)))
    mask.unlink()
    (out / "panoptic" / "strange.png").write_bytes(b"")
    capsys.readouterr()
    assert run(store / "images/val", store / points, out, "--workers", 1, "--resume") == 0
    assert f"{COUNT - 1} of them kept" in capsys.readouterr().err
    assert stored(out) == local(tmp_path / "out")


def test_parts_in_a_store_are_gathered(root, store, tmp_path):
    assert run(root / "images/val", root / "points.json", tmp_path / "out") == 0
    parts = [store / "one", tmp_path / "two"]
    for number, part in enumerate(parts, start=1):
        options = ("--workers", 1, "--shard", f"{number}/2")
        assert run(store / "images/val", store / "points.json", part, *options) == 0
    whole = store / "whole"
    assert main(["gather", *map(str, parts), "--out", str(whole)]) == 0
    assert stored(whole) == local(tmp_path / "out")
    truth = store / "annotations/panoptic_val.json"
    assert main(["evaluate", "--truth", str(truth), "--predictions", str(whole)]) == 0
    truth = read_panoptic(truth)
    for image in truth.images:
        assert truth.segment_map(image).shape == (48, 64)


def test_results_and_pngs_of_points_in_a_tar_are_those_of_a_folder(root, tmp_path):
    truth = root / "annotations/panoptic_val.json"
    shutil.copytree(root / "annotations/panoptic_val", tmp_path / "out" / "panoptic")
    shutil.copy(truth, tmp_path / "out" / "panoptic.json")
    with tarfile.open(tmp_path / "out.tar", "w") as file:
        file.add(tmp_path / "out", ".")
    found = read_predictions(tmp_path / "out.tar", read_truth(truth))
    assert found == replace(read_panoptic(truth), masks_dir=tmp_path / "out.tar" / "panoptic")
    assert (found.segment_map(found.images[0]) > 0).any()
    labels = sample_points(read_panoptic(truth))
    write_point_pngs(tmp_path / "points", labels)
    with tarfile.open(tmp_path / "points.tar", "w") as file:
        file.add(tmp_path / "points", ".")
    for points in ("points", "points.tar"):
        config = SourceConfig(
            images=str(root / "images/val"), annotations=str(truth), points=str(tmp_path / points)
        )
        assert read_source(config, ".").labels.images == labels.images


def test_urls_of_this_machine_are_paths(root, tmp_path):
    folder = tmp_path / "a b#1"
    folder.mkdir()
    assert path_of(folder.as_uri()) == folder
    assert path_of("a//b") == Path("a/b")
    assert path_of(folder) is folder


@pytest.mark.parametrize("text", ["://", "x://y", "S3://b/x", "simplecache::s3://b", "a/b://c"])
def test_what_is_no_whole_url_is_no_folder_either(text, tmp_path):
    for read in (path_of, partial(written_in, tmp_path)):
        with pytest.raises(DataError) as error:
            read(text)
        assert str(error.value) == f"{text}: expected a path, or a URL of a known kind"
    assert is_url(text)


def test_a_tar_of_parts_is_to_be_unpacked(root, tmp_path, capsys):
    assert exit_code("gather", root / "val.tar", "--out", tmp_path / "out") == 2
    said = f"{root}/val.tar: expected a folder, got a tar; unpack it first"
    assert error_line(capsys) == f"point2mask: error: {said}\n"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("nothing://there/x", "expected a path, or a URL of a known kind"),
        ("memory://nobody/points.json", "cannot be read"),
    ],
)
def test_what_cannot_be_reached_is_one_line(root, tmp_path, capsys, url, message):
    pytest.importorskip("upath", reason="the extra remote is not installed")
    assert exit_code("label", "--images", root, "--points", url, "--out", tmp_path / "out") == 2
    assert message in error_line(capsys)


def exit_code(*arguments):
    try:
        return main([str(argument) for argument in arguments])
    except SystemExit as error:
        return error.code


def test_names_from_files_stay_in_their_store(store):
    for name in ("../x.png", "/x.png", "a/../../x.png"):
        with pytest.raises(DataError, match="expected a relative path inside its folder"):
            resolve_inside(store, name)
    for name in ("s3://else/x.png", "memory:/else/x.png", "ab::file.png"):
        with pytest.raises(DataError, match="expected a name that is no URL"):
            resolve_inside(store, name)
    for name in ("ab:c.png", "ü #1?.png", "%2e%2e/x.png", "a b/[1]*.png"):
        assert resolve_inside(store, name).path == f"{store.path}/{name}"


@pytest.mark.parametrize("place", ["folder", "store"])
def test_pictures_in_a_tar_are_those_of_a_folder(root, store, tmp_path, place):
    assert run(root / "images/val", root / "points.json", tmp_path / "out") == 0
    tar = (root if place == "folder" else store) / "val.tar"
    options = ("--workers", 2 if place == "folder" else 1)
    assert run(tar, root / "points.json", tmp_path / "tar", *options) == 0
    assert local(tmp_path / "tar") == local(tmp_path / "out")


def test_stores_are_asked_for_parts_by_name(root, store, monkeypatch):
    """The order of arguments is another in every store."""
    kind = type(store.fs)
    read = kind.cat_file

    def cat_file(self, path, version_id=None, *, start=None, end=None):
        assert version_id is None
        return read(self, path, start=start, end=end)

    monkeypatch.setattr(kind, "cat_file", cat_file)
    (picture, *_) = files_below(store / "val.tar")
    np.testing.assert_array_equal(read_rgb(picture), read_rgb(root / "images/val" / picture.name))


def test_tars_are_folders_of_their_names(root, store):
    expected = sorted((root / "images/val").iterdir())
    names = [f"0{int(k > 1)}.tar/{path.name}" for k, path in enumerate(expected)]
    for place in (root / "shards", store / "shards", root / "shards" / "*.tar"):
        folder, records = find_pictures([str(place)])
        assert [record.file_name for record in records] == names
        for record, path in zip(records, expected, strict=True):
            inside = resolve_inside(folder, record.file_name)
            assert file_size(inside) == path.stat().st_size
            np.testing.assert_array_equal(read_rgb(inside), read_rgb(path))
    _, records = find_pictures([root / "val.tar"])
    assert [record.file_name for record in records] == [path.name for path in expected]


def test_training_reads_tars_and_stores(root, store):
    def items(images, points):
        source = SourceConfig(images=images, points=points)
        augmentation = AugmentConfig(short_sides=(32,), max_side=64)
        config = DataConfig(train=source, root=str(root), skip_without_things=False)
        data = TrainingSet(config, augmentation)
        return [data[0, index] for index in range(len(data))]

    expected = items("images/val", "points.json")
    for images, points in (
        ("val.tar", "points.json"),
        (f"{store}/images/val", f"{store}/points.jsonl"),
        (f"{store}/val.tar", "points.jsonl"),
    ):
        for (name, sample), (other, same) in zip(items(images, points), expected, strict=True):
            assert name == other
            assert (sample.image == same.image).all()
            assert (sample.xy == same.xy).all()


def test_a_process_that_was_forked_reads_the_store_anew(store):
    """As those are that load images for training."""
    path = resolve_inside(store, "points.json")
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.write(writing, str(file_size(resolve_inside(store, "points.json"))).encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert int(os.read(reading, 99)) == path.stat().st_size


def test_urls_in_tars_are_not_in_them(tmp_path, store):
    for tar in (tmp_path / "x.tar", store / "x.tar"):
        with tar.open("wb") as raw, tarfile.open(fileobj=raw, mode="w") as file:
            for name in ("s3://b/x.png", "a/memory:/x.png", "a.png"):
                file.addfile(*entry(name, b"x"))
        assert [path.name for path in files_below(tar)] == ["a.png"]


def test_remarks_of_macos_are_no_pictures(root, tmp_path):
    picture = next((root / "images/val").iterdir())
    remark = tmp_path / "photos" / f"._{picture.name}"
    remark.parent.mkdir()
    remark.write_bytes(b"\0\5\x16\7" + bytes(4092))
    shutil.copy(picture, remark.parent)
    pack(tmp_path / "photos.tar", [picture, remark])
    for place in ("photos", "photos.tar"):
        _, records = find_pictures([tmp_path / place])
        assert [record.file_name for record in records] == [picture.name]


def test_files_of_a_tar_s_name_are_no_pictures(root, tmp_path):
    folder = tmp_path / "photos"
    pack(folder / "00.tar", [next((root / "images/val").iterdir())])
    (folder / "notes.tar").write_bytes(b"no tar at all" * 100)
    (folder / "empty.tar").write_bytes(b"")
    for source in (folder, folder / "*"):
        _, records = find_pictures([source])
        assert [Path(record.file_name).parts[0] for record in records] == ["00.tar"]
    whole = (folder / "00.tar").read_bytes()
    (folder / "cut.tar").write_bytes(whole[:700])  # its pictures would be lost unseen
    with pytest.raises(DataError, match=r"cut\.tar: expected a tar"):
        find_pictures([folder])


@pytest.mark.parametrize("name", ["a.tar.gz", "b.TGZ", "c.tar.xz", "d.zip", "e.tar.bz2", "f.gif"])
def test_what_is_not_read_among_the_pictures_is_counted_and_named(name, root, tmp_path):
    folder = tmp_path / "photos"
    pack(folder / "00.tar", [next((root / "images/val").iterdir())])
    (folder / name).write_bytes(b"x")
    for source in (folder, folder / "*"):
        report = Report()
        _, records = find_pictures([source], report=report)
        assert [Path(record.file_name).parts[0] for record in records] == ["00.tar"]
        kind = name[1:].lower()
        reason = f"files of the kind {kind}, which is not read"
        assert report.left_out == {reason: [str(folder / name)]}
    (folder / "00.tar").unlink()
    with pytest.raises(DataError, match=f"got none.*left out: 1 files of the kind {kind}"):
        find_pictures([folder])


def test_results_do_not_go_among_the_pictures(root, tmp_path, capsys):
    """Where pictures are looked for, the next run would find its own results."""
    photos = tmp_path / "photos"
    for path in (photos, photos / "deep", photos / "deep" / "er"):
        path.mkdir()
        for picture in (root / "images/val").iterdir():
            (path / picture.name).write_bytes(picture.read_bytes())
    name = picture.name

    def said(source, out):
        assert exit_code("predict", "--images", source, "--checkpoint", "none", "--out", out) == 2
        return error_line(capsys)

    (tmp_path / "link").symlink_to(photos)
    for source, out in (
        (photos, photos / "out"),
        (photos, tmp_path / "link" / "a" / "b"),
        (photos / "**" / "*.jpg", photos / "out"),
        (photos / "*" / "*" / "*.*", photos / "out"),
        (photos / "*" / "*.*", photos / "deep" / ".."),
    ):
        text = said(str(source).replace(".jpg", picture.suffix), out)
        assert "--out" in text
        assert "choose another" in text
    for source, out in (
        (photos, tmp_path / "photos2"),
        (photos / name, photos / "out"),
        (photos / "*.*", photos / "out"),
        (photos / "deep", photos / "out"),
    ):
        assert "--out" not in said(source, out)


class Counting:
    """A file of a store that gives a few bytes at a time, and counts them."""

    def __init__(self, file):
        self._file, self.largest, self.total = file, 0, 0

    def read(self, size=-1):
        assert size >= 0
        content = self._file.read(min(size, 2**16 + 1))
        self.largest, self.total = max(self.largest, size), self.total + len(content)
        return content

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._file.close()


def test_files_of_stores_are_read_in_pieces(store, monkeypatch):
    path = store / "large.jsonl"
    content = bytes(range(256)) * 2**14
    path.write_bytes(content)
    opened = []

    def open_counting(self, mode="r", *rest, **options):
        opened.append(Counting(self.fs.open(self.path, mode)))
        return opened[-1]

    monkeypatch.setattr(type(path), "open", open_counting)
    monkeypatch.setattr(type(path), "read_bytes", None)
    with open_local(path, "a list") as file:
        assert os.pread(file.fileno(), len(content) + 1, 0) == content
    assert opened[-1].largest <= 2**20
    assert read_bounded(path, "a list", len(content)) == content
    with pytest.raises(DataError, match="expected a list of at most 100000 bytes, got more"):
        read_bounded(path, "a list", 100_000)
    assert opened[-1].total == 100_001
    for reader in (lambda p: read_bounded(p, "a list", 9), lambda p: open_local(p, "").__enter__()):
        monkeypatch.undo()
        with pytest.raises(DataError, match=r"none\.json: expected .*, but it cannot be read"):
            reader(store / "none.json")
