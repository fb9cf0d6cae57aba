"""Results packed into tars: what reads the masks of a folder reads them there."""

import json
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
from commands import error_line
from label_folders import files, run

from point2mask.cli import main
from point2mask.data import gathering, read_panoptic, sample_points, write_points
from point2mask.data.shapes import write_shapes

COUNT = 5


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    """The truth, and the results of two parts: of a folder of pictures in folders."""
    root = tmp_path_factory.mktemp("data")
    write_shapes(root, "val", COUNT, (48, 64))
    labels = sample_points(read_panoptic(root / "annotations" / "panoptic_val.json"))
    write_points(root / "points.json", labels)
    for part in (1, 2):
        options = ("--workers", 1, "--shard", f"{part}/2")
        assert run(root / "images/val", root / "points.json", root / f"part{part}", *options) == 0
    assert (
        main(["gather", str(root / "part1"), str(root / "part2"), "--out", str(root / "all")]) == 0
    )
    return root


def pack(out, *folders, count=2):
    return main(["gather", *map(str, folders), "--out", str(out), "--tar", str(count)])


@pytest.mark.parametrize("parts", [("all",), ("part2", "part1")])
def test_masks_in_tars_are_those_of_files(labelled, tmp_path, parts, capsys):
    out = tmp_path / "shards"
    assert pack(out, *(labelled / part for part in parts)) == 0
    names = sorted(path.name for path in (out / "panoptic").iterdir())
    assert names == ["000000.tar", "000001.tar", "000002.tar"]
    plain, packed = (read_panoptic(folder / "panoptic.json") for folder in (labelled / "all", out))
    assert packed.categories == plain.categories
    for one, other in zip(plain.images, packed.images, strict=True):
        assert (other.record, other.segments) == (one.record, one.segments)
        np.testing.assert_array_equal(packed.segment_map(other), plain.segment_map(one))
    scores = []
    for folder in (labelled / "all", out):
        truth = str(labelled / "annotations/panoptic_val.json")
        capsys.readouterr()
        assert main(["evaluate", "--truth", truth, "--predictions", str(folder)]) == 0
        scores.append(capsys.readouterr().out)
    assert scores[0] == scores[1]
    again = tmp_path / "again"
    assert pack(again, labelled / "all") == 0
    one, other = (
        {name: content for name, content in files(folder).items() if name.suffix != ".lock"}
        for folder in (out, again)
    )
    assert one == other


def test_a_picture_is_a_sample_of_webdataset(labelled, tmp_path):
    """Files of one name up to the first dot follow each other."""
    assert pack(tmp_path / "out", labelled / "all", count=COUNT) == 0
    index = json.loads((tmp_path / "out" / "panoptic.json").read_text())
    with tarfile.open(tmp_path / "out" / "panoptic" / "000000.tar") as tar:
        names = tar.getnames()
        stems = [image["file_name"].partition(".")[0] for image in index["images"]]
        assert names == [f"{stem}.{kind}" for stem in stems for kind in ("png", "json")]
        for image, annotation in zip(index["images"], index["annotations"], strict=True):
            name = annotation["file_name"].removeprefix("000000.tar/")
            about = json.load(tar.extractfile(name.replace(".png", ".json")))
            assert about["image"] == image
            assert about["annotation"] == {**annotation, "file_name": name}


def tars_and_files(out):
    return {name: content for name, content in files(out).items() if name.suffix != ".lock"}


def interrupt(folder, run, records=()):
    """In place of the index, once all masks are there."""
    raise KeyboardInterrupt(*records)


@pytest.mark.parametrize("first", [(), ("--tar", "1"), ("--tar", "2")])
@pytest.mark.parametrize("then", [(), ("--tar", "2"), ("--tar", "6")])
def test_what_a_killed_gather_left_is_packed_anew(labelled, tmp_path, monkeypatch, first, then):
    folder, out, fresh = labelled / "all", tmp_path / "out", tmp_path / "fresh"
    gather = ["gather", str(folder)]

    with monkeypatch.context() as patch:
        patch.setattr(gathering, "write_index", interrupt)
        assert main([*gather, "--out", str(out), *first]) not in (0, 2)
    assert [path for path in out.rglob("*") if path.suffix in (".tar", ".png")]
    assert main([*gather, "--out", str(out), *then]) == 0
    assert main([*gather, "--out", str(fresh), *then]) == 0
    assert tars_and_files(out) == tars_and_files(fresh)


def test_labelling_goes_on_where_packing_was_killed(labelled, tmp_path, monkeypatch):
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(gathering, "write_index", interrupt)
        assert pack(out, labelled / "all") not in (0, 2)
    assert list((out / "panoptic").glob("*.tar"))
    assert run(labelled / "images/val", labelled / "points.json", out, "--resume") == 0
    whole = {n: c for n, c in tars_and_files(out).items() if n.parts[0] != "runs"}
    plain = tars_and_files(labelled / "all")
    assert whole.pop(Path("summary.json"))
    assert whole == {n: c for n, c in plain.items() if n.parts[0] != "runs"}


def test_names_that_are_no_samples_are_refused(labelled, tmp_path, capsys):
    """Those of ``a.1.png`` and ``a.2.png`` would be one sample of a reader of tars."""
    shutil.copytree(labelled / "images/val", tmp_path / "images")
    points = json.loads((labelled / "points.json").read_text())
    image = points["images"][0]
    old, image["file_name"] = image["file_name"], "x.y/a.b.jpg"
    (tmp_path / "images/x.y").mkdir()
    (tmp_path / "images" / old).rename(tmp_path / "images/x.y/a.b.jpg")
    for entry in points["annotations"]:
        if entry["image_id"] == image["id"] and "file_name" in entry:
            entry["file_name"] = "x.y/a.b.png"
    (tmp_path / "points.json").write_text(json.dumps(points))
    assert run(tmp_path / "images", tmp_path / "points.json", tmp_path / "all") == 0
    capsys.readouterr()
    assert pack(tmp_path / "out", tmp_path / "all") == 2
    assert "x.y/a.b.jpg: expected names with one dot" in error_line(capsys)
    assert not (tmp_path / "out").exists()


def test_what_cannot_be_packed_is_one_line(labelled, tmp_path, capsys):
    assert main(["gather", str(labelled / "all"), "--tar", "2"]) == 2
    assert "--tar needs --out" in error_line(capsys)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("")
    assert pack(tmp_path / "full", labelled / "all") == 2
    assert "expected a new or empty folder" in error_line(capsys)
    shutil.copytree(labelled / "all", tmp_path / "cut")
    mask = sorted((tmp_path / "cut" / "panoptic").iterdir())[-1]
    mask.write_bytes(mask.read_bytes()[:-1])
    out = tmp_path / "out"
    assert pack(out, tmp_path / "cut") == 2
    assert f"{mask.name}: expected a mask of" in error_line(capsys)
    assert not (out / "panoptic.json").exists()
    # What a run that ended so has left is packed anew.
    shutil.copy(labelled / "all" / "panoptic" / mask.name, mask)
    assert pack(out, tmp_path / "cut") == 0
    assert (out / "panoptic.json").exists()
