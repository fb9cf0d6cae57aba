"""Small inputs from practice in ``../shared/cases``; what is right was found by other programs."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from point2mask.cli import main

CASES = Path(__file__).resolve().parents[3] / "shared" / "cases"
pytestmark = pytest.mark.skipif(not CASES.is_dir(), reason=f"{CASES} is not there")


@pytest.fixture
def case(request, tmp_path, monkeypatch):
    """A copy of the case that a test is named after, as the working folder."""
    number = re.match(r"test_(\d\d)_", request.node.originalname)[1]
    (source,) = CASES.glob(f"{number}-*")
    shutil.copytree(source, tmp_path / "case")
    monkeypatch.chdir(tmp_path / "case")
    if Path("make.py").exists():
        Path("pics").mkdir(exist_ok=True)
        subprocess.run([sys.executable, "make.py"], check=True, capture_output=True)
    return tmp_path / "case"


def run(*words):
    return main([str(word) for word in words])


def read(path):
    return json.loads(Path(path).read_text())


def points(path):
    """Every click by the name of its picture and of its category."""
    root = read(path)
    names = {image["id"]: image["file_name"] for image in root["images"]}
    kinds = {category["id"]: category["name"] for category in root["categories"]}
    return {
        (names[entry["image_id"]], kinds[target["category_id"]]): target["points"]
        for entry in root["annotations"]
        for target in entry["segments_info"]
    }


def segment_map(path):
    packed = np.asarray(Image.open(path)).astype(int)
    return packed[..., 0] + 256 * packed[..., 1] + 65536 * packed[..., 2]


def test_every_case_has_a_test():
    here = {name[5:7] for name in globals() if re.match(r"test_\d\d_", name)}
    assert here == {path.name[:2] for path in CASES.iterdir() if path.is_dir()}


@pytest.mark.parametrize("name", ["a", "missing", "null"])
def test_09_an_object_without_mask_is_counted_and_is_no_background(case, capsys, name):
    assert run("convert", "coco", "--instances", f"{name}.json", "--images", "pics",
               "--background", "grass", "--out", "out", "--points", 1) == 0  # fmt: skip
    said = capsys.readouterr().err
    assert f"left out: 1 annotations without a mask: {name}.json: annotations[0]" in said
    ids = segment_map("out/panoptic_pics/a.png")
    assert not ids[2:7, 2:7].any()
    assert (ids[2:7, 10:15] == 2).all()
    assert ids[0, 0] == 3
    strict = ("--background", "grass", "--out", "strict", "--strict")
    assert run("convert", "coco", "--instances", f"{name}.json", "--images", "pics", *strict) == 2
    assert "annotations[0]: annotations without a mask would be left out" in capsys.readouterr().err


def test_10_stubs_beside_a_polygon_are_left_out_and_counted(case, capsys):
    assert run("convert", "coco", "--instances", "a.json", "--images", "pics", "--out", "out") == 0
    (annotation,) = read("out/panoptic_pics.json")["annotations"]
    assert [(s["area"], s["bbox"]) for s in annotation["segments_info"]] == [(100, [2, 2, 10, 10])]
    place = "a.json: annotations[0].segmentation"
    assert f"left out: 2 polygons of less than 3 corners: {place}[0]; {place}[2]" in (
        capsys.readouterr().err
    )


@pytest.mark.parametrize("name", ["posix", "old"])
def test_11_backslashes_are_separators_in_coco(case, name):
    words = ("--images", ".", "--name", "data", "--out", "out")
    assert run("convert", "coco", "--instances", f"{name}.json", *words) == 0
    (image,) = read("out/panoptic_data.json")["images"]
    assert image["file_name"] == "images/ab12cd34-a.png"
    assert Path("out/data/images/ab12cd34-a.png").is_file()


def test_11_a_path_out_of_the_folder_stays_an_error(case, capsys):
    words = ("--images", ".", "--name", "data", "--out", "out")
    assert run("convert", "coco", "--instances", "new.json", *words) == 2
    assert "new.json: images[0].file_name: expected a relative path" in capsys.readouterr().err
    assert not Path("out").exists()


def test_11_backslashes_are_separators_in_clicks(case):
    assert run("label", "--images", ".", "--points", "points.json", "--out", "lab",
               "--no-overlays", "--workers", 1) == 0  # fmt: skip
    assert Path("lab/panoptic/images/ab12cd34-a.png").is_file()
    assert run("points", "import", "csv", "clicks.csv", "--images", ".", "--out", "p.json") == 0
    assert points("p.json") == {("images/ab12cd34-a.png", "cell"): [[5, 5]]}


def test_12_pictures_that_differ_in_the_suffix_are_named_before_any_work(case, capsys):
    assert run("points", "import", "csv", "clicks.csv", "--images", "pics", "--out", "q.json") == 0
    assert points("q.json") == {("7.png", "cell"): [[5, 5]], ("7.jpg", "cell"): [[9, 5]]}
    capsys.readouterr()
    assert run("label", "--images", "pics", "--points", "p.json", "--out", "lab") == 2
    said = capsys.readouterr().err
    assert "7.png and 7.jpg both have 7.png" in said
    assert not Path("lab").exists()
    assert run("convert", "coco", "--instances", "c.json", "--images", "pics", "--out", "out") == 2
    assert "7.png and 7.jpg both have 7.png" in capsys.readouterr().err
    assert not Path("out").exists()


def test_12_a_dot_names_the_same_picture(case, capsys):
    assert run("points", "import", "csv", "dot.csv", "--images", "pics", "--out", "q.json") == 0
    ((image,),) = [read("q.json")["images"]]
    assert image["file_name"] == "7.png"
    assert sum(len(a["segments_info"]) for a in read("q.json")["annotations"]) == 2
    capsys.readouterr()
    assert run("label", "--images", "pics", "--points", "d.json", "--out", "lab") == 2
    said = capsys.readouterr().err
    assert "images[1].file_name: expected every picture once, got './7.png'" in said
    assert not Path("lab").exists()


ORIENTATIONS = [f"o{number}{square}" for number in (1, 2, 3, 4, 6) for square in ("", "sq")]


@pytest.mark.parametrize("name", ORIENTATIONS)
@pytest.mark.parametrize("tool", ["labelme", "label-studio"])
def test_13_clicks_on_the_picture_as_shown_land_on_the_disc(case, name, tool):
    source = f"pics/{name}.json" if tool == "labelme" else f"ls_{name}.json"
    words = (tool, source, "--images", "pics", "--out", "p.json")
    assert run("points", "import", *words) == 0
    (((x, y),),) = [points("p.json")[f"{name}.png", "disc"]]
    pixels = np.asarray(Image.open(f"pics/{name}.png"))
    assert pixels[int(y), int(x)].tolist() == [220, 30, 30]
    assert read("p.json")["images"][0]["width"] == pixels.shape[1]


@pytest.mark.parametrize("name", ["completions", "annotations"])
def test_14_sizes_are_those_of_pictures_where_the_file_has_none(case, name):
    words = ("label-studio", f"{name}.json", "--images", "pics", "--out", "p.json")
    assert run("points", "import", *words) == 0
    found = points("p.json")
    picture = "spacexmoon-800x501.jpg"
    np.testing.assert_allclose(found[picture, "Hello"], [[396.8, 262.2256]], atol=1e-4)
    np.testing.assert_allclose(found[picture, "World"], [[381.8667, 264.3575]], atol=1e-4)
    image = read("p.json")["images"][0]
    assert (image["width"], image["height"]) == (800, 501)


@pytest.mark.parametrize(("name", "pixel"), [("edge100", (799, 500)), ("edge0", (0, 250))])
def test_14_the_rim_belongs_to_the_last_pixel(case, name, pixel):
    words = ("label-studio", f"{name}.json", "--images", "pics", "--out", "p.json")
    assert run("points", "import", *words) == 0
    ((x, y),) = points("p.json")["spacexmoon-800x501.jpg", "Hello"]
    assert (int(x), int(y)) == pixel


def test_14_any_key_and_equal_names_in_folders_are_found(case):
    words = ("label-studio", "two_keys.json", "--images", "pics", "--out", "p.json")
    assert run("points", "import", *words) == 0
    for folder in (["--images", "sub"], []):
        words = ("label-studio", "same_names.json", *folder, "--out", "q.json")
        assert run("points", "import", *words) == 0
        names = sorted(image["file_name"] for image in read("q.json")["images"])
        assert names == ["bar/0000.jpeg", "foo/0000.jpeg"]


REFUSED = {
    "pages.tif": "expected a picture, got a file of 2 pages",
    "truncated.jpg": "expected a complete image",
}


def test_15_every_kind_of_picture_is_read_or_refused_by_name(case, capsys):
    disc = np.load("disc.npy")
    for name in Path("names").read_text().split():
        shutil.rmtree("out", ignore_errors=True)
        capsys.readouterr()
        code = run("label", "--images", "pics", "--points", f"{name}.json", "--out", "out",
                   "--no-overlays", "--workers", 1)  # fmt: skip
        if name in REFUSED:
            said = capsys.readouterr().err
            assert code == 2, name
            assert f"pics/{name}: {REFUSED[name]}" in said, name
            continue
        assert code == 0, (name, capsys.readouterr().err)
        found = segment_map(Path("out/panoptic", name).with_suffix(".png")) == 1
        assert (found & disc).sum() >= 0.99 * (found | disc).sum(), name


@pytest.mark.parametrize("kind", ["eight", "grey", "four", "rgb"])
def test_19_maps_of_any_depth_and_in_colour_say_the_same(case, kind):
    assert run("convert", "voc", "--voc", f"voc_{kind}", "--out", "out") == 0
    ids = segment_map("out/voc_panoptic_train/a.png")
    assert (ids[4:8, 3:8] == 1).all()
    assert (ids[4:10, 9:15] == 2).all()
    assert (ids[:2] == 256).all()
    (annotation,) = read("out/voc_panoptic_train.json")["annotations"]
    kinds = {s["id"]: s["category_id"] for s in annotation["segments_info"]}
    assert kinds == {1: 7, 2: 15, 256: 21}


@pytest.mark.parametrize(
    "name", ["small", "dense", "panorama", pytest.param("big", marks=pytest.mark.slow)]
)
def test_21_objects_in_long_and_large_pictures_keep_their_masks(case, name):
    truth = np.load(f"{name}.npy")
    assert run("label", "--images", "pics", "--points", f"{name}.json", "--out", "out",
               "--no-overlays", "--workers", 1) == 0  # fmt: skip
    found = segment_map(f"out/panoptic/{name}.png")
    count = int(truth.max())
    common = np.bincount(truth[truth == found], minlength=count + 1)[1:]
    areas = (np.bincount(ids[ids <= count], minlength=count + 1)[1:] for ids in (truth, found))
    assert (common / (sum(areas) - common)).mean() >= 0.95
