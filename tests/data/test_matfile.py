"""MATLAB files: agreement with SciPy's reader, and files that want to do harm."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from point2mask.data import DataError, matfile
from point2mask.data.matfile import read_struct

HEADER = b"x" * 124 + struct.pack("<H", 0x100) + b"IM"
MATLAB_FILES = Path(scipy.io.__file__).parent / "matlab" / "tests" / "data"


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


NUMBERS = matrix(9, (2, 3), b"", element(2, bytes(range(6))))


def compressed(data):
    data = zlib.compress(data)
    return struct.pack("<II", 15, len(data)) + data


@pytest.fixture
def read(tmp_path):
    def read_content(content):
        path = tmp_path / "x.mat"
        path.write_bytes(content)
        return read_struct(path, "S", ("a",))["a"]

    return read_content


arrays = hnp.arrays(
    st.sampled_from(["u1", "i2", "u2", "i4", "u4", "i8", "f4", "f8"]),
    st.tuples(st.integers(0, 5), st.integers(0, 5)),
    elements=st.integers(0, 100),
)


@given(first=arrays, second=arrays, compression=st.booleans())
def test_agrees_with_scipy(tmp_path, first, second, compression):
    content = {
        "before": second,
        "S": {"cell": np.array([["x", 1]], object), "a": first, "b": second},
    }
    scipy.io.savemat(tmp_path / "x.mat", content, do_compression=compression)
    got = read_struct(tmp_path / "x.mat", "S", ("a", "b"))
    theirs = scipy.io.loadmat(tmp_path / "x.mat")["S"][0, 0]
    for name in ("a", "b"):
        assert got[name].shape == theirs[name].shape
        np.testing.assert_array_equal(got[name], theirs[name])


@pytest.mark.skipif(not MATLAB_FILES.is_dir(), reason="SciPy came without its test data")
@pytest.mark.parametrize("version", ["6.1_SOL2", "6.5.1_GLNX86", "7.1_GLNX86", "7.4_GLNX86"])
def test_files_that_matlab_wrote(version):
    """Both byte orders (SOL2 is big-endian), with and without compression."""
    path = MATLAB_FILES / f"teststruct_{version}.mat"
    theirs = scipy.io.loadmat(path)["teststruct"][0, 0]["doublefield"]
    np.testing.assert_array_equal(
        read_struct(path, "teststruct", ("doublefield",))["doublefield"], theirs
    )
    with pytest.raises(DataError, match="stringfield is no real matrix of numbers"):
        read_struct(path, "teststruct", ("stringfield",))
    with pytest.raises(DataError, match="complexfield is no real matrix of numbers"):
        read_struct(path, "teststruct", ("complexfield",))


def test_numbers_in_a_smaller_type_and_by_columns(read):
    for content in (
        HEADER + struct_of(b"S", a=NUMBERS),
        HEADER + compressed(struct_of(b"S", a=NUMBERS)),
    ):
        np.testing.assert_array_equal(read(content), [[0, 2, 4], [1, 3, 5]])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it is of another kind"),
        (b"\x89HDF\r\n\x1a\n" + bytes(200), "it is of another kind"),
        (HEADER, "there is none"),
        (HEADER + b"1234", "it ends early"),
        (HEADER + struct_of(b"T", a=NUMBERS), "there is none"),
        (HEADER + NUMBERS, "there is none"),
        (HEADER + matrix(9, (1, 1), b"S", element(2, b"1")), "S is no struct"),
        (HEADER + struct_of(b"S", b=NUMBERS), "a is missing"),
        (HEADER + element(14, b""), "it ends early"),
        (HEADER + element(14, element(5, b"12345678")), "of type 6 is one of type 5"),
        (HEADER + element(14, element(6, b"") * 3), "of type 5 is one of type 6"),
        (HEADER + element(14, head(2, (1,) * 100, b"S")), "no class and size"),
        (HEADER + struct_of(b"S", a=matrix(1, (0, 0), b"", b"")), "a is no real matrix"),
        (HEADER + struct_of(b"S", a=matrix(9, (2, 2, 2), b"", b"")), "a is no real matrix"),
        (HEADER + struct_of(b"S", a=matrix(9, (1, 1), b"", b"")), "it ends early"),
        (HEADER + struct_of(b"S", a=matrix(9, (1, 1), b"", element(16, b"1"))), "holds no numbers"),
        (HEADER + struct_of(b"S", a=matrix(9, (2, 2), b"", element(2, b"1"))), "1 bytes for 2 x 2"),
        (HEADER + struct_of(b"S", a=matrix(9, (-1, -1), b"", element(2, b"1"))), "for -1 x -1"),
        (
            HEADER + struct_of(b"S", a=matrix(9, (2**16, 2**16), b"", element(2, b""))),
            "0 bytes for 65536 x 65536 numbers",
        ),
        (HEADER + struct.pack("<II", 14, 2**32 - 8) + NUMBERS, "it ends early"),
        (HEADER + struct.pack("<HH", 14, 9) + NUMBERS, "an element that does not end"),
        (HEADER + compressed(b""), "it ends early"),
        (HEADER + compressed(struct_of(b"S", a=NUMBERS))[:-8], "it ends early"),
        (HEADER + element(15, compressed(struct_of(b"S", a=NUMBERS))[8:-8]), "it ends early"),
        (HEADER + element(15, b"no zlib stream"), "cannot be decompressed"),
    ],
)
def test_rejects_broken_files(read, content, message):
    with pytest.raises(DataError, match=message) as caught:
        read(content)
    assert "x.mat: expected a MATLAB 5 file with a struct S of a, but " in str(caught.value)
    assert "\n" not in str(caught.value)


def test_field_names_have_a_length(read):
    fields = element(5, struct.pack("<i", 0)) + element(1, b"a")
    with pytest.raises(DataError, match="have no length"):
        read(HEADER + matrix(2, (1, 1), b"S", fields + NUMBERS))


def test_every_cut_and_every_broken_byte_is_an_error_or_numbers(read):
    whole = HEADER + struct_of(b"S", a=NUMBERS)
    for end in range(len(whole)):
        with pytest.raises(DataError):
            read(whole[:end])
    for place in range(len(HEADER), len(whole)):
        for value in (0, 1, 127, 255):
            try:
                got = read(whole[:place] + bytes([value]) + whole[place + 1 :])
            except DataError:
                continue
            assert got.size <= len(whole)


def test_limits(read, monkeypatch):
    """Files and all that they inflate to are limited together; nesting costs nothing."""
    nested = matrix(6, (0, 0), b"", b"")
    cell = head(1, (1, 1), b"")
    size, starts = len(nested), []
    for _ in range(100_000):
        size += len(cell)
        starts.append(struct.pack("<II", 14, size) + cell)
        size += 8
    deep = b"".join(reversed(starts)) + nested
    read(HEADER + struct_of(b"S", deep=deep, a=NUMBERS))
    with pytest.raises(DataError, match="a is no real matrix"):
        read(HEADER + struct_of(b"S", a=deep))

    monkeypatch.setattr(matfile, "MAX_BYTES", 4096)
    other = compressed(matrix(9, (3000, 1), b"other", element(2, bytes(3000))))
    wanted = compressed(struct_of(b"S", a=NUMBERS))
    read(HEADER + other + wanted)
    with pytest.raises(DataError, match="it inflates to more than 4096 bytes"):
        read(HEADER + other + other + wanted)
    with pytest.raises(DataError, match="it inflates to more than 4096 bytes"):
        read(HEADER + compressed(matrix(9, (2**20, 1), b"S", element(2, bytes(2**20)))))
    with pytest.raises(DataError, match="it is larger than 4096 bytes"):
        read(HEADER + struct_of(b"S", a=NUMBERS) + bytes(4096))
