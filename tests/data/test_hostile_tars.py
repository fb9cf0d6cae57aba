"""Tars as nobody should make them: no ordinary files, cut ones, ones that lie about sizes."""

import gzip
import os
import tarfile
from contextlib import suppress

import pytest
from tars import entry

from point2mask.data import DataError
from point2mask.data.files import file_size, open_regular
from point2mask.data.places import files_below


def test_only_ordinary_files_of_a_tar_are_in_it(tmp_path):
    tar = tmp_path / "x.tar"
    with tarfile.open(tar, "w") as file:
        for info, content in (
            entry("a/b.jpg", b"old"),
            entry("./a/b.jpg", b"new"),  # whoever unpacks them has the last one
            entry("link.jpg", kind=tarfile.SYMTYPE, linkname="/etc/passwd"),
            entry("hard.jpg", kind=tarfile.LNKTYPE, linkname="a/b.jpg"),
            entry("outside.jpg", kind=tarfile.LNKTYPE, linkname="../b.jpg"),
            entry("../up.jpg", kind=tarfile.LNKTYPE, linkname="a/b.jpg"),
            entry("before.jpg", kind=tarfile.LNKTYPE, linkname="root.jpg"),
            entry("pipe.jpg", kind=tarfile.FIFOTYPE),
            entry("folder", kind=tarfile.DIRTYPE),
            entry("../out.jpg", b"x"),
            entry("/root.jpg", b"x"),
            entry("ü" * 200 + ".jpg", b"long"),
        ):
            file.addfile(info, content)
    inside = [str(path.relative_to(tar)) for path in files_below(tar)]
    assert inside == ["a/b.jpg", "hard.jpg", "root.jpg", "ü" * 200 + ".jpg"]
    for name in ("a/b.jpg", "hard.jpg"):
        with open_regular(tar / name, "a picture") as file:
            assert file.read() == b"new"
    for name in ("link.jpg", "outside.jpg", "before.jpg", "folder", "none.jpg"):
        assert file_size(tar / name) is None
        with (
            pytest.raises(DataError, match="the tar has no such file"),
            open_regular(tar / name, "a picture"),
        ):
            pass


def test_files_of_two_names_are_there_by_both(tmp_path):
    """As tar packs a folder of masks that ``gather`` has linked from its parts."""
    (tmp_path / "all" / "one").mkdir(parents=True)
    (tmp_path / "all" / "one" / "a.png").write_bytes(b"mask")
    os.link(tmp_path / "all" / "one" / "a.png", tmp_path / "all" / "b.png")
    with tarfile.open(tmp_path / "all.tar", "w") as file:
        file.add(tmp_path / "all", ".")
    for path in files_below(tmp_path / "all.tar"):
        with open_regular(path, "a mask") as file:
            assert file.read() == b"mask"
    assert len([*files_below(tmp_path / "all.tar")]) == 2


def test_broken_tars_are_refused(tmp_path):
    tar = tmp_path / "x.tar"
    with tarfile.open(tar, "w") as file:
        file.addfile(*entry("a.jpg", bytes(5000)))
        file.addfile(*entry("b.jpg", bytes(5000)))
    whole = tar.read_bytes()
    tar.write_bytes(whole[:7000])
    with pytest.raises(DataError, match="cannot be read"):
        file_size(tar / "a.jpg")
    for content in (b"no tar at all" * 100, gzip.compress(whole)):
        tar.write_bytes(content)
        with pytest.raises(DataError, match="expected a tar that is not compressed"):
            file_size(tar / "a.jpg")
    info = tarfile.TarInfo("x" * 2**21)  # a name that is read whole, were it not bounded
    tar.write_bytes(info.tobuf(tarfile.GNU_FORMAT))
    with pytest.raises(DataError, match="headers of at most"):
        file_size(tar / "a.jpg")


def bare(name, size):
    """A header that tells of a file, and no file."""
    info = tarfile.TarInfo(name)
    info.size = size
    return info.tobuf(tarfile.GNU_FORMAT)


@pytest.mark.parametrize("size", [-1, -512, -1024, -(2**40)])
def test_sizes_below_zero_end(tmp_path, size):
    tar = tmp_path / "x.tar"
    header = bare("a.jpg", size)
    tar.write_bytes(bare("b.jpg", 0) + header + bytes(1024))
    with suppress(DataError):  # as the version of Python has it
        assert "a.jpg" not in [path.name for path in files_below(tar)]
