"""What the tests of several files of clicks share."""

import click_files
import pytest


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """A folder of five pictures of 8 x 5 pixels."""
    return click_files.write_photos(tmp_path_factory.mktemp("photos"))
