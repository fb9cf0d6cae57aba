"""One rule for names of pictures: asked before any work, by whoever reads or writes them."""

import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from point2mask.cli import main
from point2mask.data import DataError
from point2mask.data.files import normal_name
from point2mask.data.formats.names import MissingPictureError, PictureNames
from point2mask.data.panoptic import read_panoptic
from point2mask.data.sources import find_pictures

UNUSABLE = [b"a\nb.png", b"a\x1b[31mb.png", b"\xffa.png", "a\u2028b.png".encode()]


def write(folder, *names):
    for name in names:
        path = os.path.join(os.fsencode(folder), name if isinstance(name, bytes) else name.encode())
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            Image.new("RGB", (20, 10)).save(file, format="PNG")


@pytest.mark.parametrize("name", UNUSABLE)
def test_names_that_cannot_be_written_are_refused_first(tmp_path, name):
    write(tmp_path / "photos", "a.png", name)
    with pytest.raises(DataError, match=r"photos: expected text without line breaks") as caught:
        find_pictures([tmp_path / "photos"])
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("name", UNUSABLE)
def test_converting_refuses_them_before_it_writes(tmp_path, capsys, name):
    """Pictures of Cityscapes, whose names are those of files."""
    stem = b"x/" + name.removesuffix(b".png")
    write(tmp_path / "leftImg8bit" / "train", stem + b"_leftImg8bit.png")
    write(tmp_path / "gtFine" / "train", stem + b"_gtFine_instanceIds.png")
    write(tmp_path / "gtFine" / "val", "x/y_gtFine_instanceIds.png")
    words = ["--cityscapes", str(tmp_path), "--out", str(tmp_path / "out")]
    assert main(["convert", "cityscapes", *words]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert said.rstrip("\n").isprintable()
    assert not (tmp_path / "out").exists()


def test_a_file_of_masks_has_every_picture_once(tmp_path):
    images = [
        {"id": i, "file_name": n, "height": 1, "width": 1} for i, n in enumerate(("a", "./a"))
    ]
    content = {"images": images, "categories": [], "annotations": []}
    (tmp_path / "a.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"images\[1\]\.file_name: expected every picture once"):
        read_panoptic(tmp_path / "a.json")


PARTS = st.text(st.sampled_from("ab. -é"), min_size=1, max_size=4).filter(
    lambda part: part.strip(".") and part.strip() == part
)


@given(st.lists(PARTS, min_size=1, max_size=4), st.sampled_from(["/", "\\"]), st.booleans())
def test_the_normal_form_is_the_same_however_a_name_is_written(parts, separator, dotted):
    name = separator.join(parts)
    written = f".{separator}{name}" if dotted else name
    assert normal_name(written, "here") == "/".join(parts)
    assert normal_name(normal_name(written, "here"), "here") == normal_name(written, "here")


@pytest.mark.parametrize(
    "name", ["", ".", "/", "..", "a/../b", "../a", "/a", "C:\\a", "C:a", "a\0"]
)
def test_names_of_no_file_in_the_folder(name):
    with pytest.raises(DataError):
        normal_name(name, "here")


@pytest.mark.parametrize(("name", "found"), [
    ("a.png", "a.png"),
    ("x/a.png", "x/a.png"),
    ("deep/x/a.png", "x/a.png"),
    ("c.png", "y/z/c.png"),
    ("z/c.png", "y/z/c.png"),
    ("Z/C.PNG", "y/z/c.png"),
    ("z/c", "y/z/c.png"),
    ("only", "only.png"),
    ("caf\u00e9.png", "cafe\u0301.png"),
    ("CAF\u00c9", "cafe\u0301.png"),
])  # fmt: skip
def test_what_a_name_means(tmp_path, name, found):
    write(tmp_path, "a.png", "x/a.png", "y/z/c.png", "only.png", "d.png", "d.jpg")
    write(tmp_path, "cafe\u0301.png")
    assert PictureNames(tmp_path).find([name], "here") == found


@pytest.mark.parametrize(("names", "found"), [
    (["b/c.png"], "x/b/c.png"),  # and not c.png, of which less is the same
    (["b/c"], "x/b/c.png"),
    (["B/C.png"], "x/b/c.png"),
    (["w/c.png"], "c.png"),
    (["w/c.png", "sub/c.png"], "sub/c.png"),
    (["v/w/c.png", "sub/c.png"], "sub/c.png"),
    (["w/b/c.png", "sub/c.png"], "sub/c.png"),
    (["store/sub/c.png", "c.png"], "sub/c.png"),
])  # fmt: skip
def test_the_longest_end_of_a_name_counts(tmp_path, names, found):
    write(tmp_path, "c.png", "x/b/c.png", "sub/c.png")
    assert PictureNames(tmp_path).find(names, "here") == found


def test_what_servers_make_of_names(tmp_path):
    write(tmp_path, "IMG 7 (1).png", "y/caf\u00e9 #2.png", "z/caf\u00e9 2.png")
    names = PictureNames(tmp_path)
    with pytest.raises(MissingPictureError):
        names.find(["IMG_7_1.png"], "here")
    assert names.find(["IMG_7_1.png"], "here", "IMG_7_1.png") == "IMG 7 (1).png"
    with pytest.raises(DataError, match="expected one picture of that name"):
        names.find(["x.png"], "here", "cafe\u0301_2.png")


@pytest.mark.parametrize("name", ["b.png", "w/c.png", "c.jpg", "a.png/x"])
def test_names_of_no_picture(tmp_path, name):
    write(tmp_path, "a.png", "y/z/c.png")
    with pytest.raises(MissingPictureError, match=r"here: .*: expected a picture, but there"):
        PictureNames(tmp_path).find([name], "here")


def test_names_of_two_pictures(tmp_path):
    write(tmp_path, "d.png", "d.jpg", "x/e.png", "y/e.png")
    for name, both in (("d", "d.jpg and d.png"), ("e.png", "x/e.png and y/e.png")):
        with pytest.raises(DataError, match=f"here: expected one picture .*, got {both}"):
            PictureNames(tmp_path).find([name], "here")
