"""Configurations: what is read, what is refused, and in which words."""

import math
from dataclasses import replace

import pytest
import yaml

from point2mask.data import DataError
from point2mask.data.fields import parse, to_plain
from point2mask.losses import Mask2FormerLossConfig, MaskDINOLossConfig
from point2mask.models import Mask2FormerConfig, MaskDINOConfig, NetworkConfig
from point2mask.train.config import RunConfig, check_resumable, load_config, save_config

MINIMAL = """
data:
  train: {images: images/train, points: points.json}
network: {num_things: 3, num_stuff: 2}
"""


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text(MINIMAL)
    return path


def test_a_minimal_file_has_the_published_values(path):
    config = load_config(path)
    assert config.schedule.batch_size == 8
    assert config.schedule.milestones == (15, 20)
    assert config.network.width == 256
    assert config.loss.semantic_lab == 3.0
    assert config.supervision.transport_warmup == 12000


def test_steps_are_at_least_one_an_epoch(path):
    assert load_config(path, ["schedule.steps=24"]).schedule.steps == 24
    with pytest.raises(DataError, match=r"schedule\.steps: expected at least one an epoch, so 24"):
        load_config(path, ["schedule.steps=23"])


def test_overrides(path):
    config = load_config(
        path,
        [
            "schedule.learning_rate=2e-4",
            "augment.short_sides=[480, 512]",
            "network.backbone.name=resnet101",
            "data.val.images=images/val",
            "data.val.annotations=val.json",
            "augment.crop=[100, 120]",
            "loss.lab_kernels=[[3, 1]]",
            "supervision.pseudo_masks.transport.demand_relaxation=.inf",
            "report.evaluate_images=null",
            "seed=3",
        ],
    )
    assert config.schedule.learning_rate == 2e-4
    assert config.augment.short_sides == (480, 512)
    assert config.network.backbone.name == "resnet101"
    assert config.data.val.images == "images/val"
    assert config.augment.crop == (100, 120)
    assert config.loss.lab_kernels == ((3, 1.0),)
    assert config.report.evaluate_images is None
    assert config.seed == 3


def test_published_is_short_for_all_of_its_parts(path, tmp_path):
    config = load_config(path, ["published=true"])
    assert config.network.published
    assert config.loss.published
    assert config.supervision.published
    save_config(tmp_path / "saved.yaml", config)
    assert load_config(tmp_path / "saved.yaml") == config
    assert load_config(path, ["published=false"]) == load_config(path)
    with pytest.raises(DataError, match=r"^published: expected true or false, got 1$"):
        load_config(path, ["published=1"])
    with pytest.raises(
        DataError, match=r"yaml: network\.published: unknown key of architecture mask2"
    ):
        load_config(path, ["published=true", "network.architecture=mask2former"])


def test_saving_gives_the_same_configuration_back(path, tmp_path):
    config = load_config(path, ["augment.crop=[10, 20]", "schedule.learning_rate=1e-5"])
    assert math.isinf(config.supervision.pseudo_masks.transport.supply_relaxation)
    save_config(tmp_path / "saved.yaml", config)
    assert load_config(tmp_path / "saved.yaml") == config
    assert parse(RunConfig, to_plain(config)) == config
    assert yaml.safe_load((tmp_path / "saved.yaml").read_text())["augment"]["crop"] == [10, 20]


def test_the_architecture_says_what_a_network_is_made_of(path, tmp_path):
    assert type(load_config(path).network) is NetworkConfig
    overrides = ["network.architecture=mask2former", "network.decoder_layers=3"]
    config = load_config(path, overrides)
    assert type(config.network) is Mask2FormerConfig
    assert config.network.decoder_layers == 3
    save_config(tmp_path / "saved.yaml", config)
    assert load_config(tmp_path / "saved.yaml") == config
    with pytest.raises(DataError, match=r"stuff_layers: unknown key of architecture mask2former; "):
        load_config(path, [*overrides, "network.stuff_layers=3"])
    assert config.loss == Mask2FormerLossConfig()
    for change in ("thing_dice=3", "stuff_entropy=1", "match_box=1"):
        with pytest.raises(DataError, match=r"^loss\.\w+: unknown key of architecture mask2f"):
            load_config(path, [*overrides, f"loss.{change}"])
    with pytest.raises(DataError, match=r"^loss\.warmup_exempt\[0\]: .* got 'thing_class'"):
        load_config(path, [*overrides, "loss.warmup_exempt=[thing_class]"])
    config = load_config(path, ["network.architecture=maskdino", "loss.denoising_box=3"])
    assert type(config.network) is MaskDINOConfig
    assert config.loss == MaskDINOLossConfig(denoising_box=3.0)
    with pytest.raises(DataError, match=r"^loss\.architecture: expected that of the network"):
        load_config(tmp_path / "saved.yaml", ["loss={architecture: panoptic_segformer}"])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("schedule.epoch=3", r"^schedule\.epoch: unknown key; did you mean 'epochs'\?$"),
        (
            "network.backbone.frozen=1",
            r"^network\.backbone\.frozen: unknown key; (did you mean|known here: name, pretrained)",
        ),
        ("network.backbone.zzz=1", r"^network\.backbone\.zzz: unknown key; known here: name, "),
        ("supervision.pseudo_masks.transport.iteration=1", r"transport\.iteration: .*'iterations'"),
        ("sede=1", r"^sede: unknown key; did you mean 'seed'\?$"),
        ("schedule.epochs=3.5", r"^schedule\.epochs: expected an integer, got 3\.5$"),
        ("schedule.epochs=true", r"^schedule\.epochs: expected an integer, got True$"),
        ("schedule.epochs=1e3", r"^schedule\.epochs: expected an integer, got '1e3'$"),
        ("schedule.learning_rate=fast", r"^schedule\.learning_rate: expected a number, got 'fast'"),
        ("data.skip_broken=1", r"^data\.skip_broken: expected true or false, got 1$"),
        ("data.root=7", r"^data\.root: expected text, got 7$"),
        ("augment.short_sides=600", r"^augment\.short_sides: expected a list, got 600$"),
        ("augment.short_sides=[600, x]", r"^augment\.short_sides\[1\]: expected an integer"),
        ("augment.crop=[1, 2, 3]", r"^augment\.crop: expected a list of 2, got 3 entries$"),
        (
            "supervision.pseudo_masks.assigner=learned",
            r"run\.yaml: network\.click_layers: expected at least 1 for what supervision\.ps.* 0$",
        ),
        ("supervision.pseudo_masks.learned_weight=-1", r"learned_weight: expected a number in \[0"),
        ("network.click_layers=-1", r"^network\.click_layers: expected an integer in \[0, 100\]"),
        ("supervision.kind=boxes", r"^supervision\.kind: expected one of points, masks, got 'box"),
        (
            "network.architecture=yolo",
            r"^network\.architecture: expected one of pan.*'yolo'$",
        ),
        (
            "network.architecture=[x]",
            r"^network\.architecture: .* mask2former, maskdino, got \['x'\]$",
        ),
        ("loss.segment_dice=3", r"^loss\.segment_dice: unknown key of architecture panoptic_segf"),
        ("loss.no_object=0.2", r"^loss\.no_object: unknown key of architecture panoptic_segformer"),
        ("loss.warmup_exempt=[segment_class]", r"^loss\.warmup_exempt\[0\]: .* 'segment_class'"),
        ("network.decoder_layers=3", r"^network\.decoder_layers: unknown key of architecture pano"),
        ("network.heads=7", r"run\.yaml: network\.width: expected a multiple of heads=7, got 256$"),
        ("data.train=5", r"^data\.train: expected keys and values, got 5$"),
        ("data.val.images=x", r"run\.yaml: data\.val\.annotations: expected annotations or points"),
        ("seed.x=5", r"^seed\.x: unknown|^seed: expected an integer, got \{'x': 5\}$"),
        ("data.root.x=5", r"^data\.root: expected text, got \{'x': 5\}$"),
        ("network.num_things.x=5", r"^network\.num_things\.x: network\.num_things is a value"),
        ("seed", r"^expected key=value, got 'seed'$"),
        ("a..b=1", r"^expected key=value"),
        ("seed=[1", r"^'seed=\[1': expected YAML"),
    ],
)
def test_wrong_values_are_named_with_their_path(path, override, message):
    with pytest.raises(DataError, match=message):
        load_config(path, [override])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("network: {num_things: 3}", r"run\.yaml: data: expected a value, got none$"),
        (MINIMAL + "seed: 1\nseed: 2\n", r"run\.yaml: the key 'seed' stands there twice$"),
        ("data: [", r"run\.yaml: expected YAML"),
        ("just text", r"run\.yaml: expected keys and values"),
        ('{"images": [], "categories": []}', r"run\.yaml: expected a recipe, .*, got 'images'$"),
        ("!!python/object/apply:os.getcwd []", r"run\.yaml: expected YAML .*could not determine"),
        ("? [a, b]\n: 1", r"unknown key|expected YAML"),
    ],
)
def test_wrong_files(path, text, message):
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        load_config(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="UTF-8"):
        load_config(path)
    with pytest.raises(DataError, match=r"none\.yaml: expected the name of a recipe"):
        load_config(path.with_name("none.yaml"))


def test_a_run_is_resumed_with_what_it_was(path):
    config = load_config(path)
    check_resumable(config, load_config(path, ["schedule.epochs=99", "data.workers=0"]))
    check_resumable(config, load_config(path, ["data.val={images: v, annotations: v.json}"]))
    with pytest.raises(DataError, match=r"^schedule\.learning_rate: .* has 0\.0001, got 0\.001$"):
        check_resumable(config, load_config(path, ["schedule.learning_rate=1e-3"]))
    other = replace(config, seed=2)
    with pytest.raises(DataError, match=r"^seed: "):
        check_resumable(config, other)


def test_published_grids_are_of_the_published_network():
    with pytest.raises(DataError, match=r"network\.published: expected false, as MaskDINO has no"):
        load_config("voc_maskdino_r50", ["published=true"])
