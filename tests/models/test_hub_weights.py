"""ImageNet weights of timm where there is no network: from the hub's cache, or one line to read."""

import os
import subprocess
import sys

import pytest
import runs
import timm
import torch
from safetensors.torch import save_file

from point2mask.models import BackboneConfig
from point2mask.models.backbone import Backbone

HUB = "https://huggingface.co"
# No hub: told so, or nobody listens where it should be.
OFFLINE = {"HF_HUB_OFFLINE": "1"}
UNREACHABLE = {"HF_ENDPOINT": "http://127.0.0.1:9"}


def train(environment, root, *changes):
    command = [sys.executable, "-m", "point2mask", "train", "shapes_tiny", "--device", "cpu"]
    return subprocess.run(
        [*command, "--out", str(root / "run"), f"data.root={root}", *changes],
        env={**os.environ, "HF_HOME": str(root / "cache"), **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.mark.parametrize(("environment", "published"), [(OFFLINE, "false"), (UNREACHABLE, "true")])
def test_one_line_says_what_to_fetch(environment, published, tmp_path):
    runs.write_data(tmp_path, train=1, val=1)
    name = "swin_large_patch4_window12_384.ms_in22k"
    swin = [f"network.backbone.name={name}", "network.backbone.window=7"]
    done = train(
        environment, tmp_path, *swin, "network.backbone.pretrained=hub", f"published={published}"
    )
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert f"{HUB}/timm/{name}/resolve/main/model.safetensors" in line
    assert "give the file as network.backbone.pretrained=FILE" in line
    assert not (tmp_path / "run" / "config.yaml").exists()


def test_what_the_cache_holds_needs_no_network(tmp_path, monkeypatch):
    """Laid out as the hub's client does it."""
    from huggingface_hub import constants

    name = "resnet18.tv_in1k"
    torch.manual_seed(0)
    state = timm.create_model(name).state_dict()
    folder = tmp_path / "models--timm--resnet18.tv_in1k"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("0" * 40)
    (folder / "snapshots" / ("0" * 40)).mkdir(parents=True)
    save_file(state, folder / "snapshots" / ("0" * 40) / "model.safetensors")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    backbone = Backbone(BackboneConfig(name=name, freeze_stem=False))
    found = backbone.body.state_dict()
    assert torch.equal(found["layer4.1.conv2.weight"], state["layer4.1.conv2.weight"])
    with pytest.raises(ConnectionError, match=rf"fetch {HUB}/timm/resnet34.tv_in1k/resolve"):
        Backbone(BackboneConfig(name="resnet34.tv_in1k", freeze_stem=False))
