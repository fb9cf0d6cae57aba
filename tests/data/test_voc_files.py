"""Archives of VOC 2012 and SBD that are broken, incomplete or hostile."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from voc_trees import SIZE, write_indices, write_instances, write_picture, write_sbd, write_voc

from point2mask.cli import main
from point2mask.data import write_rgb


@pytest.fixture
def trees(tmp_path):
    return write_voc(tmp_path / "VOC2012"), write_sbd(tmp_path / "sbd")


def fails(capsys, *arguments):
    """The one line of a failing conversion."""
    assert main(["convert", "voc", *map(str, arguments)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    line = err.splitlines()[-1]
    assert line.startswith("point2mask: error: ")
    return line


def cut(path):
    path.write_bytes(path.read_bytes()[:-40])


def wrong_size(path):
    values = np.zeros((SIZE[0] - 1, SIZE[1]), np.uint8)
    write_indices(path, values) if path.suffix == ".png" else write_picture(path, values.shape)


def gigantic(path):
    """A PNG header of 40 000 x 40 000 pixels with little behind it."""
    size = (40_000).to_bytes(4, "big")
    data = path.read_bytes()
    path.write_bytes(data[:16] + size + size + data[24:])


def colored(path):
    write_rgb(path, np.full((*SIZE, 3), 7, np.uint8))


def lists(text):
    return lambda path: path.write_bytes(text)


def numbers(values, categories):
    return lambda path: write_instances(path, values, np.array(categories))


LIST = "VOC2012/ImageSets/Segmentation/train.txt"
PICTURE = "VOC2012/JPEGImages/2007_000001.jpg"
CLASSES = "VOC2012/SegmentationClass/2007_000001.png"
OBJECTS = "VOC2012/SegmentationObject/2007_000001.png"
INSTANCES = "sbd/inst/2008_000004.mat"
ONES = np.ones(SIZE, np.uint8)


@pytest.mark.parametrize(
    ("name", "harm", "message"),
    [
        (LIST, Path.unlink, "expected a list of the names of images, but it cannot be read (No"),
        (LIST, lists(b""), "expected names of images, got none"),
        (LIST, lists(b"2007_000001\n../x\n"), "got '../x'"),
        (LIST, lists(b"a/b\n"), "got 'a/b'"),
        (LIST, lists(b"..\n"), "got '..'"),
        (LIST, lists(b"C:\\x\n"), "got 'C:\\\\x'"),
        (LIST, lists(b"2007_000001 1\n"), "got '2007_000001 1'"),
        (LIST, lists(b"\x1b[31m\xff\n"), "got '\\x1b[31m\ufffd'"),
        (LIST, lists(b"x" * (2**24 + 1)), "of at most 16777216 bytes, got more"),
        (PICTURE, Path.unlink, "expected a picture, but it cannot be read (No such file"),
        (PICTURE, cut, "expected a complete image, but decoding failed"),
        (PICTURE, wrong_size, "expected a PNG of 32 x 23 pixels, got 32 x 24"),
        (CLASSES, Path.unlink, "expected a PNG of 32 x 24 pixels, but it cannot be read (No such"),
        (CLASSES, cut, "expected a complete image, but decoding failed"),
        (CLASSES, wrong_size, "expected a PNG of 32 x 24 pixels, got 32 x 23"),
        (CLASSES, gigantic, "expected at most 16384 pixels a side"),
        (CLASSES, colored, "got the colour"),
        (CLASSES, lists(b"GIF89a"), "but it is not a PNG"),
        (OBJECTS, Path.unlink, "expected the objects of 2007_000001, but there is no such file"),
        (OBJECTS, wrong_size, "expected a PNG of 32 x 24 pixels, got 32 x 23"),
        ("sbd/val.txt", lists(b"../x"), "got '../x'"),
        ("sbd/img/2008_000004.jpg", cut, "expected a complete image, but decoding failed"),
        (INSTANCES, Path.unlink, "but it cannot be read (No such file"),
        (INSTANCES, cut, "expected a MATLAB 5 file with a struct GTinst of Segmentation and Categ"),
        (INSTANCES, numbers(ONES[1:], [[1.0]]), "expected 32 x 24 pixels as the picture has, got"),
        (INSTANCES, numbers(ONES, [[21.0]]), "Categories: expected integers in [1, 20]"),
        (INSTANCES, numbers(ONES, [[1.5]]), "Categories: expected integers in [1, 20]"),
        (INSTANCES, numbers(ONES, [[np.nan]]), "Categories: expected integers in [1, 20]"),
        (INSTANCES, numbers(ONES, [[np.inf]]), "Categories: expected integers in [1, 20]"),
        (INSTANCES, numbers(ONES + 1, [[1.0]]), "Segmentation: expected integers in [0, 1]"),
        (INSTANCES, numbers(ONES, [[1.0]] * 256), "expected at most 255 instances"),
    ],
)
def test_broken_and_hostile_files(trees, tmp_path, capsys, name, harm, message):
    voc, sbd = trees
    harm(tmp_path / name)
    line = fails(capsys, "--voc", voc, "--sbd", sbd, "--out", tmp_path / "out")
    assert message in line
    file_named = CLASSES if harm is wrong_size and name == PICTURE else name
    assert str(tmp_path / file_named) in line
    # Of a set that is not whole there is no JSON.
    assert not (tmp_path / "out" / "voc_panoptic_train_aug.json").exists()
    assert not list(tmp_path.rglob("*.tmp"))


@pytest.mark.parametrize("name", [PICTURE, CLASSES, OBJECTS, INSTANCES])
def test_links_out_of_the_folder(trees, tmp_path, capsys, name):
    path, outside = tmp_path / name, tmp_path / "outside"
    path.rename(outside)
    path.symlink_to(outside)
    line = fails(capsys, "--voc", trees[0], "--sbd", trees[1], "--out", tmp_path / "out")
    assert f"{path}: expected a file inside {path.parent}, but it leads to {outside}" in line


def test_nothing_to_train_with(trees, capsys, tmp_path):
    shutil.copy(tmp_path / LIST, (tmp_path / LIST).with_name("val.txt"))
    line = fails(capsys, "--voc", trees[0], "--out", tmp_path / "out")
    assert "expected pictures to train with that are not in val, got none" in line
