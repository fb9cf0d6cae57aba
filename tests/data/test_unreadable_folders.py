"""Folders that the system does not let anybody read: said, and not taken for empty."""

import os
from pathlib import Path

import numpy as np
import pytest

from point2mask.app.folder import find_pictures as pictures_of_page
from point2mask.data import DataError
from point2mask.data.png import write_rgb
from point2mask.data.report import Report
from point2mask.data.sources import find_pictures


@pytest.mark.parametrize("closed", [".", "below"])
@pytest.mark.parametrize("find", [pictures_of_page, lambda folder: find_pictures([folder])])
def test_a_folder_that_cannot_be_read(tmp_path, monkeypatch, find, closed):
    """Root may read all, so the system's answer is given in its place."""
    write_rgb(tmp_path / "a.png", np.zeros((4, 6, 3), np.uint8))
    write_rgb(tmp_path / "below" / "b.png", np.zeros((4, 6, 3), np.uint8))
    find(tmp_path)
    real, closed = os.scandir, tmp_path / closed

    def scandir(path="."):
        if Path(path) == closed:
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(DataError, match=rf"{closed}: expected a folder, but it cannot be read"):
        find(tmp_path)


def test_links_to_folders_are_said(tmp_path):
    """They are not entered: one may lead to all of the disk, or to a folder above."""
    folder = tmp_path / "photos"
    write_rgb(folder / "a.png", np.zeros((4, 6, 3), np.uint8))
    write_rgb(tmp_path / "others" / "b.png", np.zeros((4, 6, 3), np.uint8))
    (folder / "below").mkdir()
    (folder / "below" / "link").symlink_to(tmp_path / "others")
    report = Report()
    _, records = find_pictures([folder], report=report)
    assert [record.file_name for record in records] == ["a.png"]
    (line,) = report.lines()
    assert line == f"left out: 1 links to folders, which are not entered: {folder}/below/link"
    found = pictures_of_page(folder)
    assert found.names == ["a.png"]
    assert found.notes() == ["left out links to folders: 1, such as below/link"]
