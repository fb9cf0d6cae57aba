"""Pictures of more than 8 bits as 8 by the stated rule, and maps of numbers of any depth."""

import io
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from documented import table
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from voc_trees import SIZE, voc_maps, write_voc

from point2mask.app.pictures import encoded, thumbnail
from point2mask.data import DataError, read_rgb
from point2mask.data.depth import to_bytes
from point2mask.data.formats.ade20k import read_segments as ade_segments
from point2mask.data.formats.cityscapes import read_segments as city_segments
from point2mask.data.formats.voc import COLORS, voc_segments
from point2mask.data.png import read_indices

RAMP = np.arange(0, 4096, 4).reshape(32, 32)  # of 12 bits
GREY = (RAMP * 255 / 4095).round().astype(np.uint8)


def png(path, samples, color_type, depth):
    """A PNG that Pillow cannot write: samples ``[H, W]`` or ``[H, W, C]`` of any depth."""
    height, width = samples.shape[:2]
    rows = samples.reshape(height, -1)
    if depth == 16:
        packed = [row.astype(">u2").tobytes() for row in rows]
    elif depth == 8:
        packed = [row.astype(np.uint8).tobytes() for row in rows]
    else:
        bits = [np.unpackbits(row.astype(np.uint8)[:, None], axis=1)[:, -depth:] for row in rows]
        packed = [np.packbits(row.ravel()).tobytes() for row in bits]
    palette = b""

    def chunk(kind, content):
        return (
            struct.pack(">I", len(content))
            + kind
            + content
            + struct.pack(">I", zlib.crc32(kind + content))
        )

    if color_type == 3:
        palette = chunk(b"PLTE", bytes(part for color in COLORS[: 2**depth] for part in color))
    header = struct.pack(">IIBBBBB", width, height, depth, color_type, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row for row in packed))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + palette + chunk(b"IDAT", data)
        + chunk(b"IEND", b"")
    )  # fmt: skip


@pytest.mark.parametrize("color_type", [0, 2, 6])
@pytest.mark.parametrize("factor", [1, 4, 16])
def test_sixteen_bits_are_white_at_the_fewest_bits_that_hold_them(tmp_path, color_type, factor):
    channels = {0: 1, 2: 3, 6: 4}[color_type]
    samples = np.stack([np.roll(RAMP, 5 * c, 1) for c in range(channels)], 2) * factor
    png(tmp_path / "a.png", samples, color_type, 16)
    got = read_rgb(tmp_path / "a.png")
    white = {1: 4095, 4: 16383, 16: 65535}[factor]
    for channel in range(3):
        shift = 5 * channel if channels > 1 else 0
        expected = np.roll(RAMP, shift, 1) * factor / white * 255
        np.testing.assert_array_equal(got[..., channel], expected.round())


def test_tiff_of_sixteen_bits_and_floats(tmp_path):
    Image.fromarray(RAMP.astype(np.uint16)).save(tmp_path / "a.tif")
    np.testing.assert_array_equal(read_rgb(tmp_path / "a.tif")[..., 1], GREY)
    for values in (RAMP / 4095, RAMP / 4095 * 255, RAMP / 100 - 7, RAMP * 1e9):
        Image.fromarray(values.astype(np.float32)).save(tmp_path / "f.tif")
        np.testing.assert_allclose(read_rgb(tmp_path / "f.tif")[..., 0], GREY, atol=1)


@given(
    arrays(np.float32, (3, 4), elements=st.floats(width=32, allow_nan=True, allow_infinity=True))
)
def test_order_is_kept_and_the_range_is_eight_bits(values):
    got = to_bytes(values)
    finite = np.isfinite(values)
    assert got.dtype == np.uint8
    order = np.argsort(values[finite], kind="stable")
    assert (np.diff(got[finite][order].astype(int)) >= 0).all()
    assert not got[~finite].any()


@given(arrays(np.uint16, (3, 4)), st.integers(0, 8))
def test_more_bits_of_the_same_picture_are_the_same_picture(values, shift):
    eight = (values >> 8).astype(np.uint8)
    if eight.max() < 128 or eight.min() > 8:
        return
    np.testing.assert_array_equal(to_bytes(eight), eight)
    wide = to_bytes(eight.astype(np.uint16) << shift).astype(int)
    assert np.abs(wide - eight).max() <= 1


def test_a_faint_picture_is_spread():
    faint = np.array([[32768, 32800, 32900]], np.uint16)
    assert to_bytes(faint).tolist() == [[0, 62, 255]]
    assert to_bytes(np.full((2, 2), 300, np.uint16)).tolist() == [[150] * 2] * 2


def test_pages_of_tiff(tmp_path):
    """Several pages are refused by name; a smaller copy beside the picture is none."""
    first, small = (Image.fromarray(np.full((s, s, 3), s, np.uint8)) for s in (16, 4))
    first.save(tmp_path / "a.tif", save_all=True, append_images=[small])
    assert read_rgb(tmp_path / "a.tif").shape == (16, 16, 3)
    first.save(tmp_path / "b.tif", save_all=True, append_images=[small, first])
    with pytest.raises(DataError, match=r"b\.tif: expected a picture, got a file of 3 pages"):
        read_rgb(tmp_path / "b.tif")


MAPS = {  # color type and depth
    "palette": (3, 8), "palette of 4 bits": (3, 4), "palette of 2 bits": (3, 2),
    "grey": (0, 8), "grey of 4 bits": (0, 4), "grey of 1 bit": (0, 1), "grey of 16 bits": (0, 16),
    "RGB": (2, 8), "RGB with alpha": (6, 8),
}  # fmt: skip


def samples_of(values, color_type):
    if color_type in (0, 3):
        return values
    colors = np.array(COLORS)[values]
    return np.dstack([colors, np.full(SIZE, 255)]) if color_type == 6 else colors


@pytest.mark.parametrize(("kind", "reader", "outcome"), table("map"))
def test_maps_of_numbers(tmp_path, kind, reader, outcome):
    color_type, depth = MAPS[kind]
    top = min(2**depth - 1, 14)
    values = (np.indices(SIZE).sum(0) % 2 * top).astype(int)
    path = {
        "voc": tmp_path / "SegmentationClass" / "a.png",
        "ade20k": tmp_path / "annotations" / "training" / "a.png",
        "cityscapes": tmp_path / "a.png",
    }[reader]
    png(path, samples_of(values, color_type), color_type, depth)
    beside = {"voc": "SegmentationObject", "ade20k": "annotations_instance/training"}
    if reader in beside:
        png(tmp_path / beside[reader] / "a.png", np.zeros((*SIZE, 3), int), 2, 8)

    def read():
        if reader == "voc":
            return voc_segments(tmp_path, "a", SIZE)
        if reader == "ade20k":
            return ade_segments(tmp_path, "training", "a", SIZE)
        return city_segments(tmp_path, "a.png", SIZE)

    if outcome == "refused":
        found = {"palette": "a palette", "grey": "grey", "RGB": "RGB"}[kind.split(" ")[0]]
        with pytest.raises(DataError, match=rf"a\.png: expected numbers .*, got {found}.* bits$"):
            read()
        return
    assert outcome == "read"
    read()
    if depth <= 8:
        colors = COLORS if reader == "voc" else None
        np.testing.assert_array_equal(read_indices(path, *SIZE, colors=colors), values)


def test_voc_in_colour_is_the_same_data_set(tmp_path):
    classes, objects = voc_maps()
    write_voc(tmp_path / "a", train=("x",), val=("y",))
    expected = voc_segments(tmp_path / "a", "x", SIZE)
    for folder, values in (("SegmentationClass", classes), ("SegmentationObject", objects)):
        png(tmp_path / "a" / folder / "x.png", np.array(COLORS)[values], 2, 8)
    ids, segments = voc_segments(tmp_path / "a", "x", SIZE)
    np.testing.assert_array_equal(ids, expected[0])
    assert segments == expected[1]


def test_the_page_shows_deep_pictures_as_they_are_read(tmp_path):
    """Small and large: neither white nor black, where Pillow alone would cut them off."""
    png(tmp_path / "a.png", np.stack([RAMP] * 3, 2) * 16, 2, 16)
    Image.fromarray(RAMP.astype(np.uint16)).save(tmp_path / "a.tif")
    Image.fromarray((RAMP / 4095).astype(np.float32)).save(tmp_path / "f.tif")
    for name in ("a.png", "a.tif", "f.tif"):
        for content in (thumbnail(tmp_path / name), encoded(tmp_path / name, (32, 32))):
            with Image.open(io.BytesIO(content)) as image:
                shown = np.asarray(image.convert("L")).astype(int)
            assert np.abs(shown - GREY).mean() < 4


@given(values=arrays(np.uint16, (5, 7, 3)) | arrays(np.float32, (9, 11)))
def test_in_parts_as_at_once(values):
    expected = to_bytes(values)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("point2mask.data.depth.PART", 13)
        np.testing.assert_array_equal(to_bytes(values), expected)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "P transparent", "RGB", "RGBA", "CMYK"])
def test_strips_of_a_picture_are_the_picture(tmp_path, monkeypatch, mode):
    monkeypatch.setattr("point2mask.data.depth.PART", 20)
    kind, *transparent = mode.split()
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (11, 9, 3), np.uint8))
    path = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    picture.convert(kind).save(path, **({"transparency": 3} if transparent else {}))
    with Image.open(path) as image:
        assert image.mode == kind
        expected = np.array(image.convert("RGB"))
    np.testing.assert_array_equal(read_rgb(path), expected)


@pytest.mark.parametrize("color_type", [2, 6])
def test_strips_of_wide_colors(tmp_path, monkeypatch, color_type):
    samples = np.random.default_rng(1).integers(0, 65536, (11, 9, 3 + color_type // 6))
    png(tmp_path / "a.png", samples, color_type, 16)
    monkeypatch.setattr("point2mask.data.depth.PART", 20)
    np.testing.assert_array_equal(
        read_rgb(tmp_path / "a.png"), to_bytes(samples[..., :3].astype(np.uint16))
    )


MEASURE = """
import sys
from pathlib import Path
from point2mask.data import read_rgb
from point2mask.data.png import read_indices
read_rgb(Path(sys.argv[1]))
read_indices(Path(sys.argv[1]), 10_000, 10_000, colors=[(1, 2, 3), (0, 0, 0)])
read_rgb(Path(sys.argv[2]))
(line,) = (line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(line.split()[1])
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is asked of Linux")
def test_memory_of_the_largest_pictures_is_bounded(tmp_path):
    """A small file may be of 100 megapixels; seven bytes for each of them are 0.7 GB."""
    wide, deep = tmp_path / "wide.png", tmp_path / "deep.png"
    png(wide, np.broadcast_to(np.uint8(0), (10_000, 10_000, 3)), 2, 8)
    png(deep, np.broadcast_to(np.uint8(0), (10_000, 10_000)), 0, 16)
    assert wide.stat().st_size < 500_000
    command = [sys.executable, "-c", MEASURE, wide, deep]
    peak = subprocess.run(command, capture_output=True, text=True, check=True, timeout=600)
    assert int(peak.stdout) < 1_000_000  # kB


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.uint32, np.int16, np.int32, np.float32])
@pytest.mark.parametrize("white", ["minisblack", "miniswhite"])
def test_grey_of_tiffs_of_any_type(tmp_path, kind, white):
    """Microscopes write all of these; the largest value is white, or black where 0 is white."""
    tifffile = pytest.importorskip("tifffile", reason="comes with scikit-image")
    top = 1.0 if kind == np.float32 else np.iinfo(kind).max
    path = tmp_path / "grey.tif"
    tifffile.imwrite(path, (np.array([[0, 0.25, 1]]) * top).astype(kind), photometric=white)
    if white == "miniswhite" and kind in (np.uint32, np.int16, np.int32):  # not known to Pillow
        with pytest.raises(DataError, match="a TIFF whose channels"):
            read_rgb(path)
        return
    expected = np.array([0, 64, 255] if white == "minisblack" else [255, 191, 0])
    assert np.abs(read_rgb(path)[0, :, 0] - expected).max() <= 1
