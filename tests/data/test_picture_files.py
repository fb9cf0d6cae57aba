"""Files of pictures: of one picture or several, of formats that are not read, and broken ones."""

import io
import resource
from pathlib import Path

import numpy as np
import pytest
from fuzz.limits import bounded
from PIL import Image

from point2mask.data import DataError, read_rgb, write_rgb
from point2mask.data.png import picture_size, read_ids

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 10, 3)).astype(np.uint8)


def encoded(kind, **options):
    file = io.BytesIO()
    Image.fromarray(PIXELS).save(file, kind, **options)
    return file.getvalue()


@pytest.mark.parametrize("kind", [str, Path])
def test_a_path_may_be_text(tmp_path, kind):
    path = kind(tmp_path / "a.png")
    write_rgb(path, PIXELS)
    assert (read_rgb(path) == PIXELS).all()
    with pytest.raises(DataError, match=r"b\.png: expected a picture, but it cannot be read"):
        read_rgb(kind(tmp_path / "b.png"))
    with pytest.raises(DataError, match=r"a\.xyz: expected a suffix such as"):
        write_rgb(kind(tmp_path / "a.xyz"), PIXELS)


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_moving_pictures_are_refused_by_name(tmp_path, kind):
    path = tmp_path / "a.picture"
    others = [Image.fromarray(pixels) for pixels in (PIXELS[::-1], PIXELS[:, ::-1])]
    path.write_bytes(encoded(kind, save_all=True, append_images=others))
    for read in (read_rgb, picture_size):
        with pytest.raises(DataError, match=r"a\.picture: expected a picture, got .* of 3 pages"):
            read(path)


def test_what_a_phone_puts_behind_a_jpeg_does_not_count(tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(
        encoded("MPO", save_all=True, append_images=[Image.new("RGB", (10, 6))], quality=100)
    )
    assert abs(read_rgb(path).astype(int).mean((0, 1)) - PIXELS.mean((0, 1))).max() < 3


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", ", got an empty file"),
        (encoded("GIF"), ", got a GIF"),
        (encoded("JPEG2000"), ", got a JPEG 2000"),
        (b"<svg/>", ", got text"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", ", got a Git LFS pointer"),
        (b"II*\0\x08\0\0\0\0\0" + bytes(40), ", got a TIFF whose channels are of another"),
        (b"no picture at all", "$"),
    ],
)
def test_a_file_of_another_kind_is_named(tmp_path, content, found):
    (tmp_path / "a.png").write_bytes(content)
    expected = r"a\.png: expected an image as .* or TIFF( or HEIF)?"
    with pytest.raises(DataError, match=expected + found):
        read_rgb(tmp_path / "a.png")


def test_a_length_of_gigabytes_in_a_header_takes_no_memory(tmp_path):
    """The first part of pixels says that it is longer than the file."""
    path = tmp_path / "a.png"
    content = bytearray(encoded("PNG"))
    place = content.index(b"IDAT") - 4
    content[place : place + 4] = b"\x7f\xff\xff\x00"
    path.write_bytes(content)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with bounded():
        np.testing.assert_array_equal(read_rgb(path), PIXELS)
        np.testing.assert_array_equal(read_ids(path, 6, 10) & 255, PIXELS[..., 0])
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kilobytes
