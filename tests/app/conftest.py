import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def folder(tmp_path):
    """Three pictures of 40 x 30 pixels, each a disc on grey."""
    photos = tmp_path / "photos"
    y, x = np.mgrid[:30, :40]
    from annotation import COLORS

    for name, color in COLORS.items():
        picture = np.full((30, 40, 3), 120, np.uint8)
        picture[(y - 15) ** 2 + (x - 20) ** 2 < 64] = color
        (photos / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(photos / name)
    return photos


@pytest.fixture
def client(folder):
    """A server with a thing (1) and stuff (2)."""
    from annotation import serve

    client = serve(folder)
    for name, isthing in (("disc", 1), ("ground", 0)):
        assert client.post("/api/categories", json={"name": name, "isthing": isthing}).is_success
    return client
