"""Hostile variants of files that hold others: sums that are right over contents that are not."""

import io
import json
import random
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable

from fuzz.json_mutants import change_json

Change = Callable[[bytes, random.Random], bytes]
BLOCK = 512
NAMES = (
    b"", b".", b"..", b"../a.png", b"/a.png", b"a/../b.png", b"./photos/a.png", b"photos//a.png",
    b"photos", b"photos/a.png/", b"C:\\a.png", b"photos\\a.png", b"a\nb.png", b"\x1b[31m.png",
    b"\xff\xfe.png", b"s3://b/a.png", b"x" * 100, b"a.tar/b.png", b"photos/a.jpg", b"photos/a.png",
)  # fmt: skip
KINDS = b"0\x001234567LKxgSNDVMX\xff"
SIZES = (
    b"00000000000\0", b"77777777777\0", b"-0000000001\0", b"           \0", b"0000000000a\0",
    b"\x80" + b"\0" * 10 + b"\x01", b"\x80" + b"\xff" * 11, b"\xff" * 12, b"\xff" * 10 + b"\xfe\0",
    b"\x80" + b"\0" * 6 + b"\x7f" + b"\xff" * 4, b"00000001000\0", b"1          \0",
)  # fmt: skip
PAX = (
    (b"path", NAMES), (b"linkpath", NAMES),
    (b"size", (b"-1", b"0", b"1e9", b"9" * 30, b"x", b"1000")),
    (b"GNU.sparse.major", (b"1", b"0", b"x")),
    (b"GNU.sparse.map", (b"0,1,9", b"x", b"0,99999999999")),
    (b"GNU.sparse.size", (b"99999999999", b"-1", b"x")), (b"GNU.sparse.name", NAMES),
    (b"mtime", (b"nan", b"x", b"1e400")), (b"hdrcharset", (b"BINARY", b"x")),
    (b"uid", (b"x", b"9" * 50)), (b"", (b"",)), (b"comment", (b"x" * 9000,)),
)  # fmt: skip


def _summed(header: bytearray) -> bytes:
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header)


def _header(name: bytes, kind: int, size: int) -> bytes:
    header = bytearray(BLOCK)
    header[: len(name[:100])] = name[:100]
    header[100:108], header[124:136] = b"0000644\0", b"%011o\0" % size
    header[156], header[257:265] = kind, b"ustar\x0000"
    return _summed(header)


def _padded(content: bytes) -> bytes:
    return content + bytes(-len(content) % BLOCK)


def _pax(rng: random.Random) -> bytes:
    records = b""
    for _ in range(rng.choice((1, 1, 2))):
        key, values = rng.choice(PAX)
        text = b" " + key + b"=" + rng.choice(values) + b"\n"
        length = len(text) + len(str(len(text) + 3))
        records += b"%d" % rng.choice((length, length, length, 0, 1, 10**9)) + text
    return _header(b"pax", rng.choice(b"xxg"), len(records)) + _padded(records)


def change_tar(content: bytes, rng: random.Random) -> bytes:
    places, place = [], 0
    while place + BLOCK <= len(content) and content[place]:
        places.append(place)
        digits = content[place + 124 : place + 135].strip(b"\0 ")
        try:
            size = int(digits or b"0", 8)
        except ValueError:
            break
        place += BLOCK + size + -size % BLOCK
        if size < 0:
            break
    at = rng.choice(places or [0])
    header = bytearray(content[at : at + BLOCK].ljust(BLOCK, b"\0"))
    way = rng.randrange(9)
    if way < 2:
        header[0:100] = rng.choice(NAMES).ljust(100, b"\0")
    elif way == 2:
        header[156] = rng.choice(KINDS)
        header[157:257] = rng.choice(NAMES).ljust(100, b"\0")
    elif way == 3:
        header[124:136] = rng.choice(SIZES)
    elif way == 4:
        header[345:500] = rng.choice(NAMES).ljust(155, b"\0")
    elif way == 5:
        return content[:at] + _pax(rng) + content[at:]
    elif way == 6:  # a long name, as GNU's tar has it
        name = rng.choice((*NAMES, b"x/" * 3000, b"x" * 300))
        size = rng.choice((len(name), len(name), 0, 2**20 + 1, 2**30))
        return (
            content[:at]
            + _header(b"././@LongLink", rng.choice(b"LLK"), size)
            + _padded(name)
            + content[at:]
        )
    elif way == 7:
        field = rng.choice(
            ((100, 108), (108, 116), (116, 124), (136, 148), (257, 265), (329, 337), (265, 297))
        )
        header[slice(*field)] = rng.randbytes(field[1] - field[0])
    else:
        end = rng.choice(places or [0])
        return content[:end] + content[at : at + 2 * BLOCK] * rng.choice((1, 2)) + content[end:]
    return content[:at] + _summed(header) + content[at + BLOCK :]


def change_parquet(content: bytes, rng: random.Random) -> bytes:
    """A table of other types, columns, rows and metadata, or stored otherwise."""
    import pyarrow as pa
    from pyarrow import parquet

    table = parquet.read_table(io.BytesIO(content))
    rows = table.to_pylist()
    schema = table.schema
    types = (
        pa.int8(), pa.uint8(), pa.int16(), pa.uint32(), pa.int64(), pa.uint64(), pa.float16(),
        pa.float32(), pa.float64(), pa.string(), pa.large_string(), pa.binary(), pa.binary(4),
        pa.bool_(), pa.null(), pa.date32(), pa.timestamp("ns"), pa.time64("us"),
        pa.decimal128(20, 3), pa.duration("s"), pa.list_(pa.float64()),
        pa.list_(pa.list_(pa.float32())), pa.list_(pa.float16(), 2), pa.large_list(pa.int64()),
        pa.map_(pa.string(), pa.int64()), pa.struct({"id": pa.int64()}),
        pa.dictionary(pa.int32(), pa.string()),
        pa.list_(pa.struct({"id": pa.int32(), "points": pa.string()})),
    )  # fmt: skip

    def other(kind: pa.DataType, deep: int) -> pa.DataType:
        """A type of which one part is another."""
        if deep and pa.types.is_struct(kind) and kind.num_fields and rng.randrange(6):
            index = rng.randrange(kind.num_fields)
            fields = [kind.field(n) for n in range(kind.num_fields)]
            way = rng.randrange(8)
            if way == 0:
                del fields[index]
            elif way == 1:
                fields.append(fields[index])
            elif way == 2:
                fields[index] = fields[index].with_name(
                    rng.choice(("id", "ID", "x", "", "a.b", "points"))
                )
            else:
                fields[index] = fields[index].with_type(other(fields[index].type, deep - 1))
            return pa.struct(fields)
        if deep and pa.types.is_list(kind) and rng.randrange(6):
            inside = other(kind.value_type, deep - 1)
            return rng.choice((pa.list_, pa.list_, pa.large_list))(inside)
        return rng.choice(types)

    columns = [table.column(n) for n in range(table.num_columns)]
    names = list(table.column_names)
    way = rng.randrange(10)
    index = rng.randrange(len(names))
    metadata = dict(schema.metadata or {})
    if way < 4:
        kind = other(schema.field(index).type, 4)
        columns[index] = _as(pa, [row[names[index]] for row in rows], kind, columns[index])
    elif way == 4:
        del columns[index], names[index]
    elif way == 5:
        names[index] = rng.choice(
            ("image", "segments_info", "status", "rest", "strokes", "a.b", "", "\x1b[31m")
        )
    elif way == 6:
        times = rng.choice((0, 2, 1500))
        columns = [pa.chunked_array(c.chunks * times, c.type) for c in columns]
    elif way == 7:
        key = b"categories"
        metadata[key] = change_json(metadata.get(key, b"[]"), rng)
    elif way == 8:
        values = [row[names[index]] for row in rows]
        values[rng.randrange(len(values))] = None
        columns[index] = _as(pa, values, columns[index].type, columns[index])
    else:
        metadata.pop(b"categories", None)
        metadata[rng.choice((b"ARROW:schema", b"categories", b"x"))] = rng.choice(
            (b"", b"{}", b"[]", b"/" * 99)
        )
    table = pa.Table.from_arrays(columns, names=names, metadata=metadata)
    file = io.BytesIO()
    parquet.write_table(
        table, file, row_group_size=rng.choice((None, 1, 2)),
        version=rng.choice(("1.0", "2.4", "2.6")), data_page_version=rng.choice(("1.0", "2.0")),
        use_dictionary=rng.choice((True, False)),
        compression=rng.choice(("snappy", "none", "gzip", "zstd", "lz4", "brotli")),
        store_schema=rng.choice((True, False)), write_statistics=rng.choice((True, False)),
        data_page_size=rng.choice((None, 1)), write_page_checksum=rng.choice((True, False)),
    )  # fmt: skip
    return file.getvalue()


def _as(pa, values, kind, known):
    """Values in another type; where they do not fit, rows of nothing."""
    try:
        return pa.chunked_array([pa.array(values, kind)])
    except (pa.ArrowException, TypeError, ValueError, OverflowError, AttributeError):
        try:
            return known.cast(kind)
        except (pa.ArrowException, TypeError, ValueError):
            return pa.chunked_array([pa.nulls(len(values), kind)])


def change_safetensors(content: bytes, rng: random.Random) -> bytes:
    """Another header, of the length that it says."""
    size = struct.unpack("<Q", content[:8])[0]
    header, data = content[8 : 8 + size], content[8 + size :]
    way = rng.randrange(5)
    if way == 0:
        return (
            struct.pack("<Q", rng.choice((0, 1, size - 1, size + 1, 2**31, 2**63, 2**64 - 1)))
            + content[8:]
        )
    if way == 1:
        values = json.loads(header)
        entry = values[rng.choice([*values])]
        if isinstance(entry, dict) and "dtype" in entry:
            entry["dtype"] = rng.choice(
                ("F16", "BF16", "F64", "I8", "U64", "BOOL", "F8_E4M3", "C64", "X", "f32")
            )
            entry["shape"] = rng.choice(
                (entry["shape"], [], [0], [-1], [2**40, 2**40], [1] * 70, [6], [2**63])
            )
        header = json.dumps(values).encode()
    else:
        header = change_json(header, rng)
    return struct.pack("<Q", len(header)) + header + data


def zipped(change: Change) -> Change:
    """Changes of a file in a zip, whose sums are right; or of its list of files."""

    def change_zip(content: bytes, rng: random.Random) -> bytes:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            parts = [(info.filename, archive.read(info)) for info in archive.infolist()]
        index = rng.randrange(len(parts))
        name, inside = parts[index]
        way = rng.randrange(8)
        if way == 0:
            del parts[index]
        elif way == 1:
            parts.append((name, change(inside, rng)))
        elif way == 2:
            parts[index] = (
                rng.choice((f"../{name}", f"/{name}", name.upper(), "x", name[:-1])),
                inside,
            )
        else:
            parts[index] = (name, change(inside, rng))
        file = io.BytesIO()
        with (
            warnings.catch_warnings(action="ignore"),  # of names that stand there twice
            zipfile.ZipFile(file, "w", rng.choice((0, 0, zipfile.ZIP_DEFLATED))) as archive,
        ):
            for name, inside in parts:
                archive.writestr(zipfile.ZipInfo(name), inside)
        return file.getvalue()

    return change_zip


def inflated(change: Change) -> Change:
    """Changes within the compressed matrices of MATLAB, which are then packed again."""

    def change_matlab(content: bytes, rng: random.Random) -> bytes:
        kind, size = struct.unpack_from("<II", content, 128)
        if kind != 15:
            return change(content, rng)
        inside = change(zlib.decompress(content[136 : 136 + size]), rng)
        packed = zlib.compress(inside)
        return content[:128] + struct.pack("<II", kind, len(packed)) + packed

    return change_matlab
