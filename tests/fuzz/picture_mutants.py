"""Hostile variants of pictures: whole parts and right sums, around what is not so."""

import random
import struct
import zlib
from functools import cache
from io import BytesIO

from PIL import Image

SIDES = (0, 1, 2, 5, 8, 23, 31, 255, 256, 16_384, 16_385, 65_535, 2**31 - 1, 2**31, 2**32 - 1)
EDGES = (
    0,
    1,
    2,
    3,
    5,
    6,
    7,
    8,
    9,
    15,
    16,
    17,
    24,
    32,
    127,
    128,
    255,
    256,
    257,
    32_767,
    32_768,
    65_535,
)
LARGE = (2**16, 2**24, 2**31 - 1, 2**31, 2**32 - 1, 2**32 - 8)


def exif(rng: random.Random) -> bytes:
    """TIFF tags that turn a picture, or say that they do."""
    order = rng.choice("<>")
    kind, count = rng.choice(
        ((3, 1), (3, 1), (4, 1), (2, 4), (5, 1), (12, 1), (13, 1), (3, 0), (3, 2**31))
    )
    value = rng.choice((0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 255, 65_535))
    field = struct.pack(f"{order}HH", value, 0) if kind == 3 else struct.pack(f"{order}I", value)
    entry = struct.pack(f"{order}HHI", 0x0112, kind, count) + field
    pointer = struct.pack(
        f"{order}HHII", rng.choice((0x8769, 0x8825, 0x014A, 0xA005)), 4, 1, 8
    )  # to itself
    entries = [rng.choice((entry, entry, pointer)) for _ in range(rng.choice((1, 1, 2, 300)))]
    start = rng.choice((8, 8, 8, 0, 9, 2**32 - 1))
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", start)
    after = struct.pack(f"{order}I", rng.choice((0, 0, 8, 2**32 - 1)))
    said = rng.choice((len(entries), len(entries), 0, 65_535))
    return head + struct.pack(f"{order}H", said) + b"".join(entries) + after


def _chunk(kind: bytes, content: bytes) -> bytes:
    return (
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", zlib.crc32(kind + content))
    )


def _chunks(content: bytes) -> list[tuple[bytes, bytes]]:
    place, found = 8, []
    while place + 8 <= len(content):
        size = struct.unpack_from(">I", content, place)[0]
        found.append((content[place + 4 : place + 8], content[place + 8 : place + 8 + size]))
        place += size + 12
    return found


@cache
def _bomb() -> bytes:
    return zlib.compress(bytes(10**7))


def _new_chunk(rng: random.Random) -> tuple[bytes, bytes]:
    bomb = _bomb()
    return rng.choice(
        (
            (b"eXIf", exif(rng)), (b"eXIf", exif(rng)), (b"eXIf", exif(rng)), (b"eXIf",
            bytes(2**16 + 1)),
            (b"PLTE", rng.randbytes(rng.choice((0, 3, 6, 7, 768, 771)))),
            (b"tRNS", rng.randbytes(rng.choice((0, 1, 2, 6, 256, 300)))),
            (b"gAMA", struct.pack(">I", rng.choice(LARGE))), (b"iCCP", b"x\0\0" + bomb),
            (b"zTXt", b"x\0\0" + bomb), (b"iTXt", b"x\0\1\0\0\0" + bomb), (b"tEXt",
            b"x\0" + bytes(10**6)),
            (b"tEXt", b"\x1b[31m\0\xff"), (b"acTL", struct.pack(">II", rng.choice((0, 1, 2,
            2**31)), 0)),
            (b"fcTL", struct.pack(">IIIIIHHBB", 0, 32, 24, rng.choice((0, 9, 2**31)), 0, 0, 0, 0,
            0)),
            (b"fdAT", bytes(4) + zlib.compress(bytes(100))), (b"IHDR", struct.pack(">IIBBBBB", 9,
            9, 8, 2, 0, 0, 0)),
            (b"IEND", b""), (b"IDAT", b""), (b"IDAT", bomb), (b"pHYs", b"\0"), (b"sBIT", b"\0" * 9),
            (b"bKGD", rng.randbytes(6)), (b"sRGB", b"\xff"), (b"cHRM", b""), (b"\0\0\0\0", b"x"),
            (b"aaaa", b""),
        )
    )  # fmt: skip


def _rows(content: bytes, rng: random.Random) -> bytes:
    """Pixels that are too many, too few, or under filters that there are none."""
    try:
        rows = bytearray(zlib.decompress(content))
    except zlib.error:
        return content
    way = rng.randrange(5)
    if way == 0:
        rows = rows[: rng.randrange(len(rows) + 1)]
    elif way == 1:
        rows += bytes(rng.choice((1, 100, 10**7)))
    else:
        for _ in range(rng.choice((1, 5, 50))):
            if rows:
                rows[rng.randrange(len(rows))] = rng.choice((0, 1, 2, 3, 4, 5, 128, 255))
    packed = zlib.compress(bytes(rows), rng.choice((0, 1, 9)))
    return packed[:-4] + bytes(4) if rng.randrange(6) == 0 else packed


def change_png(content: bytes, rng: random.Random) -> bytes:
    chunks = _chunks(content)
    index = rng.randrange(len(chunks))
    kind, inside = chunks[index]
    way = rng.randrange(10)
    if way < 3 and len(chunks[0][1]) == 13:
        head = list(struct.unpack(">IIBBBBB", chunks[0][1]))
        field = rng.choice((0, 1, 2, 2, 3, 3, 4, 5, 6))
        sizes, rest = SIDES, (0, 1, 2, 3, 4, 5, 6, 7, 8, 16, 32, 255)
        head[field] = rng.choice(sizes if field < 2 else rest)
        chunks[0] = (b"IHDR", struct.pack(">IIBBBBB", *head))
    elif way < 5:
        chunks.insert(rng.randrange(len(chunks) + 1), _new_chunk(rng))
    elif way == 5:
        chunks.insert(rng.randrange(len(chunks) + 1), chunks[index])
    elif way == 6:
        del chunks[index]
    elif way == 7:
        chunks[index] = (kind, _rows(inside, rng) if kind == b"IDAT" else inside[:-1])
    elif way == 8:
        pixels = [n for n, (name, _) in enumerate(chunks) if name == b"IDAT"] or [index]
        chunks[pixels[0]] = (b"IDAT", _rows(chunks[pixels[0]][1], rng))
    parts = [_chunk(*chunk) for chunk in chunks]
    if way == 9:  # a length that is none
        parts[index] = struct.pack(">I", rng.choice((*EDGES, *LARGE))) + parts[index][4:]
    return content[:8] + b"".join(parts)


def _segments(content: bytes) -> tuple[list[tuple[int, bytes]], bytes]:
    """Marker and content of those before the pixels, and the rest."""
    place, found = 2, []
    while place + 4 <= len(content) and content[place] == 0xFF and content[place + 1] != 0xDA:
        size = struct.unpack_from(">H", content, place + 2)[0]
        found.append((content[place + 1], content[place + 4 : place + 2 + size]))
        place += 2 + size
    return found, content[place:]


def change_jpeg(content: bytes, rng: random.Random) -> bytes:
    segments, rest = _segments(content)
    index = rng.randrange(len(segments))
    marker, inside = segments[index]
    way = rng.randrange(12)
    filled = b""
    if way < 3:
        segments.insert(rng.choice((0, 0, index)), (0xE1, b"Exif\0\0" + exif(rng)))
    elif way < 5:
        at = next((n for n, (m, _) in enumerate(segments) if 0xC0 <= m <= 0xC2), index)
        frame = bytearray(segments[at][1])
        where = rng.randrange(len(frame)) if frame else 0
        if rng.randrange(2) and len(frame) >= 5:
            struct.pack_into(">H", frame, rng.choice((1, 3)), rng.choice(SIDES[:12]))
        elif frame:
            frame[where] = rng.choice(EDGES[:17])
        segments[at] = (rng.choice((0xC0, 0xC1, 0xC2, 0xC3, 0xC9, 0xCA, 0xCF)), bytes(frame))
    elif way == 5:
        del segments[index]
    elif way == 6:
        segments.insert(rng.randrange(len(segments) + 1), (marker, inside))
    elif way == 7:
        new = (
            (0xDD, struct.pack(">H", rng.choice(EDGES))), (0xE2, b"MPF\0" + exif(rng)),
            (0xE2, b"ICC_PROFILE\0" + bytes(rng.choices((0, 1, 255), k=2)) + bytes(99)),
            (0xEE, b"Adobe\0\x64\0\0\0\0" + bytes((rng.randrange(4),))), (0xE0, b"JFIF\0"),
            (0xE0, b""), (0xFE, b"\x1b[31m" * 99), (0xED, b"Photoshop 3.0\0" + b"8BIM" * 50),
            (0xDC, b"\0\0"), (0x01, b""),
        )  # fmt: skip
        segments.insert(rng.randrange(len(segments) + 1), rng.choice(new))
    elif way == 8:
        changed = bytearray(inside or b"\0")
        changed[rng.randrange(len(changed))] = rng.choice(EDGES[:17])
        segments[index] = (marker, bytes(changed))
    elif way == 9:
        filled = b"\xff" * rng.choice((1, 2, 60, 61, 70_000))
    elif way == 10:
        rest = rest[: rng.randrange(len(rest) + 1)] + rng.choice((b"", b"\xff\xd9", content))
    parts = [
        bytes((0xFF, m)) + struct.pack(">H", len(c) + 2) + c for m, c in segments if len(c) < 65_534
    ]
    if way == 11 and parts:
        at = rng.randrange(len(parts))
        parts[at] = parts[at][:2] + struct.pack(">H", rng.choice(EDGES)) + parts[at][4:]
    if parts:
        parts.insert(rng.randrange(len(parts)), filled)
    return content[:2] + b"".join(parts) + rest


_TAGS = (
    254, 256, 257, 258, 259, 262, 266, 270, 273, 274, 277, 278, 279, 282, 284, 292, 293, 297, 317,
    320, 322, 323, 324, 325, 330, 332, 338, 339, 340, 347, 512, 513, 529, 530, 532, 33432, 34665,
    34675, 37724, 50838,
)  # fmt: skip
_VALUES = (
    *EDGES, *LARGE, 4, 5, 32_773, 32_946, 34_676, 34_712, 50_000, 50_001, 65_000, 8, 10,
)  # fmt: skip


def change_tiff(content: bytes, rng: random.Random) -> bytes:
    """Entries of the first list of tags that say other things, or that lead elsewhere."""
    changed = bytearray(content)
    order = "<" if content[:2] == b"II" else ">"
    start = struct.unpack_from(f"{order}I", content, 4)[0]
    (count,) = struct.unpack_from(f"{order}H", content, start)
    way = rng.randrange(9)
    entry = start + 2 + 12 * rng.randrange(max(1, count))
    if way < 4:
        kind = struct.unpack_from(f"{order}H", content, entry + 2)[0]
        value = rng.choice(_VALUES)
        if kind == 3:
            struct.pack_into(f"{order}H", changed, entry + 8, value & 0xFFFF)
        else:
            struct.pack_into(f"{order}I", changed, entry + 8, value)
    elif way == 4:
        struct.pack_into(f"{order}H", changed, entry, rng.choice(_TAGS))
    elif way == 5:
        struct.pack_into(
            f"{order}H", changed, entry + 2, rng.choice((0, *range(1, 19), 129, 65_535))
        )
    elif way == 6:
        struct.pack_into(f"{order}I", changed, entry + 4, rng.choice((*EDGES, *LARGE)))
    elif way == 7:  # the next page: itself, elsewhere, none
        after = start + 2 + 12 * count
        struct.pack_into(
            f"{order}I", changed, after, rng.choice((start, 0, 2, after, len(content) - 2, *LARGE))
        )
    else:
        struct.pack_into(f"{order}H", changed, start, rng.choice((0, 1, count + 1, 65_535)))
    return bytes(changed)


def change_kind(content: bytes, rng: random.Random) -> bytes:
    """The same picture in another format, of other pixels, with tags, or as several pages."""
    with Image.open(BytesIO(content)) as image:
        image.load()
        mode = rng.choice(
            ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I", "F", "I;16", "LAB", "HSV")
        )
        if mode != "I;16" or image.mode in ("I", "L"):
            image = image.convert("RGB").convert(mode) if mode != "I;16" else image.convert(mode)
        if rng.randrange(4) == 0:
            image = image.resize((rng.choice((1, 2, 300)), rng.choice((1, 7, 300))))
        kind = rng.choice(
            ("PNG", "JPEG", "TIFF", "WEBP", "BMP", "GIF", "PPM", "TGA", "ICO", "JPEG2000", "PCX")
        )
        options: dict[str, object] = {}
        if kind in ("PNG", "JPEG", "WEBP", "TIFF") and rng.randrange(2):
            tags = Image.Exif()
            tags[0x0112] = rng.choice((1, 2, 3, 5, 6, 8, 9))
            options["exif"] = tags
        if kind in ("TIFF", "GIF", "WEBP", "PNG") and rng.randrange(3) == 0:
            options |= {"save_all": True, "append_images": [image.copy()] * rng.choice((1, 2, 70))}
        if kind == "TIFF":
            options["compression"] = rng.choice(
                (None, "tiff_lzw", "tiff_deflate", "packbits", "jpeg", "group4")
            )
        file = BytesIO()
        try:
            image.save(file, format=kind, **options)
        except (OSError, ValueError, RuntimeError):  # not every format has every mode
            image.convert("RGB").save(file := BytesIO(), format="PNG")
    return file.getvalue()
