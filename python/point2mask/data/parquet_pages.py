"""What the pages of a Parquet file say of themselves, as its footer need not be right about them.

A page says how many values and bytes it becomes in memory, and pyarrow makes room for them unasked.
Pages begin with a ``PageHeader``; pyarrow shows none of it.
https://parquet.apache.org/docs/file-format/data-pages/
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from point2mask.data import thrift
from point2mask.data.errors import DataError

MAX_HEADER = 2**16  # bytes
DATA, INDEX, DICTIONARY, DATA_2 = range(4)  # kinds of pages
DELTA_LENGTH_BYTE_ARRAY, DELTA_BYTE_ARRAY = 6, 7  # encodings
# The field of a header that has more of such a page, and of that, the one of its encoding.
_DETAILS = {DATA: (5, 2), DICTIONARY: (7, 2), DATA_2: (8, 4)}
_WANTED: thrift.Wanted = dict.fromkeys((1, 2, 3), thrift.I32) | {
    field: dict.fromkeys((1, encoding), thrift.I32) for field, encoding in _DETAILS.values()
}


@dataclass(frozen=True)
class Page:
    """What a page says of itself: bytes without its header, in memory and in the file."""

    kind: int
    values: int
    encoding: int
    size: int
    stored: int


def pages(read: Callable[[int, int], bytes], start: int, end: int, place: object) -> Iterator[Page]:
    """The pages of a column of a group of rows.

    Args:
        read: gives so many bytes, or fewer at the end, from a place of the file.
        start: where the first one begins.
        end: where the last one ends.
        place: what errors speak of.

    Raises:
        DataError: a page is not whole, or says what no page does.
    """
    while start < end:
        content = read(min(MAX_HEADER, end - start), start)
        try:
            header, length = thrift.structure(content, 0, _WANTED)
            kind = header[1]
            field, encoding = _DETAILS.get(kind, (None, 0))
            more = {} if field is None else header[field]
            page = Page(kind, more.get(1, 0), more.get(encoding, 0), header[2], header[3])
        except (*thrift.BROKEN, KeyError) as error:
            raise DataError(f"{place}: expected the header of a page at byte {start}") from error
        start += length
        if min(page.values, page.size, page.stored) < 0 or page.stored > end - start:
            raise DataError(
                f"{place}: expected a page of at most {end - start} bytes at byte {start}, got one "
                f"of {page.stored} for {page.values} values"
            )
        start += page.stored
        yield page
