"""Kinds of input in every reader: each cell of the table in ``docs/data_formats.md`` is tried."""

import json
import re
from dataclasses import dataclass, field
from xml.sax.saxutils import quoteattr

import numpy as np
import pytest
from documented import table
from PIL import Image
from turned_pictures import red, scene, write_turned

from point2mask.cli import main
from point2mask.data.frames import to_shown

SIZE = (6, 10)
OTHER = {"csv": None, "labelme": "polygon", "cvat": "polygon", "label-studio": "choices", "coco": 0}


@dataclass
class Entry:
    """An image of a file: what it is called, and a click, or a mask of one pixel, on it."""

    name: str = "a.png"
    x: float = 3.5
    y: float = 1.5
    size: tuple[int, int] | None = SIZE
    other: bool = False  # a shape that is none of those read, beside the click


@dataclass
class Case:
    entries: list[Entry]
    files: dict[str, tuple] = field(default_factory=lambda: {"a.png": (SIZE, 1)})  # size, tag
    named: str = ""  # what the error names beside the file


def kind_of(text):
    """What is tried for a row of the table."""
    rim = Entry(x=10, y=6 + 1e-7)
    return {
        "turned by EXIF": Case([Entry(x=4.5, y=3.5, size=(10, 6))], {"a.png": (SIZE, 6)}),
        "turned, of equal size": Case([Entry(x=6.5, y=4.5)], {"a.png": (SIZE, 3)}),
        r"`\` and `./` in the name": Case([Entry(r".\sub\a.png")], {"sub/a.png": (SIZE, 1)}),
        "folder of a subset": Case([Entry()], {"train/a.png": (SIZE, 1)}),
        "name of a folder further up": Case([Entry("photos/x/a.png")]),
        "name in capitals, or without suffix": Case([Entry("A")]),
        "name that leads out": Case([Entry("../../a.png")], named="a.png"),
        "name with a line break": Case([Entry("a\n.png")], named=r"a\n.png"),
        "two pictures of the name": Case(
            [Entry()], {"x/a.png": (SIZE, 1), "y/a.png": (SIZE, 1)}, named="x/a.png and y/a.png"
        ),
        "the same picture twice": Case([Entry(), Entry("./a.png", x=5.5)], named="a.png"),
        "no such picture": Case([Entry(), Entry("b.png")], named="b.png"),
        "broken picture": Case([Entry(), Entry("b.png")], {"a.png": (SIZE, 1), "b.png": ()}),
        "another size": Case([Entry(size=(7, 10))], named="10 x 7"),
        "no size": Case([Entry(size=None)]),
        "on the rim, or by rounding beside": Case([rim]),
        "far outside": Case([Entry(), Entry("b.png", x=40)], {
            "a.png": (SIZE, 1), "b.png": (SIZE, 1)}, named="40"),
        "other shapes, no mask": Case([Entry(other=True)]),
    }[text]  # fmt: skip


def write(reader, folder, entries):
    """A file of a format; the file, or its folder, as the command takes it."""
    path = folder / {"csv": "f.csv", "cvat": "f.xml"}.get(reader, "f.json")
    if reader == "csv":
        rows = [f'"{e.name}",{e.x!r},{e.y!r},cat\n' for e in entries]
        path.write_text("image,x,y,category\n" + "".join(rows))
    elif reader == "cvat":
        path.write_text(f"<annotations>{''.join(map(cvat_image, entries))}</annotations>")
    elif reader == "labelme":
        path = folder / "jsons"
        path.mkdir()
        for number, entry in enumerate(entries):
            (path / f"{number}.json").write_text(json.dumps(labelme(entry)))
    elif reader == "label-studio":
        path.write_text(json.dumps([task(entry) for entry in entries]))
    else:
        path.write_text(json.dumps(coco(entries)))
    return path


def cvat_image(e):
    size = "" if e.size is None else f'width="{e.size[1]}" height="{e.size[0]}"'
    name = quoteattr(e.name, {"\n": "&#10;"})
    other = '<polygon label="cat" points="1,1;2,2;3,1"/>' if e.other else ""
    points = f'<points label="cat" points="{e.x!r},{e.y!r}"/>'
    return f"<image name={name} {size}>{points}{other}</image>"


def labelme(e):
    point = {"label": "cat", "points": [[e.x, e.y]], "shape_type": "point"}
    other = {"label": "cat", "points": [[1, 1], [2, 2], [3, 1]], "shape_type": "polygon"}
    size = {} if e.size is None else {"imageHeight": e.size[0], "imageWidth": e.size[1]}
    return {"imagePath": e.name, "shapes": [point, other] if e.other else [point], **size}


def task(e):
    size = {} if e.size is None else {"original_height": e.size[0], "original_width": e.size[1]}
    height, width = e.size or SIZE
    value = {"x": 100 * e.x / width, "y": 100 * e.y / height, "keypointlabels": ["cat"]}
    results = [{"type": "keypointlabels", "value": value, **size}]
    if e.other:
        results.append({"type": "choices", "value": {"choices": ["good"]}})
    return {"data": {"image": e.name}, "annotations": [{"result": results}]}


def coco(entries):
    images, annotations = [], []
    for number, e in enumerate(entries):
        size = {} if e.size is None else {"height": e.size[0], "width": e.size[1]}
        images.append({"id": number, "file_name": e.name, **size})
        x, y = (v - 1 if v == limit else v // 1 for v, limit in ((e.x, 10), (e.y, 6)))
        x, y = (min(v, limit) for v, limit in ((x, 9 if e.x == 10 else x), (y, 5 if y == 6 else y)))
        corners = [x, y, x + 1, y, x + 1, y + 1, x, y + 1]
        base = {"image_id": number, "category_id": 1}
        annotations.append({**base, "segmentation": [corners]})
        if e.other:
            annotations.append({**base, "segmentation": [], "bbox": [1, 1, 2, 2]})
    categories = [{"id": 1, "name": "cat"}]
    return {"images": images, "annotations": annotations, "categories": categories}


def run(reader, folder, *more):
    """The exit code, and the pixels (picture, x, y) that were read."""
    images, source, out = folder / "photos", folder / "source", folder / "out"
    if reader == "coco":
        words = ["convert", "coco", "--instances", source / "f.json", "--images", images]
        code = main([str(word) for word in (*words, "--out", out, *more)])
        if code:
            return code, []
        found = []
        for path in (out / "panoptic_photos").rglob("*.png"):
            ids = np.asarray(Image.open(path))[..., 0]
            name = path.relative_to(out / "panoptic_photos").as_posix()
            found += [(name, int(x), int(y)) for y, x in np.argwhere(ids)]
        return 0, found
    path = source / {"csv": "f.csv", "cvat": "f.xml", "labelme": "jsons"}.get(reader, "f.json")
    words = ["points", "import", reader, path, "--images", images, "--out", out / "p.json", *more]
    code = main([str(word) for word in words])
    if code:
        return code, []
    root = json.loads((out / "p.json").read_text())
    names = {image["id"]: image["file_name"] for image in root["images"]}
    return 0, [
        (names[a["image_id"]], int(x), int(y))
        for a in root["annotations"] for t in a["segments_info"] for x, y in t["points"]
    ]  # fmt: skip


@pytest.mark.parametrize(("kind", "reader", "outcome"), table("kind"))
def test_cell(tmp_path, capsys, kind, reader, outcome):
    case = kind_of(kind)
    for name, made in case.files.items():
        path = tmp_path / "photos" / name
        if made:
            write_turned(path, scene(made[0]), made[1])
        else:
            path.write_bytes(b"no picture")
    (tmp_path / "source").mkdir()
    if outcome == "-":
        return
    entries = case.entries
    if kind.startswith("turned") and reader == "csv":  # on the picture as stored
        entries = [Entry()]
    write(reader, tmp_path / "source", entries)
    code, found = run(reader, tmp_path)
    said = capsys.readouterr().err
    if outcome == "read":
        assert code == 0, said
        assert "left out" not in said
        name = next(iter(case.files))
        expected = [(name, 9, 5)] if "rim" in kind else [(name, 3, 1)]
        assert found[: len(expected)] == expected
    elif outcome == "left out":
        assert code == 0, said
        assert re.search(r"^left out: 1 ", said, re.M), said
        assert run(reader, tmp_path, "--strict")[0] == 2
    else:
        assert outcome.startswith("refused")
        assert code == 2
        assert said.count("\n") == 1
        assert case.named in said, said
        if outcome == "refused, skipped":
            code, found = run(reader, tmp_path, "--skip-broken")
            said = capsys.readouterr().err
            assert code == 0, said
            assert found == [("a.png", 3, 1)]
            assert re.search(r"^left out: 1 .* that cannot be used: ", said, re.M), said


def test_the_scene_has_its_red_pixel_where_the_cells_look():
    assert red(scene(SIZE)) == (3, 1)
    assert red(to_shown(scene(SIZE), 6)) == (4, 3)
    assert red(to_shown(scene(SIZE), 3)) == (6, 4)
