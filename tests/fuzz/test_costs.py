"""Small files that ask for much work: each is done, or refused in one line, within bounds."""

import json

import numpy as np
import pytest
from fuzz.limits import bounded
from PIL import Image

from point2mask.cli import main
from point2mask.data import DataError, read_rgb
from point2mask.data.yaml_file import read_yaml

SIDE = 2000
ALIASES = "a: &a [x, x, x, x]\n" + "".join(
    f"{b}: &{b} [*{a}, *{a}, *{a}, *{a}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (ALIASES, r"expected every value written out, got \*a"),
        ("a: &a [*a]", r"expected every value written out, got \*a"),
        ("".join(f"k{n}: 1\n" for n in range(40_000)), "expected at most 5000 values in 20 levels"),
        ("[" * 500_000, "expected at most 5000 values in 20 levels, got more levels"),
        ("{a: " * 200_000, "expected at most 5000 values in 20 levels, got more levels"),
        ("- " * 400_000, "expected at most 5000 values in 20 levels, got more levels"),
        ("? " * 400_000, "expected at most 5000 values in 20 levels, got more levels"),
        (f"a: {'9' * 900_000}", "expected YAML"),
        (f"a: {'x' * 1_000_001}", "expected a configuration of at most 1000000 bytes"),
    ],
)
def test_yaml(tmp_path, text, message):
    path = tmp_path / "run.yaml"
    path.write_text(text)
    with bounded(), pytest.raises(DataError, match=rf"run\.yaml: {message}") as caught:
        read_yaml(path)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1000


def triangles(count, size, seed=0):
    """``count`` triangles in squares of ``size`` pixels of the picture."""
    rng = np.random.default_rng(seed)
    corners = rng.uniform(0, SIDE - size, (count, 1, 2)) + rng.uniform(0, size, (count, 3, 2))
    return corners.reshape(count, 6).tolist()


def zigzag():
    """An outline of 7,996,000 pixels."""
    return [(SIDE - 1) * (n // 2 % 2) if n % 2 == 0 else n / 4 for n in range(2 * 4000)]


WHOLE = {"size": [SIDE, SIDE], "counts": [0, SIDE * SIDE]}
REFUSED = "expected masks that fill boxes of at most 3000000000 pixels together in an image"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("segmentations", "outcome"),
    [
        ([[t] for t in triangles(2000, SIDE)], ""),
        ([triangles(16_000, 8)] * 3, ""),  # of many polygons each
        ([[zigzag()]] * 10, REFUSED),
        ([WHOLE] * 9000, REFUSED),
    ],
    ids=["triangles", "parts", "outlines", "whole"],
)
def test_masks_of_coco(tmp_path, capsys, segmentations, outcome):
    (tmp_path / "pics").mkdir()
    Image.new("RGB", (SIDE, SIDE)).save(tmp_path / "pics/a.png")
    content = {
        "images": [{"id": 1, "file_name": "a.png", "height": SIDE, "width": SIDE}],
        "categories": [{"id": 1, "name": "cell"}],
        "annotations": [
            {"image_id": 1, "category_id": 1, "segmentation": s} for s in segmentations
        ],
    }
    (tmp_path / "f.json").write_text(json.dumps(content))
    words = ["--instances", tmp_path / "f.json", "--images", tmp_path / "pics"]
    with bounded():
        code = main(["convert", "coco", *map(str, words), "--out", str(tmp_path / "out")])
    said = capsys.readouterr().err
    assert code == (2 if outcome else 0), said
    assert outcome in said


@pytest.mark.slow
def test_a_picture_of_a_hundred_megapixels_in_300_kilobytes(tmp_path):
    path = tmp_path / "a.png"
    Image.new("RGB", (10_000, 10_000)).save(path)
    assert path.stat().st_size < 300_000
    with bounded():
        assert not read_rgb(path).any()
