"""Thrift's compact protocol: what is written is read, what others read otherwise is not."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from compact_protocol import integer, natural
from hypothesis import given
from hypothesis import strategies as st

from point2mask.data import DataError, thrift
from point2mask.data.parquet_footer import Column, Group, groups_of
from point2mask.data.thrift import BINARY, I32, I64, LIST, STRUCTURE


def encoded(fields):
    """A structure of fields: (kind, value) by number, in that order."""
    found, last = b"", 0
    for number, (kind, value) in fields:
        step = number - last
        found += bytes([step << 4 | kind]) if 0 < step < 16 else bytes([kind]) + integer(number)
        found, last = found + content(kind, value), number
    return found + b"\0"


def content(kind, value):
    if kind in (1, 2):
        return b""
    if kind == BINARY:
        return natural(len(value)) + value
    if kind == LIST:
        inside, values = value
        count = len(values)
        head = bytes([min(count, 15) << 4 | inside]) + (natural(count) if count > 14 else b"")
        return head + b"".join(content(inside, one) for one in values)
    if kind == STRUCTURE:
        return encoded(value)
    return bytes([value]) if kind == thrift.BYTE else integer(value)


def numbered(values):
    return st.dictionaries(st.integers(1, 2**15 - 1), values, max_size=5).map(
        lambda fields: list(fields.items())
    )


INTEGERS = st.tuples(st.sampled_from([I32, I64]), st.integers(-(2**63), 2**63 - 1))
LEAVES = INTEGERS | st.tuples(st.just(BINARY), st.binary(max_size=20))
LEAVES |= st.tuples(st.sampled_from([1, 2]), st.none())
VALUES = st.recursive(
    LEAVES,
    lambda inside: (
        st.tuples(st.just(STRUCTURE), numbered(inside))
        | st.tuples(
            st.just(LIST), st.tuples(st.just(STRUCTURE), st.lists(numbered(inside), max_size=20))
        )
    ),
    max_leaves=20,
)


def wanted_of(fields):
    """All that can be wanted of a structure, and what is then found."""
    wanted, found = {}, {}
    for number, (kind, value) in fields:
        if kind in (I32, I64):
            wanted[number], found[number] = kind, value
        elif kind == STRUCTURE:
            wanted[number], found[number] = wanted_of(value)
        elif kind == LIST and len(value[1]) == 1:
            inside, one = wanted_of(value[1][0])
            wanted[number], found[number] = [inside], [one]
    return wanted, found


@given(numbered(VALUES))
def test_what_is_wanted_is_found_among_all_others(fields):
    written = encoded(fields)
    wanted, found = wanted_of(fields)
    assert thrift.structure(b"xy" + written + b"z", 2, wanted) == (found, 2 + len(written))
    assert thrift.structure(written, 0, {}) == ({}, len(written))


@given(numbered(VALUES), st.data())
def test_structures_that_are_cut_are_broken(fields, data):
    written = encoded(fields)
    cut = data.draw(st.integers(0, len(written) - 1))
    with pytest.raises(thrift.BROKEN):
        thrift.structure(written[:cut], 0, {})


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_else(written):
    try:
        thrift.structure(written, 0, {1: I32, 2: [{1: I64}], 3: {4: I64}})
    except thrift.BROKEN:
        pass


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ([(1, (I32, 3)), (1, (I32, 4))], {1: I32}),  # the first or the last
        ([(1, (I64, 3))], {1: I32}),  # others step over it
        ([(2**16 + 1, (I32, 3))], {}),  # others take the lower bits
        ([(1, (LIST, (I32, [3])))], {1: [{}]}),
        ([(1, (LIST, (STRUCTURE, [])))], {1: {}}),
    ],
)
def test_what_others_read_otherwise_is_broken(fields, wanted):
    with pytest.raises(ValueError, match=r"field|list of kind"):
        thrift.structure(encoded(fields), 0, wanted)


def test_what_is_nested_deep_is_broken():
    fields = []
    for _ in range(10**4):
        fields = b"\x1c" + (fields or b"\0") + b"\0"
    with pytest.raises(ValueError, match="nested too deep"):
        thrift.structure(fields, 0, {})


@pytest.mark.parametrize(("dictionary", "start"), [(None, 40), (0, 40), (9, 9), (50, 40)])
def test_columns_begin_with_their_dictionary(dictionary, start):
    says = [(5, (I64, 3)), (7, (I64, 60)), (9, (I64, 40))]
    if dictionary is not None:
        says.append((11, (I64, dictionary)))
    group = [(1, (LIST, (STRUCTURE, [[(3, (STRUCTURE, says))]]))), (3, (I64, 2))]
    footer = encoded([(4, (LIST, (STRUCTURE, [group])))])
    leaf = SimpleNamespace(path="a.b", physical_type="INT64")
    found = groups_of(footer, Schema([leaf]), Path("p"))
    assert found == [Group(2, [Column("a.b", "INT64", 3, start, start + 60)])]
    with pytest.raises(DataError, match="p: expected groups of rows with 2 columns, got one"):
        groups_of(footer, Schema([leaf, leaf]), Path("p"))


class Schema(list):
    column = list.__getitem__
