"""Networks to share: the same predictions after a round trip, and folders that are not whole."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import runs
import torch
from networks import TINY_MASK2FORMER, TINY_MASKDINO, shake
from PIL import Image

from point2mask.cli import main
from point2mask.data import DataError, read_panoptic
from point2mask.data.augment import AugmentConfig
from point2mask.hub import from_pretrained, load_predictor, push_to_hub, save_pretrained
from point2mask.models import MergeConfig, make_network


@pytest.fixture(scope="module")
def predictor(tmp_path_factory):
    sizes = AugmentConfig(test_short_side=45, max_side=64)
    merge = MergeConfig(quality_things=0.0, quality_stuff=0.0, mask_threshold=0.3)
    return runs.predictor(tmp_path_factory.mktemp("data"), sizes, merge)


@pytest.fixture
def saved(predictor, tmp_path):
    save_pretrained(predictor, tmp_path / "model")
    return tmp_path / "model"


def test_a_network_is_the_same_after_a_round_trip(predictor, saved):
    again = from_pretrained(saved)
    assert again.categories == predictor.categories
    assert (again.augmentation, again.merge) == (predictor.augmentation, predictor.merge)
    assert torch.equal(again.network.backbone.mean, predictor.network.backbone.mean)
    assert not again.network.training
    pixels = np.random.default_rng(0).integers(0, 256, (*runs.SIZE, 3), np.uint8)
    (ids, segments), (ids_again, segments_again) = (p.predict(pixels) for p in (predictor, again))
    np.testing.assert_array_equal(ids_again, ids)
    assert segments_again == segments
    assert segments
    assert sorted(path.name for path in saved.iterdir()) == ["config.json", "model.safetensors"]


@pytest.mark.parametrize("tiny", [TINY_MASK2FORMER, TINY_MASKDINO], ids=lambda c: c.architecture)
def test_networks_of_segments_are_the_same_after_a_round_trip(tiny, predictor, tmp_path):
    config = replace(tiny, num_things=6, num_stuff=4)
    torch.manual_seed(0)
    other = replace(predictor, network=shake(make_network(config)).eval())
    save_pretrained(other, tmp_path / "model")
    again = load_predictor(tmp_path / "model")
    assert again.network.config == config
    for name, tensor in other.network.state_dict().items():
        assert torch.equal(again.network.state_dict()[name], tensor)


def test_predict_takes_a_saved_folder(predictor, saved, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (*runs.SIZE, 3), np.uint8)
    picture, out = tmp_path / "picture.png", tmp_path / "out"
    Image.fromarray(pixels).save(picture)
    command = [
        "predict",
        "--checkpoint",
        saved,
        "--images",
        picture,
        "--out",
        out,
        "--device",
        "cpu",
    ]
    assert main([*map(str, command)]) == 0
    (image,) = read_panoptic(out / "panoptic.json").images
    _, segments = predictor.predict(pixels)
    assert [s.category_id for s in image.segments] == [s.category_id for s in segments]
    assert [s.area for s in image.segments] == [s.area for s in segments]
    assert segments


def test_predict_in_both_frames_and_without_what_cannot_be_opened(saved, tmp_path, capsys):
    pixels = np.random.default_rng(0).integers(0, 256, (*runs.SIZE, 3), np.uint8)
    photos, exif = tmp_path / "photos", Image.Exif()
    photos.mkdir()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(photos / "turned.png", exif=exif)
    Image.fromarray(np.ascontiguousarray(np.rot90(pixels, -1))).save(photos / "upright.png")
    (photos / "broken.png").write_bytes(b"no picture")
    command = ["predict", "--checkpoint", saved, "--images", photos, "--device", "cpu"]
    assert main([*map(str, [*command, "--out", tmp_path / "x"])]) == 2
    assert "broken.png: expected an image" in capsys.readouterr().err
    maps = {}
    for frame in ("stored", "shown"):
        out = tmp_path / frame
        words = [*command, "--out", out, "--skip-broken", "--frame", frame]
        assert main([*map(str, words)]) == 0
        assert "left out 1 of 3 images:" in capsys.readouterr().err
        dataset = read_panoptic(out / "panoptic.json")
        maps[frame] = {i.record.file_name: dataset.segment_map(i) for i in dataset.images}
        frames = {i.record.file_name: i.record.frame for i in dataset.images}
        assert frames == {"turned.png": frame, "upright.png": "stored"}
    assert maps["stored"]["turned.png"].shape == runs.SIZE
    # As shown, the turned picture is the upright one.
    np.testing.assert_array_equal(maps["shown"]["turned.png"], maps["shown"]["upright.png"])
    words = [
        *command,
        "--out",
        tmp_path / "none",
        "--skip-broken",
        "--images",
        photos / "broken.png",
    ]
    assert main([*map(str, words)]) == 2
    assert "none of the 1 pictures can be used" in capsys.readouterr().err


def test_a_folder_without_a_network(tmp_path):
    with pytest.raises(DataError, match=r"expected a checkpoint, or the folder of a run"):
        load_predictor(tmp_path)


def change_config(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": "point2mask 1"}, r"config\.json: expected format 'point2mask 2', got 'point2m"),
        ({"network": None}, r"config\.json: expected an entry 'network', got None"),
        ({"categories": []}, r"config\.json: expected a network of 0 thing and 0 stuff classes"),
        ({"merge": {"threshold": 1}}, r"merge\.threshold: unknown key"),
    ],
)
def test_configurations_that_are_wrong(saved, changes, message):
    change_config(saved, **changes)
    with pytest.raises(DataError, match=message):
        from_pretrained(saved)


def nested(values, path, value):
    """Nested mappings with another value at ``a.b.c``."""
    head, _, rest = path.partition(".")
    return {**values, head: nested(values[head], rest, value) if rest else value}


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("network.backbone.name", "no_such_net", "name: expected an image network of"),
        ("network.backbone.name", "hf-hub:someone/net", r"network\.backbone\.name: .* registry"),
        ("network.backbone.name", "vit_tiny_patch16_224", r"features at strides \(8, 16, 32\)"),
        ("network.backbone.name", "resnet18", r"safetensors: expected no tensor 'backbone\.body"),
        ("network.backbone.name", "", r"network\.backbone\.name: expected text of 1 to 200"),
        ("network.width", 65536, r"safetensors: expected '.*' of shape \[.*65536.*, got"),
        ("network.queries", 10**4, r"safetensors: expected '.*' of shape \[10000, .*, got"),
        ("network.encoder_layers", 100, r"safetensors: expected a tensor 'encoder\.layers\.10"),
        ("network.width", 33, r"network\.width: expected a multiple of heads="),
        ("network.architecture", "unet", r"network\.architecture: expected one of panoptic_segf"),
        ("network", [], "expected an entry 'network'"),
        ("merge.mask_threshold", 7, r"merge\.mask_threshold: expected a number in \[0, 1\)"),
        ("categories", [1], r"categories\[0\]: expected keys and values"),
        ("categories", [{"id": "x", "name": "a", "isthing": True}], r"categories\[0\]"),
        ("augment.test_short_side", 0, r"augment\.test_short_side: expected an integer in"),
        ("supervision.pseudo_masks.stride", -1, r"supervision\.pseudo_masks\.stride: expected"),
    ],
)
def test_configurations_of_anyone_are_one_line_and_take_no_room(saved, path, value, message):
    config = json.loads((saved / "config.json").read_text())
    (saved / "config.json").write_text(json.dumps(nested(config, path, value)))
    with pytest.raises(DataError, match=message) as error:
        from_pretrained(saved)
    assert str(error.value).isprintable()
    assert str(saved) in str(error.value)


def test_folders_that_are_not_whole(saved, tmp_path):
    (saved / "model.safetensors").write_bytes(b"cut")
    with pytest.raises(DataError, match=r"model\.safetensors: expected tensors of a checkpoint"):
        from_pretrained(saved)
    (saved / "config.json").unlink()
    with pytest.raises(DataError, match=r"config\.json: expected a JSON of a checkpoint"):
        from_pretrained(saved)


def test_weights_of_another_network(saved):
    values = json.loads((saved / "config.json").read_text())
    change_config(saved, network=values["network"] | {"encoder_layers": 1})
    with pytest.raises(DataError, match=r"model\.safetensors: expected no tensor 'encoder\.layers"):
        from_pretrained(saved)


def test_the_hub_gets_and_gives_the_two_files(predictor, saved, monkeypatch):
    """With the client's functions replaced by a folder: no network."""
    pytest.importorskip("huggingface_hub")
    calls = []

    class Api:
        def __init__(self, token):
            calls.append(("token", token))

        def create_repo(self, repository, private, exist_ok):
            calls.append(("create", repository, private, exist_ok))

        def upload_folder(self, repo_id, folder_path, commit_message, allow_patterns):
            again = from_pretrained(folder_path)
            assert again.categories == predictor.categories
            calls.append(("upload", repo_id, commit_message, allow_patterns))
            return SimpleNamespace(commit_url="https://hub/commit")

    def download(source, revision, token, allow_patterns):
        calls.append(("download", source, revision, token, allow_patterns))
        return str(saved)

    monkeypatch.setattr("huggingface_hub.HfApi", Api)
    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    assert push_to_hub(predictor, "me/net", private=True, token="t") == "https://hub/commit"
    assert from_pretrained("me/net", revision="v1").categories == predictor.categories
    for mistyped in ("network", "out/my/network", "/nowhere/network"):
        with pytest.raises(DataError, match=r"network: .* but there is no such folder"):
            from_pretrained(mistyped)
    files = ["config.json", "model.safetensors"]
    assert calls == [
        ("token", "t"),
        ("create", "me/net", True, True),
        ("upload", "me/net", "Point2Mask network", files),
        ("download", "me/net", "v1", None, files),
    ]
