"""Kinds of entries in lists of clicks of our own: each cell of the table is tried by ``label``."""

import json
import re

import pytest
from documented import table
from turned_pictures import scene, write_turned

from point2mask.cli import main

SIZE = (6, 10)
SUFFIXES = {"JSON": ".json", "JSON Lines": ".jsonl", "Parquet": ".parquet"}
GOOD = {"file_name": "a.png", "height": 6, "width": 10}
OTHER = {"file_name": "b.png", "height": 6, "width": 10}
CLICK = {"id": 7, "category_id": 3, "points": [[3.5, 1.5]]}
CATEGORIES = [{"id": 3, "name": "cat", "isthing": 1}]


def entries_of(kind):
    """Images with their targets, the files beside a.png, and what the error names."""
    no_size = {"file_name": "a.png"}
    turned = {"file_name": "turned.png", "height": 10, "width": 6}
    return {
        "turned by EXIF, sizes as shown": ([(turned, [CLICK])], ["turned.png"], ""),
        r"`\` and `./` in the name": ([({**GOOD, "file_name": r".\sub\a.png"}, [CLICK])], [], ""),
        "name that leads out": ([({**GOOD, "file_name": "../a.png"}, [CLICK])], [], "../a.png"),
        "name with a line break": ([({**GOOD, "file_name": "a\n.png"}, [CLICK])], [], r"a\n.png"),
        "the same picture twice": (
            [(GOOD, [CLICK]), ({**GOOD, "file_name": "./a.png"}, [CLICK])], [], "a.png"),
        "pictures that differ in the suffix": (
            [(GOOD, [CLICK]), ({**GOOD, "file_name": "a.jpg"}, [CLICK])], ["a.jpg"], "a.jpg"),
        "no such picture": ([(GOOD, [CLICK]), (OTHER, [CLICK])], [], "b.png"),
        "broken picture": ([(GOOD, [CLICK]), (OTHER, [CLICK])], ["broken"], "b.png"),
        "another size": ([(GOOD, [CLICK]), ({**OTHER, "height": 7}, [CLICK])], ["b.png"], "b.png"),
        "no size": ([(no_size, [CLICK])], [], "height"),
        "on the rim, or by rounding beside": (
            [(GOOD, [{**CLICK, "points": [[10, 6 + 1e-7]]}])], [], ""),
        "far outside": ([(GOOD, [{**CLICK, "points": [[40, 1]]}])], [], "40"),
        "two clicks in a pixel": (
            [(GOOD, [CLICK, {**CLICK, "id": 8, "points": [[3.1, 1.1]]}])], [], "(3, 1)"),
        "two targets of an id": (
            [(GOOD, [CLICK, {**CLICK, "points": [[5.5, 1.5]]}])], [], "7"),
        "unknown category": ([(GOOD, [{**CLICK, "category_id": 4}])], [], "4"),
        "no clicks": ([(GOOD, [CLICK]), (OTHER, [])], ["b.png"], ""),
        "one broken, no other": ([(OTHER, [CLICK])], ["broken"], "b.png"),
    }[kind]  # fmt: skip


def write(path, entries):
    images = [{"id": number, **image} for number, (image, _) in enumerate(entries, start=1)]
    targets = [found for _, found in entries]
    pairs = list(zip(images, targets, strict=True))
    if path.suffix == ".json":
        annotations = [{"image_id": image["id"], "segments_info": one} for image, one in pairs]
        content = {"images": images, "categories": CATEGORIES, "annotations": annotations}
        path.write_text(json.dumps(content))
    elif path.suffix == ".jsonl":
        lines = [{"categories": CATEGORIES}]
        lines += [{"image": image, "segments_info": one} for image, one in pairs]
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    else:
        pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
        rows = pyarrow.table({"image": images, "segments_info": targets})
        rows = rows.replace_schema_metadata({"categories": json.dumps(CATEGORIES)})
        parquet.write_table(rows, path)


@pytest.mark.parametrize(("kind", "reader", "outcome"), table("entry"))
def test_cell(tmp_path, capsys, kind, reader, outcome):
    entries, beside, named = entries_of(kind)
    photos = tmp_path / "photos"
    for name in ("a.png", "sub/a.png", *(name for name in beside if name != "broken")):
        write_turned(photos / name, scene(SIZE), 6 if name == "turned.png" else 1)
    if "broken" in beside:
        (photos / "b.png").write_bytes(b"no picture")
    points = tmp_path / f"points{SUFFIXES[reader]}"
    write(points, entries)

    def run(*more):
        words = ["label", "--images", photos, "--points", points, "--workers", 1, *more]
        code = main([str(word) for word in [*words, "--out", tmp_path / "out"]])
        return code, capsys.readouterr().err

    code, said = run()
    index = tmp_path / "out" / "panoptic.json"
    if outcome == "read":
        assert code == 0, said
        found = json.loads(index.read_text())
        assert len(found["images"]) == len(entries)
        size = found["images"][0]["height"], found["images"][0]["width"]
        assert size == ((10, 6) if kind.startswith("turned") else SIZE)
        assert found["annotations"][0]["segments_info"][0]["area"] == 60  # all of the picture
        return
    assert outcome in ("refused", "refused, skipped")
    assert code == 2
    assert said.count("\n") == 1
    assert named in said
    assert not index.exists()
    if outcome == "refused, skipped":
        code, said = run("--skip-broken", "--resume")
        assert code == 0, said
        assert [image["file_name"] for image in json.loads(index.read_text())["images"]] == [
            "a.png"
        ]
        assert re.search(r"^left out 1 of 2 images:\n  .*b\.png", said, re.M), said
