"""SBD's MATLAB files: what SciPy wrote comes back, and files that want to do harm."""

import struct
import zlib

import numpy as np
import pytest
import scipy.io
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from voc_trees import write_instances

from point2mask.data import DataError
from point2mask.data.formats import sbd
from point2mask.data.formats.sbd import read_instances

HEADER = b"x" * 124 + struct.pack("<H", 0x100) + b"IM"


def element(kind, data):
    return struct.pack("<II", kind, len(data)) + data + b"\0" * (-len(data) % 8)


def head(kind, dimensions, name):
    sizes = struct.pack(f"<{len(dimensions)}i", *dimensions)
    return element(6, struct.pack("<II", kind, 0)) + element(5, sizes) + element(1, name)


def matrix(kind, dimensions, name, data):
    return element(14, head(kind, dimensions, name) + data)


def struct_of(name, **fields):
    names = b"".join(field.encode().ljust(32, b"\0") for field in fields)
    data = element(5, struct.pack("<i", 32)) + element(1, names) + b"".join(fields.values())
    return matrix(2, (1, 1), name, data)


def bytes_matrix(*dimensions, data=b""):
    return matrix(9, dimensions, b"", element(2, data))


MAP = bytes_matrix(2, 3, data=b"\0\1\0\1\0\0")  # column by column
KINDS = bytes_matrix(1, 1, data=b"\7")
GOOD = struct_of(b"GTinst", Segmentation=MAP, Categories=KINDS)


def compressed(data):
    data = zlib.compress(data)
    return struct.pack("<II", 15, len(data)) + data


@pytest.fixture
def read(tmp_path):
    def read_content(content):
        (tmp_path / "inst").mkdir(exist_ok=True)
        (tmp_path / "inst" / "x.mat").write_bytes(content)
        return read_instances(tmp_path, "x", (2, 3), 20)

    return read_content


@given(
    numbers=hnp.arrays("u1", st.tuples(st.integers(1, 6), st.integers(1, 6)), elements=st.just(0)),
    categories=st.lists(st.integers(1, 20), min_size=1, max_size=5),
    compression=st.booleans(),
    data=st.data(),
)
def test_what_scipy_wrote_comes_back(tmp_path, numbers, categories, compression, data):
    numbers = data.draw(hnp.arrays("u1", numbers.shape, elements=st.integers(0, len(categories))))
    column = np.array(categories, np.float64)[:, None]
    write_instances(tmp_path / "inst" / "x.mat", numbers, column, compression)
    got, classes = read_instances(tmp_path, "x", numbers.shape, 20)
    np.testing.assert_array_equal(got, numbers)
    assert classes == dict(enumerate(categories, start=1))


def test_columns_first_in_a_smaller_type_compressed_or_not_beside_others(read):
    other = matrix(9, (3, 1), b"other", element(2, b"123"))
    for content in (GOOD, compressed(GOOD), other + GOOD, compressed(other) + compressed(GOOD)):
        numbers, classes = read(HEADER + content)
        np.testing.assert_array_equal(numbers, [[0, 0, 0], [1, 1, 0]])
        assert classes == {1: 7}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it is of another kind"),
        (b"\x89HDF\r\n\x1a\n" + bytes(200), "it is of another kind"),
        (HEADER, "there is none"),
        (HEADER + b"1234", "it ends early"),
        (HEADER + struct_of(b"T", Segmentation=MAP), "there is none"),
        (HEADER + matrix(9, (1, 1), b"GTinst", element(2, b"1")), "there is none"),
        (HEADER + struct_of(b"GTinst", Segmentation=MAP), "Categories is no real matrix"),
        (HEADER + element(14, element(5, b"12345678")), "no class and size|of class"),
        (HEADER + element(14, head(2, (1,) * 100, b"S")), "no class and size"),
        (HEADER + element(14, head(16, (1, 1), b"S")), "a matrix of class 16"),
        (HEADER + struct_of(b"S", a=bytes_matrix(2**16, 2**16)), "of 65536 x 65536 has"),
        (HEADER + struct_of(b"S", a=matrix(1, (2**15, 2**15), b"", b"")), "of 32768 x 32768 has"),
        (HEADER + struct_of(b"S", a=bytes_matrix(-1, -1, data=b"1")), "of -1 x -1 has"),
        (HEADER + struct_of(b"S", a=matrix(5, (2**20, 1), b"", b"")), "of 1048576 x 1 has"),
        (HEADER + struct_of(b"S", a=matrix(9, (1, 1), b"", element(127, b"1"))), "of type 127"),
        (HEADER + struct_of(b"S", a=matrix(9, (1, 1), b"", b"")), "parts, expected \\[1"),
        (HEADER + struct_of(b"S", a=matrix(1, (2, 1), b"", MAP)), "parts, expected \\[0"),
        (HEADER + struct_of(b"S", a=matrix(9 + 0x800, (1, 1), b"", b"")), "none of real numbers"),
        (HEADER + struct_of(b"GTinst", a=bytes_matrix(2, 2, data=b"1")), "SciPy cannot read it"),
        (HEADER + struct.pack("<II", 14, 2**32 - 8) + MAP, "it ends early"),
        (HEADER + struct.pack("<HH", 14, 9) + MAP, "an element that does not end"),
        (HEADER + compressed(GOOD)[:-8], "it ends early"),
        (HEADER + element(15, compressed(GOOD)[8:-8]), "it ends early"),
        (HEADER + element(15, b"no zlib stream"), "cannot be decompressed"),
    ],
)  # fmt: skip
def test_rejects_broken_files(read, content, message):
    with pytest.raises(DataError, match=message) as caught:
        read(content)
    assert "x.mat: expected a MATLAB 5 file with a struct GTinst of " in str(caught.value)
    assert "\n" not in str(caught.value)


def test_field_names_have_a_length(read):
    fields = element(5, struct.pack("<i", 0)) + element(1, b"a")
    with pytest.raises(DataError, match="have no length"):
        read(HEADER + matrix(2, (1, 1), b"GTinst", fields + MAP))


def test_every_cut_and_every_broken_byte_is_an_error_or_a_map(read):
    whole = HEADER + GOOD
    for end in range(len(whole)):
        with pytest.raises(DataError):
            read(whole[:end])
    for place in range(len(HEADER), len(whole)):
        for value in (0, 1, 127, 255):
            try:
                numbers, _ = read(whole[:place] + bytes([value]) + whole[place + 1 :])
            except DataError:
                continue
            assert numbers.shape == (2, 3)


def test_nesting_is_limited(read):
    nested = MAP
    for _ in range(50):
        nested = matrix(1, (1, 1), b"", nested)
    with pytest.raises(DataError, match="more than 8 levels"):
        read(HEADER + struct_of(b"GTinst", deep=nested, Segmentation=MAP, Categories=KINDS))


def test_what_is_inflated_is_limited(read, monkeypatch):
    monkeypatch.setattr(sbd, "MAX_BYTES", 4096)
    other = compressed(matrix(9, (3000, 1), b"other", element(2, bytes(3000))))
    read(HEADER + other + compressed(GOOD))
    with pytest.raises(DataError, match="it inflates to more than 4096 bytes"):
        read(HEADER + other + other + compressed(GOOD))
    with pytest.raises(DataError, match="of at most 4096 bytes, got more"):
        read(HEADER + GOOD + bytes(4096))


def test_numbers_that_mean_nothing(tmp_path):
    path = tmp_path / "inst" / "x.mat"
    write_instances(path, np.full((2, 3), 4, np.uint8), np.ones((1, 1)))
    with pytest.raises(DataError, match=r"Segmentation: expected integers in \[0, 1\], got 4"):
        read_instances(tmp_path, "x", (2, 3), 20)
    write_instances(path, np.zeros((2, 3), np.uint8), np.array([[21.0]]))
    with pytest.raises(DataError, match=r"Categories: expected integers in \[1, 20\], got 21"):
        read_instances(tmp_path, "x", (2, 3), 20)
    scipy.io.savemat(path, {"GTinst": {"Segmentation": np.zeros((2, 3)), "Categories": "text"}})
    with pytest.raises(DataError, match="Categories is no real matrix of numbers"):
        read_instances(tmp_path, "x", (2, 3), 20)
