"""JSON whose lists stay in the file: what msgspec says of the whole, however it is cut."""

import json
from multiprocessing import get_context

import msgspec
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st

from point2mask.data import DataError, json_lists, read_panoptic, write_panoptic
from point2mask.data.compact import Positions, Records
from point2mask.data.json_files import read_json
from point2mask.data.json_lists import open_lists
from point2mask.data.kept_file import KeptFile
from point2mask.data.records import Category, ImageRecord, Segment

texts = st.text(st.sampled_from('ab"\\,}{][: \n\té\u2028😀'), max_size=8)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.floats(-1e9, 1e9) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
entries = st.lists(
    st.fixed_dictionaries({"id": st.integers(), "name": texts, "more": values}) | values,
    max_size=12,
)
roots = st.dictionaries(texts, values, max_size=3).flatmap(
    lambda others: st.permutations(["images", "annotations", *others]).flatmap(
        lambda keys: st.fixed_dictionaries(
            {key: st.just(others[key]) if key in others else entries for key in keys}
        )
    )
)
NAMES = ("images", "annotations")


def opened(path, block, monkeypatch):
    monkeypatch.setattr(json_lists, "BLOCK", block)
    monkeypatch.setattr(json_lists, "FIRST", min(block, json_lists.FIRST))
    return open_lists(path, NAMES, "a JSON")


@examples(60)
@given(
    root=roots,
    indent=st.sampled_from([None, 0, 2]),
    ascii_only=st.booleans(),
    block=st.sampled_from([1, 7, 64, 2**16]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
)
def test_reads_what_json_reads(tmp_path_factory, root, indent, ascii_only, block, encoding):
    path = tmp_path_factory.mktemp("json") / "a.json"
    path.write_text(json.dumps(root, indent=indent, ensure_ascii=ascii_only), encoding)
    with pytest.MonkeyPatch.context() as patch:
        found = opened(path, block, patch)
    assert {**found.lists, **found.others}.keys() == root.keys()
    for key, entries_ in found.lists.items():
        assert list(entries_.entries(object)) == root[key]
        backwards = range(len(entries_) - 1, -1, -1)
        assert [entries_.entry(n, object) for n in backwards] == root[key][::-1]
    for key, raw in found.others.items():
        assert msgspec.json.decode(raw) == root[key]


@examples(100)
@given(
    root=roots,
    block=st.sampled_from([1, 16, 2**16]),
    cut=st.floats(0, 1),
    put=st.sampled_from([b"", b",", b"]", b"}", b'"', b"{", b"1", b"\\", b"x"]),
    removed=st.integers(0, 2),
)
def test_refuses_what_msgspec_refuses(tmp_path_factory, root, block, cut, put, removed):
    text = json.dumps(root).encode()
    place = int(cut * len(text))
    text = text[:place] + put + text[place + removed :]
    path = tmp_path_factory.mktemp("json") / "a.json"
    path.write_bytes(text)
    try:
        expected = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
    except msgspec.DecodeError:
        expected = None
    with pytest.MonkeyPatch.context() as patch:
        if expected is None:
            with pytest.raises(DataError, match=r"a\.json: expected a JSON,"):
                opened(path, block, patch)
        else:
            found = opened(path, block, patch)
            assert {**found.lists, **found.others}.keys() == expected.keys()


@pytest.mark.parametrize(
    "text",
    [
        '{"images": [1,]}',
        '{"images": [,1]}',
        '{"images": [,]}',
        '{"images": [1,{"a":2},]}',
        '{"images": [{"a":1}{"a":2}]}',
        '{"images": [1]',
        '{"images" [1]}',
        '{"images": [1],}',
        "{} {}",
    ],
)
def test_commas_and_ends(tmp_path, monkeypatch, text):
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(DataError, match="it is not valid JSON"):
        opened(path, 4, monkeypatch)


def test_a_wrong_entry_is_named(tmp_path, monkeypatch):
    images = [{"id": n, "file_name": f"{n}.jpg", "height": 4, "width": 5} for n in range(50)]
    images[33]["height"] = "x"
    (tmp_path / "a.json").write_text(json.dumps({"images": images}))
    found = opened(tmp_path / "a.json", 128, monkeypatch)
    with pytest.raises(DataError, match=r"a\.json: images\[33\]\.height: expected an integer"):
        list(found.lists["images"].entries(ImageRecord))


@pytest.mark.parametrize("broken", [b"\xff", b"a\xe4b", b"\xed\xa0\x80", b"\\n\xc3"])
def test_text_that_is_no_utf8_is_named(tmp_path, broken):
    """msgspec finds it where the text is wanted, with an error that differs between versions."""
    path = tmp_path / "a.json"
    path.write_bytes(b'{"images": [{"id": "b"}, {"id": "%b"}], "n": "%b"}' % (broken, broken))
    found = open_lists(path, NAMES, "a JSON")
    with pytest.raises(DataError, match=r"a\.json: images\[1\]: expected JSON, but .* not UTF-8"):
        list(found.list("images").entries(dict[str, str]))
    with pytest.raises(DataError, match=r"a\.json: images\[1\]: expected JSON, but .* not UTF-8"):
        found.list("images").entry(1, dict[str, str])
    with pytest.raises(DataError, match=r"a\.json: n: expected JSON, but it is not UTF-8"):
        found.value("n", str)
    with pytest.raises(DataError, match=r"a\.json: expected a JSON, but it is not UTF-8"):
        read_json(path, dict[str, object], "a JSON")


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (b'"a\x7f\xff"', '"a\\x7f\ufffd"...'),
        (b'"\xc2\x9b2J\xe4"', '"\\x9b2J\ufffd"...'),
        (b'["\x7f",\n1' + b"0" * 5000 + b"]", '["\\x7f",\\n1' + "0" * 33 + "..."),
    ],
)
def test_a_wrong_value_that_cannot_be_decoded_is_told_on_one_line(tmp_path, value, told):
    """Without what would reach a terminal as more than characters."""
    path = tmp_path / "a.json"
    path.write_bytes(b'{"id": 1, "file_name": "a", "height": 4, "width": %b}' % value)
    with pytest.raises(DataError) as raised:
        read_json(path, ImageRecord, "an image")
    assert str(raised.value) == f"{path}: width: expected an integer, got {told}"


def test_entries_that_look_like_parts_of_others(tmp_path, monkeypatch):
    """Cuts inside an entry are none, and more bytes are read where many places look like one."""
    entry = {"id": 1, "segments": [{"id": n} for n in range(200)], "text": ',{"id": 1},'}
    (tmp_path / "a.json").write_text(json.dumps({"annotations": [entry] * 5, "n": 1}))
    found = opened(tmp_path / "a.json", 64, monkeypatch)
    assert list(found.lists["annotations"].entries(object)) == [entry] * 5


def test_many_keys_are_read_in_little_more_than_their_bytes(tmp_path, monkeypatch):
    (tmp_path / "a.json").write_text(json.dumps({f"k{n}": n for n in range(2000)}))
    read, pieces = KeptFile.read_at, []

    def counted(file, count, place):
        pieces.append(len(content := read(file, count, place)))
        return content

    monkeypatch.setattr(KeptFile, "read_at", counted)
    assert len(open_lists(tmp_path / "a.json", NAMES, "a JSON").others) == 2000
    assert sum(pieces) < 2000 * 2**10


@pytest.mark.parametrize("content", [b"[1, 2" * 90, b'{"images": [{"id": 1}]}', b""])
def test_a_file_that_is_written_over_is_named(tmp_path, content):
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"images": [{"id": n} for n in range(9)]}))
    images = open_lists(path, NAMES, "a JSON").list("images")
    path.write_bytes(content)
    for read in (lambda: images.entry(3, object), lambda: list(images.entries(object))):
        with pytest.raises(DataError, match=r"a\.json: images: expected the list as it was"):
            read()


def test_positions_tell_equal_hashes_apart():
    values = [-1, -2, 2**61 - 1, 0, "a", 7]  # hash(-1) == hash(-2), hash(2**61 - 1) == hash(0)
    positions = Positions(len(values), values.__getitem__)
    for order in (range(6), (5, 3, 0, 4, 2, 1)):
        assert [positions.find(values[n]) for n in order] == [*order]
    assert positions.find(2 * (2**61 - 1)) is None
    assert positions.find("b") is None


@given(
    st.lists(
        st.builds(
            ImageRecord,
            st.integers(-(2**63), 2**63 - 1) | st.text("aé7", min_size=1, max_size=3),
            st.text("aé/", min_size=1, max_size=5),
            st.integers(1, 2**31 - 1),
            st.integers(1, 2**31 - 1),
            st.sampled_from(["stored", "shown"]),
        ),
        max_size=8,
    )
)
def test_records_come_back(records):
    compact = Records.of(records)
    assert list(compact) == records
    assert compact[1:] == records[1:]
    assert [compact[-n] for n in range(1, len(records) + 1)] == records[::-1]
    assert [compact.id(n) for n in range(len(records))] == [record.id for record in records]


def first_segments(dataset):
    return dataset.images[0].segments


def test_another_process_reads_on(tmp_path):
    """However processes are started, and though the name of the file is gone."""
    import numpy as np

    categories = {1: Category(1, "cat", True, (1, 2, 3))}
    items = [(ImageRecord(5, "a.jpg", 2, 3), np.ones((2, 3), np.int32), [Segment(1, 1)])]
    write_panoptic(tmp_path / "p.json", None, categories, items)
    dataset = read_panoptic(tmp_path / "p.json")
    (tmp_path / "p.json").unlink()
    process = get_context("spawn").Process(target=first_segments, args=(dataset,))
    process.start()
    process.join(120)
    assert process.exitcode == 0
