"""What a run would meet after an epoch is said before it begins, and no folder is made."""

import re

import pytest
from commands import fails
from PIL import Image
from runs import config, source, write_data

from point2mask.data.training import DataConfig
from point2mask.train.config import save_config


def move(root):
    (root / "images/val").rename(root / "images/other")


def empty(root):
    for path in (root / "images/val").iterdir():
        path.write_bytes(b"")


def enlarge(root):
    path = max((root / "images/val").iterdir())
    Image.new("RGB", (49, 32)).save(path)


def unmask(root):
    max((root / "annotations/panoptic_val").iterdir()).unlink()


def unmask_training(root):
    (root / "annotations/panoptic_train").rename(root / "annotations/masks")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (move, r"data.val: \S+\.png: expected a picture, but it cannot be read"),
        (empty, r"data.val: \S+\.png: expected an image as .*, got an empty file"),
        (enlarge, r"data.val: \S+\.png: expected a picture of 48 x 32 pixels, got 49 x 32"),
        (unmask, r"data.val: \S+panoptic_val\S+\.png: expected a picture, but it cannot be read"),
        (unmask_training, r"panoptic_train\S+\.png: expected a PNG of 48 x 32 pixels, but"),
    ],
)
def test_pictures_and_masks_are_looked_at_first(damage, message, tmp_path, capsys):
    write_data(tmp_path, train=2, val=3)
    data = DataConfig(train=source("train"), val=source("val"), root=str(tmp_path), workers=0)
    save_config(tmp_path / "run.yaml", config(tmp_path, data=data))
    damage(tmp_path)
    words = ["train", tmp_path / "run.yaml", "--out", tmp_path / "run", "--device", "cpu"]
    said = fails(capsys, *words)
    assert re.search(message, said), said
    assert not (tmp_path / "run").exists()
