"""The command ``point2mask``: what it writes, prints and says when something is wrong."""

import argparse
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import fails

import point2mask
from point2mask import recipes
from point2mask.cli import COMMANDS, build_parser, main
from point2mask.data import read_panoptic, read_point_pngs, read_points, sample_points
from point2mask.data.shapes import draw_shapes, write_shapes
from point2mask.evaluation import panoptic_quality


@pytest.fixture
def shapes(tmp_path):
    write_shapes(tmp_path, "val", 3, (32, 48))
    return tmp_path / "annotations" / "panoptic_val.json"


def test_shapes(tmp_path, capsys):
    arguments = ["shapes", tmp_path / "s", "--train", 2, "--val", 1, "--height", 20, "--width", 30]
    assert main([*map(str, arguments), "--seed", "4"]) == 0
    assert capsys.readouterr().err == f"3 images in {tmp_path / 's'}\n"
    dataset = read_panoptic(tmp_path / "s" / "annotations" / "panoptic_train.json")
    assert len(dataset.images) == 2
    expected = draw_shapes(1, (20, 30), seed=4).ids
    np.testing.assert_array_equal(dataset.segment_map(dataset.images[1]), expected)
    assert len(list((tmp_path / "s" / "images").rglob("*.png"))) == 3


def test_points_sample(shapes, tmp_path, capsys):
    out, pngs = tmp_path / "points.json", tmp_path / "pngs"
    arguments = ["--annotations", shapes, "--per-segment", 3, "--seed", 9]
    arguments += ["--out", out, "--png-dir", pngs]
    assert main(["points", "sample", *map(str, arguments)]) == 0
    dataset = read_panoptic(shapes)
    assert read_points(out) == sample_points(dataset, 3, 9)
    in_pngs = read_point_pngs(shapes, pngs)
    for (_, a), (_, b) in zip(in_pngs.images, read_points(out).images, strict=True):
        assert [set(t.points) for t in a] == [set(t.points) for t in b]
    count = sum(len(image.segments) for image in dataset.images)
    expected = f"{3 * count} points for {count} segments of 3 images\n"
    assert capsys.readouterr().err == expected


def test_points_sample_with_areas(shapes, tmp_path, capsys):
    out, pngs = tmp_path / "points.json", tmp_path / "pngs"
    run = ["points", "sample", "--annotations", str(shapes), "--areas"]
    assert main([*run, "0.4", "--out", str(out)]) == 0
    dataset = read_panoptic(shapes)
    assert read_points(out) == sample_points(dataset, area_error=0.4)
    assert main([*run, "0.4", "--png-dir", str(pngs)]) == 2
    assert "--areas needs --out" in capsys.readouterr().err
    assert not pngs.exists()


def test_evaluate(shapes, tmp_path, capsys):
    assert main(["evaluate", "--truth", str(shapes), "--predictions", str(shapes)]) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[0].split() == ["PQ", "SQ", "RQ", "categories"]
    assert out.splitlines()[1].split()[:4] == ["all", "100.0", "100.0", "100.0"]

    arguments = ["--truth", shapes, "--truth-masks", shapes.with_suffix("")]
    arguments += ["--predictions", shapes, "--per-category", "--mask-quality"]
    assert main(["evaluate", *map(str, arguments), "--json", str(tmp_path / "q.json")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("disc ") for line in lines)
    assert lines[-3].split()[:3] == ["all", "100.0", "100.0"]
    figures = json.loads((tmp_path / "q.json").read_text())
    expected = panoptic_quality(shapes, shapes)
    assert figures["all"] == expected.all._asdict()
    assert figures["masks"]["all"]["mean_iou"] == 1
    absent = [row for row in figures["per_category"] if row["true_positives"] == 0]
    assert all(row["pq"] is None for row in absent)


def test_evaluate_prints_json_alone(shapes, capsys):
    arguments = ["--truth", str(shapes), "--predictions", str(shapes), "--json", "-"]
    assert main(["evaluate", *arguments, "--workers", "1"]) == 0
    assert json.loads(capsys.readouterr().out)["things"]["pq"] == 1


def test_evaluate_warns_of_other_images(shapes, tmp_path, capsys):
    content = json.loads(shapes.read_text())
    extra = content["images"][2]
    content["images"], content["annotations"] = content["images"][:2], content["annotations"][:2]
    content["images"][0]["file_name"] = "renamed.png"
    few = tmp_path / "few.json"
    few.write_text(json.dumps(content))
    arguments = ["evaluate", "--truth", few, "--truth-masks", shapes.with_suffix("")]
    assert main([*map(str, arguments), "--predictions", str(shapes)]) == 0
    err = capsys.readouterr().err
    assert err == (
        f"point2mask: warning: {shapes}: not in the truth and not looked at: 1 image, such as "
        f"3 ({extra['file_name']}); of another file name in the truth: 1 image, such as "
        "1 (000001.png, there renamed.png)\n"
    )
    assert main(["evaluate", "--truth", str(shapes), "--predictions", str(shapes)]) == 0
    assert capsys.readouterr().err == ""


def test_evaluate_takes_folders_and_pairs_images_by_name(shapes, tmp_path, capsys):
    """Ids that were given anew in another order, and one that is a name, as 'predict' has it."""
    content = json.loads(shapes.read_text())
    ids = {1: 3, 2: 1, 3: "000003.png"}
    for image in content["images"]:
        image["id"] = ids[image["id"]]
    for annotation in content["annotations"]:
        annotation["image_id"] = ids[annotation["image_id"]]
    content["images"].reverse()
    other = tmp_path / "other"
    shutil.copytree(shapes.with_suffix(""), other / "panoptic")
    (other / "panoptic.json").write_text(json.dumps(content))
    for truth, predictions in ((shapes, other), (other, shapes)):
        arguments = ["evaluate", "--truth", str(truth), "--predictions", str(predictions)]
        assert main([*arguments, "--json"]) == 0
        said = capsys.readouterr()
        assert json.loads(said.out)["all"]["pq"] == 1
        assert "found by their file names, as their ids differ: 3 images" in said.err


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": "round"}, "1 is 'disc', a thing, and in the truth 'round', a thing"),
        ({"isthing": 0}, "1 is 'disc', a thing, and in the truth 'disc', stuff"),
    ],
)
def test_evaluate_warns_of_other_categories(shapes, tmp_path, capsys, change, said):
    """Whose ids are the same."""
    content = json.loads(shapes.read_text())
    (first,) = [category for category in content["categories"] if category["id"] == 1]
    assert first["name"] == "disc"
    first.update(change)
    other = tmp_path / "other.json"
    other.write_text(json.dumps(content))
    arguments = ["--truth", other, "--truth-masks", shapes.with_suffix(""), "--predictions", shapes]
    assert main(["evaluate", *map(str, arguments)]) == 0
    assert f"category {said}; they are matched by their ids" in capsys.readouterr().err


def test_evaluate_writes_into_folders_that_exist(shapes, tmp_path, capsys):
    arguments = "evaluate", "--truth", shapes, "--predictions", shapes, "--json"
    err = fails(capsys, *arguments, tmp_path / "none" / "q.json")
    assert f"there is no folder {tmp_path}/none" in err
    assert not (tmp_path / "none").exists()
    assert f"but {tmp_path} is a folder" in fails(capsys, *arguments, tmp_path)
    assert "expected a name that ends in .json, got 'q.png'" in fails(capsys, *arguments, "q.png")


def test_info(capsys):
    assert main(["info", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["point2mask"] == point2mask.__version__
    assert "CPU" in facts["operators"]["mask_statistics"]
    assert facts["threads"] >= 1
    assert facts["cpu level"]
    assert main(["info"]) == 0
    out = capsys.readouterr().out
    assert "mask_statistics" in out
    assert f"{facts['torch']}\n" in out


def test_recipes(capsys):
    assert main(["recipes"]) == 0
    out = capsys.readouterr().out
    assert [line.split()[0] for line in out.splitlines()] == sorted(recipes.summaries())
    assert main(["recipes", "shapes_lite0"]) == 0
    assert capsys.readouterr().out == recipes.find("shapes_lite0").read_text()
    assert main(["recipes", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["recipes"] == recipes.summaries()
    assert "did you mean 'voc_r50'" in fails(capsys, "train", "voc_r5")


def test_errors_are_one_line_that_names_the_place(shapes, tmp_path, capsys):
    none = tmp_path / "none.json"
    assert f"{none}: expected a COCO panoptic JSON, but it cannot be read (No such file" in fails(
        capsys, "evaluate", "--truth", none, "--predictions", shapes
    )
    assert f"{tmp_path}/panoptic.json: expected a COCO panoptic JSON" in fails(
        capsys, "evaluate", "--truth", shapes, "--predictions", tmp_path
    )
    sample = "points", "sample", "--annotations", shapes
    assert "give --out JSON, --png-dir DIR or both" in fails(capsys, *sample)
    assert "--png-dir" in fails(capsys, *sample, "--png-dir", shapes.with_suffix(""))
    assert "expected an integer of at least 1, got '0'" in fails(
        capsys, *sample, "--out", "x", "--per-segment", 0
    )
    (tmp_path / "file").touch()
    assert f"{tmp_path}/file: " in fails(capsys, *sample, "--out", tmp_path / "file" / "p.json")
    folder = tmp_path / "folder"
    folder.mkdir()
    assert f"{folder}: expected the name of a file to write" in fails(
        capsys, *sample, "--out", folder
    )
    assert not list(tmp_path.rglob("*.tmp"))
    nothing = fails(capsys, "shapes", tmp_path / "s", "--train", 0, "--val", 0)
    assert "leaves nothing to write" in nothing
    assert not (tmp_path / "s").exists()
    assert "point2mask points sample --help" in fails(capsys, "points", "sample")
    assert "COMMAND" in fails(capsys)
    assert "unrecognized arguments: a=1" in fails(capsys, "info", "a=1")
    unknown = fails(capsys, "train", "shapes_lite0", "--device", "cpu", "a=1", "--b=2")
    assert "unrecognized arguments: --b=2; values are given as KEY=VALUE" in unknown
    assert "point2mask train --help" in unknown
    close = fails(capsys, "train", "shapes_lite0", "--outt", "x")
    assert "unrecognized arguments: --outt x; did you mean --out? (see 'point2mask train" in close
    close = fails(capsys, *sample, "--out", folder, "--pngdir=x")
    assert "did you mean --png-dir? (see 'point2mask points sample --help')" in close
    word = fails(capsys, "train", "shapes_lite0", "--device", "cpu", "a=1", "schedule.steps")
    assert "unrecognized arguments: schedule.steps; values" in word
    assert "invalid choice: 'nonsense'" in fails(capsys, "nonsense")
    read_panoptic(shapes)  # the failed commands left the data set alone


@pytest.mark.parametrize("position", [0, 1])
def test_verbose_shows_the_traceback(tmp_path, capsys, position):
    arguments = ["evaluate", "--truth", str(tmp_path / "x"), "--predictions", "y"]
    arguments.insert(position, "-v")
    assert main(arguments) == 2
    err = capsys.readouterr().err
    assert "Traceback (most recent call last)" in err
    assert err.splitlines()[-1].startswith("point2mask: error: ")


def test_a_missing_extra_is_named(shapes, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "rich.progress", None)
    monkeypatch.setitem(sys.modules, "rich.console", None)
    assert "this needs rich; run: pip install 'point2mask[label]'" in fails(
        capsys, "evaluate", "--truth", shapes, "--predictions", shapes
    )


BARE = """
import without_extras
from point2mask.cli import main
for words in (
    "label --images a --points b --out c", "evaluate --truth a --predictions b",
    "points sample --annotations a --out b", "convert coco --instances a --images b --out c",
    "train shapes_tiny", "sweep shapes_tiny --table beta --out x",
    "predict --checkpoint a --images b --out c", "export a --out b.pt2 --size 8x8", "annotate x",
):
    assert main(words.split()) == 2
"""


def test_one_install_is_enough_for_a_command():
    """Where nothing but torch and NumPy is there."""
    folder = Path(__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", BARE], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    extras = re.findall(
        r"^point2mask: error: this needs .*'point2mask\[(.*)\]'$", done.stderr, re.M
    )
    assert extras == ["label"] * 4 + ["train"] * 4 + ["app"]


def test_interruption(capsys, monkeypatch):
    def interrupt():
        raise KeyboardInterrupt

    monkeypatch.setattr("point2mask.cli.info.environment", interrupt)
    assert main(["info"]) == 130
    assert capsys.readouterr().err == "point2mask: error: interrupted\n"


def all_commands(parser, path=()):
    """The words of every command and of the commands below it."""
    yield list(path)
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, command in action.choices.items():
                yield from all_commands(command, (*path, name))


@pytest.mark.parametrize("command", list(all_commands(build_parser())))
def test_help_has_examples(command, capsys):
    with pytest.raises(SystemExit) as stop:
        main([*command, "--help"])
    assert stop.value.code == 0
    out = capsys.readouterr().out
    assert f"point2mask {' '.join(command)}".strip() in out
    assert not command or "examples:" in out
    assert max(map(len, out.splitlines())) <= 100
    assert command or "Exit codes: 0 done, 2 bad input" in " ".join(out.split())


def test_examples_of_the_help_are_command_lines():
    """Every example parses, so that none can fall behind the options."""
    seen = set()
    for command in all_commands(build_parser()):
        parser = build_parser()
        for word in command:
            (subparsers,) = (a for a in parser._actions if hasattr(a, "choices") and a.choices)
            parser = subparsers.choices[word]
        text = ((command and parser.epilog) or "").replace("\\\n", " ")
        for line in text.splitlines():
            words = shlex.split(line.partition(" > ")[0]) if "point2mask" in line else []
            if "point2mask" in words[:7]:
                words = words[words.index("point2mask") + 1 :]
                args = build_parser().parse_args(words)
                assert callable(args.run)
                seen.add(words[0])
    assert seen == set(COMMANDS)


def test_results_as_json(tmp_path, capsys):
    arguments = ["shapes", tmp_path / "s", "--train", 0, "--val", 2, "--height", 32, "--width", 48]
    assert main([*map(str, arguments), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said == {"out": str(tmp_path / "s"), "images": {"val": 2}}
    truth = tmp_path / "s" / "annotations" / "panoptic_val.json"
    arguments = ["--annotations", truth, "--out", tmp_path / "points.json", "--json"]
    assert main(["points", "sample", *map(str, arguments)]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["images"] == 2
    assert said["points"] == said["segments"]
    arguments = ["--images", truth.parents[1] / "images" / "val", "--workers", "1"]
    arguments += ["--points", tmp_path / "points.json", "--out", tmp_path / "labels"]
    assert main(["label", *map(str, arguments), "--json", str(tmp_path / "label.json")]) == 0
    assert capsys.readouterr().out == ""
    written = json.loads((tmp_path / "label.json").read_text())
    assert written["masks"] == said["segments"]
    assert written["left_out"] == []


def complete(line, folder):
    """What argcomplete offers at the end of a command line, as the shell asks for it."""
    pytest.importorskip("argcomplete")
    answer = folder / "answer"
    environment = os.environ | {
        "_ARGCOMPLETE": "1",
        "_ARGCOMPLETE_STDOUT_FILENAME": str(answer),
        "_ARGCOMPLETE_SUPPRESS_SPACE": "1",
        "_ARGCOMPLETE_IFS": "|",
        "COMP_LINE": line,
        "COMP_POINT": str(len(line)),
        "COMP_TYPE": "9",
    }
    code = "from point2mask.cli import main; main()"
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, timeout=60)
    return answer.read_text().split("|")


def test_the_shell_completes_commands_and_options(tmp_path):
    assert set(COMMANDS) <= {*complete("point2mask ", tmp_path)}
    assert complete("point2mask points import labelm", tmp_path) == ["labelme"]
    assert complete("point2mask label --assigner wat", tmp_path) == ["watershed"]


@pytest.mark.parametrize("command", ["label", "predict"])
def test_no_results_in_the_folder_of_the_pictures(shapes, command, capsys):
    images = shapes.parents[1] / "images" / "val"
    points = shapes.with_name("points.json")
    assert main(["points", "sample", "--annotations", str(shapes), "--out", str(points)]) == 0
    capsys.readouterr()
    before = sorted(images.iterdir())
    given = {"label": ["--points", points], "predict": ["--checkpoint", images / "none"]}[command]
    arguments = [command, "--images", images, *given, "--out", images / ".." / "val"]
    assert "is the folder of the pictures; choose another" in fails(capsys, *arguments)
    assert sorted(images.iterdir()) == before


def test_memory_that_torch_has_not(capsys, monkeypatch):
    monkeypatch.setattr("point2mask.cli.info.environment", lambda: torch.empty(2**55))
    assert fails(capsys, "info").startswith("point2mask: error: not enough memory ")
