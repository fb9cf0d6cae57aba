"""HEIC pictures: read as viewers show them where pillow-heif is, named where it is not."""

import io
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from point2mask.data import DataError, read_rgb
from point2mask.data.frames import orientation
from point2mask.data.heic import heic_formats
from point2mask.data.png import SizeLimit, picture_size, write_rgb

HEIGHT, WIDTH = 48, 80


def halves():
    picture = np.full((HEIGHT, WIDTH, 3), (40, 60, 200), np.uint8)
    picture[:, : WIDTH // 2] = (200, 50, 40)
    return picture


def write_heic(path, exif=None):
    pytest.importorskip("pillow_heif", reason="needs point2mask[heic]")
    assert heic_formats() == ("HEIF",)
    options = {} if exif is None else {"exif": exif}
    Image.fromarray(halves()).save(path, format="HEIF", quality=95, **options)


def test_a_picture_is_read(tmp_path):
    write_heic(tmp_path / "a.heic")
    assert picture_size(tmp_path / "a.heic") == (HEIGHT, WIDTH)
    assert np.abs(read_rgb(tmp_path / "a.heic").astype(int) - halves()).mean() < 4


def test_a_turned_picture_is_upright_in_both_frames(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    write_heic(tmp_path / "a.heic", exif.tobytes())  # as bytes they become libheif's rotation
    upright = np.rot90(halves(), -1)
    for frame in ("stored", "shown"):
        found = read_rgb(tmp_path / "a.heic", frame=frame)
        assert found.shape == upright.shape
        assert np.abs(found.astype(int) - upright).mean() < 4
    assert picture_size(tmp_path / "a.heic") == upright.shape[:2]
    assert orientation(tmp_path / "a.heic") == 1


def test_limits_hold_and_broken_files_are_one_line(tmp_path):
    write_heic(tmp_path / "a.heic")
    with pytest.raises(DataError, match="at most 20 pixels a side"):
        read_rgb(tmp_path / "a.heic", limit=SizeLimit(side=20))
    content = (tmp_path / "a.heic").read_bytes()
    for part in (content[: len(content) // 2], content[:40], b"no picture"):
        (tmp_path / "b.heic").write_bytes(part)
        with pytest.raises(DataError, match=r"b\.heic: expected") as error:
            read_rgb(tmp_path / "b.heic")
        assert "\n" not in str(error.value)


def test_it_is_not_written(tmp_path):
    with pytest.raises(DataError, match="expected a suffix such as"):
        write_rgb(tmp_path / "a.heic", halves())
    assert not list(tmp_path.iterdir())


WITHOUT = """
import sys
from pathlib import Path
import without_extras
sys.meta_path[0].__class__.find_spec = lambda self, name, path=None, target=None: (
    (_ for _ in ()).throw(ModuleNotFoundError(name=name)) if name == "pillow_heif" else None)
from point2mask.app.folder import find_pictures
from point2mask.data import DataError, read_rgb
folder = Path(sys.argv[1])
print(*find_pictures(folder).notes())
try:
    read_rgb(folder / "a.heic")
except DataError as error:
    print(error)
"""


def test_without_the_package_it_is_named(tmp_path, monkeypatch):
    pytest.importorskip("fastapi", reason="needs point2mask[app]")
    write_heic(tmp_path / "a.heic")
    file = io.BytesIO()
    Image.fromarray(halves()).save(file, format="PNG")
    (tmp_path / "b.png").write_bytes(file.getvalue())
    environment = {"PYTHONPATH": str(__file__).rpartition("/data/")[0], "PATH": "/usr/bin"}
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    note, refusal = done.stdout.splitlines()
    hint = "pip install 'point2mask[heic]' reads them"
    assert note == f"left out 1 of the kind .heic; {hint}"
    assert refusal.endswith(hint)
