"""What hostile files have brought to light, one of each kind, and what is said of them now."""

import io
import json
import zipfile
import zlib

import numpy as np
import pytest
from fuzz.good import CVAT, IMAGE, POINTS, RECORD, RUN, checkpoint, encoded
from fuzz.readers import ask, command, read_back

from point2mask.app.pictures import encoded as sent
from point2mask.checkpoint import load_tensors
from point2mask.data import DataError, gather, read_points, write_points, write_rgb
from point2mask.data.journal import journal_path
from point2mask.data.panoptic import mask_name
from point2mask.data.png import read_ids
from point2mask.data.records import ImageRecord
from point2mask.data.yaml_file import parse_yaml
from point2mask.train.config import load_config
from point2mask.train.published import read_state


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"annotation": None}, "image: expected an entry, got none"),
        ({"image": IMAGE}, "annotation: expected an entry, got none"),
        ({"image": {"id": [1]}, "annotation": None}, "image.id: expected an integer or text"),
        ({"image": IMAGE, "annotation": []}, "annotation: expected an object or null"),
    ],
)
def test_a_journal_of_other_changes(tmp_path, change, message):
    path = tmp_path / "points.json"
    path.write_text(json.dumps(POINTS))
    journal_path(path, path.read_bytes()).write_text(json.dumps(change) + "\n")
    with pytest.raises(DataError, match=rf"points\.json: line 1 of its journal: {message}"):
        read_points(path)


def test_a_table_with_two_fields_of_a_name(tmp_path):
    pa = pytest.importorskip("pyarrow", reason="needs point2mask[parquet]")
    from pyarrow import parquet

    path = tmp_path / "points.parquet"
    (tmp_path / "points.json").write_text(json.dumps(POINTS))
    write_points(path, read_points(tmp_path / "points.json"))
    table = parquet.read_table(path)
    radius = pa.array([1.0])
    strokes = pa.StructArray.from_arrays([radius, radius], ["radius", "radius"])
    place = table.column_names.index("strokes")
    table = table.set_column(place, "strokes", pa.ListArray.from_arrays([0, 1], strokes))
    parquet.write_table(table, path)
    with pytest.raises(DataError, match="cannot be read"):
        read_points(path)


@pytest.mark.parametrize("text", ["a: !!bool x", "a: !!null [1]", "!!timestamp x"])
def test_yaml_with_tags_of_other_values(text):
    with pytest.raises(DataError, match="here: expected YAML"):
        parse_yaml(text, "here")


@pytest.fixture
def results(tmp_path):
    """The results of two pictures."""
    for name in ("runs", "records", "panoptic"):
        (tmp_path / name).mkdir()
    names = ["a.png", "b.png"]
    run = {**RUN, "pictures": 2, "file_names": names}
    (tmp_path / "runs/1-of-1.json").write_text(json.dumps(run))
    for number, name in enumerate(names, start=1):
        (tmp_path / f"records/{name[0]}.json").write_text(json.dumps(record(number, name)))
    return tmp_path


def record(number, name):
    image = {**IMAGE, "id": number, "file_name": name}
    return {**RECORD, "image": image, "annotation": {**RECORD["annotation"], "image_id": number}}


def test_good_records_are_gathered(results):
    assert gather([results]).images == 2


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ({**record(2, "b.png"), "image": {"id": 2}}, r"b\.json: image.*expected an entry"),
        (
            record(2, "c.png"),
            r"b\.json: expected the image and annotation of b\.png, got 'c\.png', 2",
        ),
        ({**record(2, "b.png"), "annotation": record(3, "b.png")["annotation"]}, ", and 3"),
        (record(1, "b.png"), "records: expected unique image ids in all records"),
    ],
)
def test_no_index_is_written_that_cannot_be_read(results, found, message):
    (results / "records/b.json").write_text(json.dumps(found))
    with pytest.raises(DataError, match=message):
        gather([results])
    assert not (results / "panoptic.json").exists()
    read_back(results)


def test_the_page_refuses_half_characters(tmp_path):
    pytest.importorskip("fastapi", reason="needs point2mask[app]")
    write_rgb(tmp_path / "album/a.png", np.zeros((5, 8, 3), np.uint8))
    (tmp_path / "ask.json").write_text('{"revision": 0, "segments_info": [{"\\ud800": 1}]}')
    with pytest.raises(DataError, match=r"expected text in whole characters, got '\\ud800'"):
        ask("PUT", "/api/images/0/marks", "ask.json")(tmp_path)


def test_a_category_of_half_a_character(tmp_path):
    pytest.importorskip("fastapi", reason="needs point2mask[app]")
    write_rgb(tmp_path / "album/a.png", np.zeros((5, 8, 3), np.uint8))
    (tmp_path / "ask.json").write_text('{"name": "\\ud800", "isthing": true}')
    with pytest.raises(DataError, match="name: expected text"):
        ask("POST", "/api/categories", "ask.json")(tmp_path)


@pytest.mark.parametrize("filled", [1, 2, 3])
def test_the_page_shows_a_jpeg_with_filled_markers(tmp_path, filled):
    content = encoded(np.zeros((16, 16, 3), np.uint8), "JPEG")
    place = content.index(b"\xff\xdb")
    (tmp_path / "a.jpg").write_bytes(content[:place] + b"\xff" * filled + content[place:])
    assert sent(tmp_path / "a.jpg", (16, 16))[:2] == b"\xff\xd8"


def test_a_pickle_that_reads_on_behind_its_end(tmp_path):
    path = tmp_path / "a.pth"
    with zipfile.ZipFile(io.BytesIO(checkpoint())) as good, zipfile.ZipFile(path, "w") as archive:
        for info in good.infolist():
            content = good.read(info)
            cut = content[:-20] + b"q" if info.filename.endswith("data.pkl") else content
            archive.writestr(info, cut)
    with pytest.raises(DataError, match=r"a\.pth: expected .* checkpoint of torch with tensors"):
        read_state(path)


def test_an_encoding_that_warns(tmp_path, capsys):
    text = CVAT.replace('"utf-8"', '"unicode_escape"').replace("cat", "c\\]t")
    (tmp_path / "cvat.xml").write_text(text)
    imports = command("points", "import", "cvat", "@cvat.xml", "--out", "@out/points.json")
    assert imports(tmp_path) in (0, 2)
    assert "Warning" not in capsys.readouterr().err


def test_a_long_key_is_cut_in_the_message():
    with pytest.raises(DataError, match=r"aaa\.\.\.: unknown key") as error:
        load_config("shapes_tiny", ["a" * 10_000 + "=1"])
    assert len(str(error.value)) < 300


def test_a_long_id_is_cut_in_the_message():
    with pytest.raises(DataError, match=r"^image 'aaa.*: expected a name that a file") as error:
        mask_name(ImageRecord("a" * 10_000, "b" * 10_000, 5, 8))
    assert len(str(error.value)) < 300


def test_a_png_with_a_second_header(tmp_path):
    content = encoded(np.zeros((5, 8, 3), np.uint8), "PNG")
    header = content[8:33]
    taller = b"IHDR" + (8).to_bytes(4, "big") + (2**23).to_bytes(4, "big") + header[16:21]
    second = header[:4] + taller + zlib.crc32(taller).to_bytes(4, "big")
    (tmp_path / "a.png").write_bytes(content[:33] + second + content[33:])
    with pytest.raises(DataError, match=r"a\.png: expected .* 8 x 5 pixels, got a second header"):
        read_ids(tmp_path / "a.png", 5, 8)


def test_a_checkpoint_whose_error_has_two_lines(tmp_path):
    header = b'{"a": {"dtype": "a\\nb", "shape": [1], "data_offsets": [0, 4]}}'
    content = len(header).to_bytes(8, "little") + header + bytes(4)
    (tmp_path / "a.safetensors").write_bytes(content)
    with pytest.raises(DataError, match="expected tensors of a checkpoint") as error:
        load_tensors(tmp_path / "a.safetensors")
    assert "\n" not in str(error.value)


def test_a_long_value_is_cut_in_the_message(tmp_path):
    path = tmp_path / "points.json"
    entry = POINTS["annotations"][0]
    path.write_text(json.dumps({**POINTS, "annotations": [{**entry, "status": "a" * 10_000}]}))
    with pytest.raises(DataError, match=r"status: expected one of the values .* got 'aaa") as error:
        read_points(path)
    assert len(str(error.value)) < 300
