"""TIFFs of every type, layout, order of bytes and compression: read as they are, or refused."""

import itertools

import numpy as np
import pytest

from point2mask.data import DataError, read_rgb
from point2mask.data.depth import to_bytes
from point2mask.data.frames import to_shown
from point2mask.data.png import picture_size

tifffile = pytest.importorskip("tifffile", reason="comes with scikit-image")
SIZE = (20, 24)
KINDS = [np.uint8, np.uint16, np.int8, np.int16, np.uint32, np.float32]
ROW = "kind, channels, photometric"
ROWS = [
    *itertools.product(KINDS, [1], ["minisblack", "miniswhite"]),
    *itertools.product(KINDS, [3, 4], ["rgb"]),
]


def is_read(kind, channels, photometric, big, apart):
    """What the project says that it reads; the rest is refused."""
    if channels > 1:
        return kind == np.uint8 or (kind == np.uint16 and not apart)
    if photometric == "miniswhite":
        return kind in (np.uint8, np.float32) or (kind == np.uint16 and not big)
    return kind != np.uint32 or not big


@pytest.mark.parametrize(ROW, ROWS)
def test_every_layout(tmp_path, kind, channels, photometric):
    random = np.random.default_rng(0)
    if kind == np.float32:
        values = random.random((*SIZE, channels), kind)
    else:
        low, high = np.iinfo(kind).min, np.iinfo(kind).max
        values = random.integers(low, high, (*SIZE, channels), kind, endpoint=True)
        if kind == np.uint16:
            values >>= 4  # as microscopes write 12 bits: the low byte counts
    expected = to_bytes(values[..., :3])
    if photometric == "miniswhite":
        expected = 255 - expected
    expected = np.broadcast_to(expected, (*SIZE, 3))
    path = tmp_path / "a.tif"
    layouts = itertools.product(
        "<>", [None, "zlib"], [None, (16, 16)], [False, True], [False, True]
    )
    for order, compression, tile, predictor, apart in layouts:
        if (apart and channels == 1) or (predictor and not compression):
            continue
        more = {"planarconfig": "separate" if apart else "contig"} if channels > 1 else {}
        if channels == 4:
            more["extrasamples"] = ["unassalpha"]
        pixels = values[..., 0] if channels == 1 else values
        try:
            tifffile.imwrite(
                path,
                np.moveaxis(pixels, 2, 0) if apart else pixels,
                photometric=photometric,
                byteorder=order,
                compression=compression,
                tile=tile,
                predictor=predictor,
                **more,
            )
        except KeyError:  # predictors that need another package
            continue
        place = (kind, channels, photometric, order, compression, tile, predictor, apart)
        if is_read(kind, channels, photometric, order == ">", apart):
            np.testing.assert_array_equal(read_rgb(path), expected, str(place))
        else:
            with pytest.raises(DataError, match=r"a\.tif: expected"):
                read_rgb(path)


@pytest.mark.parametrize(("sizes", "flags", "pages"), [
    ([(30, 40), (15, 20)], [0, 0], 1),
    ([(30, 40), (7, 10)], [0, 0], 1),
    ([(30, 40), (15, 40)], [0, 0], 2),
    ([(30, 40), (60, 80)], [0, 0], 2),
    ([(30, 40), (20, 15)], [0, 0], 2),
    ([(30, 40), (15, 40)], [0, 1], 1),
    ([(30, 40), (15, 20), (31, 40)], [0, 0, 0], 3),
])  # fmt: skip
def test_other_pages(tmp_path, sizes, flags, pages):
    """Smaller copies and masks are none; pages of any other size are."""
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for size, flag in zip(sizes, flags, strict=True):
            file.write(np.zeros((*size, 3), np.uint8), photometric="rgb", subfiletype=flag)
    if pages == 1:
        assert read_rgb(tmp_path / "a.tif").shape[:2] == sizes[0]
        return
    with pytest.raises(DataError, match=f"expected a picture, got a file of {pages} pages"):
        read_rgb(tmp_path / "a.tif")


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_tiff_is_turned_as_it_is_read(tmp_path, compression, kind, channels):
    if channels == 3 and kind not in (np.uint8, np.uint16):
        return
    values = np.random.default_rng(0).integers(0, 100, (6, 10, channels)).astype(kind)
    for tag in range(1, 9):
        tifffile.imwrite(
            tmp_path / "a.tif",
            values[..., 0] if channels == 1 else values,
            photometric="rgb" if channels == 3 else "minisblack",
            compression=compression,
            extratags=[(274, "H", 1, tag, True)],
        )
        expected = to_shown(np.broadcast_to(to_bytes(values), (6, 10, 3)), tag)
        np.testing.assert_array_equal(read_rgb(tmp_path / "a.tif"), expected, f"tag {tag}")
        assert picture_size(tmp_path / "a.tif") == expected.shape[:2]
