"""The loop: what stops it, what it skips, what it reports, and several processes."""

import json
import math
import re
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import runs
import torch
from networks import shake
from torch import nn

from point2mask.cli import main
from point2mask.data import DataError, read_panoptic, read_rgb, sample_points, write_points
from point2mask.data.augment import AugmentConfig
from point2mask.hub import save_pretrained
from point2mask.models import MergeConfig
from point2mask.pseudo_masks import PseudoMaskOptions, SupervisionConfig, TransportOptions
from point2mask.train.config import save_config
from point2mask.train.errors import TrainingError
from point2mask.train.launch import launch
from point2mask.train.optimizer import Average, make_optimizer, set_learning_rate
from point2mask.train.pictures import LEAST_SIDE
from point2mask.train.train import Run, train
from point2mask.trained import load_trained
from point2mask.visualize import LEGEND_ROW


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    runs.write_data(root)
    return root


def with_schedule(config, **changes):
    return replace(config, schedule=replace(config.schedule, **changes))


def with_data(config, **changes):
    return replace(config, data=replace(config.data, **changes))


def test_a_run_from_points_to_a_result(root, tmp_path, capsys):
    """The method's own module, with validation, pictures and files."""
    config = with_schedule(runs.config(root), epochs=1, ema_decay=0.5)
    config = with_data(config, val=runs.source("val"))
    result = train(config, tmp_path, device="cpu")
    assert result == json.loads((tmp_path / "result.json").read_text())
    assert (result["steps"], result["images"], result["empty_batches"]) == (3, 6, 0)
    assert {"loss", "thing_dice", "semantic_point"} <= result["losses"].keys()
    assert all(math.isfinite(value) for value in result["losses"].values())
    assert 0 <= result["quality"]["all"]["pq"] <= 1
    names = {path.name for path in (tmp_path / "pictures").iterdir()}
    assert names == {f"{kind}_{i}.png" for kind in ("training", "prediction") for i in (0, 1)}
    assert list((tmp_path / "tensorboard").iterdir())
    assert not load_trained(tmp_path).network.training
    lines = capsys.readouterr().err.splitlines()
    assert "6 images" in lines[0]
    assert any(line.startswith("step 3/3  epoch 1  loss ") for line in lines)
    assert any("PQ: all" in line for line in lines)


def test_steps_make_a_run_of_few_images_as_long_as_it_should_be(root, tmp_path, capsys):
    """Epochs are equal parts of it: three of 7 steps, though a pass takes 3."""
    given = with_schedule(runs.config(root), steps=7)
    given = replace(given, supervision=replace(given.supervision, transport_warmup=7))
    result = train(given, tmp_path, device="cpu", make_module=runs.Semantic)
    assert (result["steps"], result["epochs"]) == (7, 3)
    told = capsys.readouterr().err
    assert "warning: supervision.transport_warmup=7, but the run ends after 7 steps" in told
    assert re.findall(r"^step (\d)/7  epoch (\d)", told, re.M)[-1] == ("7", "3")
    saved = [path.name for path in (tmp_path / "checkpoints").iterdir()]
    assert sorted(saved) == [f"step_{step:08}" for step in (3, 5, 7)]


@pytest.mark.parametrize("architecture", ["mask2former", "maskdino"])
def test_a_run_of_a_network_of_segments_goes_on_to_the_same_bits(architecture, root, tmp_path):
    """From points, with supplies of its own masks, stopped and taken up again after one epoch."""
    config = with_data(runs.of(architecture, runs.config(root)), val=runs.source("val"))
    transport = TransportOptions(supplies="network")
    supervision = SupervisionConfig(
        pseudo_masks=PseudoMaskOptions(transport=transport), transport_warmup=1
    )
    config = replace(with_schedule(config, epochs=2), supervision=supervision)
    whole = train(config, tmp_path / "whole", device="cpu")
    assert {"segment_class", "segment_dice", "segment_entropy"} <= whole["losses"].keys()
    assert not any(name.startswith(("thing_", "stuff_")) for name in whole["losses"])
    train(with_schedule(config, epochs=1), tmp_path / "parts", device="cpu")
    train(config, tmp_path / "parts", device="cpu", resume=True)
    states = [load_trained(tmp_path / run).network.state_dict() for run in ("whole", "parts")]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_a_run_with_a_click_branch_goes_on_to_the_same_bits(root, tmp_path):
    """From points, with masks of the branch, stopped and taken up again after one epoch."""
    config = runs.config(root)
    learned = PseudoMaskOptions(learned_weight=0.1, transport=TransportOptions(supplies="learned"))
    config = replace(
        with_schedule(config, epochs=2),
        network=replace(config.network, click_layers=2),
        supervision=SupervisionConfig(pseudo_masks=learned, transport_warmup=1),
    )
    whole = train(config, tmp_path / "whole", device="cpu")
    assert set(config.loss.of_clicks) <= whole["losses"].keys()
    train(with_schedule(config, epochs=1), tmp_path / "parts", device="cpu")
    train(config, tmp_path / "parts", device="cpu", resume=True)
    states = [load_trained(tmp_path / run).network.state_dict() for run in ("whole", "parts")]
    assert any(name.startswith("click_decoder.") for name in states[0])
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_a_run_with_areas_goes_on_to_the_same_bits(root, tmp_path):
    """Of some clicks, on crops, stopped and taken up again; without areas there are others."""
    given = runs.with_areas(root, with_schedule(runs.config(root), epochs=2))
    options = PseudoMaskOptions(transport=TransportOptions(iterations=1000))
    given = replace(
        given,
        augment=replace(given.augment, crop=(28, 36)),
        supervision=SupervisionConfig(pseudo_masks=options, transport_warmup=0),
    )
    train(given, tmp_path / "whole", device="cpu")
    train(with_schedule(given, epochs=1), tmp_path / "parts", device="cpu")
    train(given, tmp_path / "parts", device="cpu", resume=True)
    without = replace(given.data, train=replace(given.data.train, points=None))
    train(replace(given, data=without), tmp_path / "without", device="cpu")
    states = [
        load_trained(tmp_path / run).network.state_dict() for run in ("whole", "parts", "without")
    ]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert not all(torch.equal(states[0][name], states[2][name]) for name in states[0])


def test_full_masks(root, tmp_path):
    config = with_schedule(runs.config(root), epochs=1)
    config = replace(config, supervision=SupervisionConfig(kind="masks"))
    assert train(config, tmp_path, device="cpu")["steps"] == 3


def test_a_run_without_validation_leaves_pictures_too(root, tmp_path):
    """Clicks, the masks learned from, and predictions of the last batch, large, with a legend."""
    config = with_schedule(runs.config(root), epochs=1)
    config = replace(config, report=replace(config.report, pictures=1))
    assert train(config, tmp_path, device="cpu")["quality"] is None
    (path,) = (tmp_path / "pictures").iterdir()
    assert path.name == "training_0.png"
    picture = read_rgb(path)
    assert picture.shape[0] >= LEAST_SIDE + LEGEND_ROW
    assert picture.shape[1] >= 3 * LEAST_SIDE
    assert len(np.unique(picture[-LEGEND_ROW:].reshape(-1, 3), axis=0)) > 2  # swatches and names


def test_training_learns(root, tmp_path):
    """The loss of the first and the last steps of a short run."""
    seen = []

    class Watched(runs.Semantic):
        def forward(self, batch, step):
            losses, masks = super().forward(batch, step)
            seen.append(float(losses["semantic"].detach()))
            return losses, masks

    config = with_schedule(
        runs.config(root), epochs=8, milestones=(), learning_rate=2e-3, clip_norm=10.0
    )
    train(config, tmp_path, device="cpu", make_module=Watched)
    assert len(seen) == 24
    assert sum(seen[-6:]) < 0.95 * sum(seen[:6])  # a loss that stands still varies by a percent


@pytest.mark.parametrize(("value", "text"), [(math.nan, "nan"), (math.inf, "inf")])
def test_a_loss_that_is_not_finite_stops_the_run(root, tmp_path, value, text):
    class Exploding(runs.Semantic):
        def forward(self, batch, step):
            losses, masks = super().forward(batch, step)
            return losses | {"other": losses["semantic"] * (value if step == 1 else 1)}, masks

    message = rf"^step 2: loss 'other' is {text}; images: 00000\d\.png, 00000\d\.png$"
    with pytest.raises(TrainingError, match=message):
        train(runs.config(root), tmp_path, device="cpu", make_module=Exploding)


def test_a_network_that_has_run_away_stops_the_run(root, tmp_path, capsys):
    """Weights of anyone that are finite, and whose maps are not."""
    predictor = runs.predictor(tmp_path / "data", AugmentConfig(), MergeConfig())
    with torch.no_grad():
        for parameter in predictor.network.parameters():
            parameter.mul_(0).add_(3e38)
    save_pretrained(predictor, tmp_path / "model")
    save_config(tmp_path / "run.yaml", runs.config(root))
    words = ["train", tmp_path / "run.yaml", f"network.weights={tmp_path / 'model'}"]
    assert main([*map(str, words), "--out", str(tmp_path / "run"), "--device", "cpu"]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("point2mask: error: step 1: ")
    assert re.search("NaN|finite", last)
    assert "; images: 0000" in last


def test_the_image_whose_loss_is_not_finite_is_named(root, tmp_path):
    class Telling(runs.Semantic):
        def forward(self, batch, step):
            losses, masks = super().forward(batch, step)
            self.image_losses = {"semantic": torch.tensor([1.0, math.nan])}
            return {"semantic": losses["semantic"] * math.nan}, masks

    with pytest.raises(TrainingError, match=r"^step 1: loss 'semantic' is nan; images: \w+\.png$"):
        train(runs.config(root), tmp_path, device="cpu", make_module=Telling)


def test_a_gradient_that_is_not_finite_stops_the_run(root, tmp_path):
    class Steep(runs.Semantic):
        def forward(self, batch, step):
            losses, masks = super().forward(batch, step)
            # The root of 0: value 0, slope infinite.
            zero = self.network.semantic_bias[0] - self.network.semantic_bias[0].detach()
            return losses | {"steep": zero.abs().sqrt()}, masks

    with pytest.raises(TrainingError, match=r"^step 1: the norm of the gradient is (nan|inf); im"):
        train(runs.config(root), tmp_path, device="cpu", make_module=Steep)


def test_any_other_error_says_where_it_was(root, tmp_path):
    class Failing(runs.Semantic):
        def forward(self, batch, step):
            raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no") as error:
        train(runs.config(root), tmp_path, device="cpu", make_module=Failing)
    assert error.value.__notes__[0].startswith("at step 1, images: 00000")


def test_empty_batches_and_broken_images_are_counted(root, tmp_path):
    dataset = read_panoptic(root / "annotations/panoptic_train.json")
    labels = sample_points(dataset)
    emptied = [(r, [] if r.id in (1, 2, 3) else targets) for r, targets in labels.images]
    write_points(tmp_path / "points.json", replace(labels, images=emptied))
    missing = tmp_path / "images"
    missing.mkdir()
    for record, _ in labels.images[:-1]:
        file = root / "images/train" / record.file_name
        (missing / record.file_name).write_bytes(file.read_bytes())
    source = replace(runs.source("train"), images="images", annotations=None, points="points.json")
    config = with_data(
        runs.config(tmp_path), train=source, skip_broken=True, skip_without_things=False
    )
    config = with_schedule(config, batch_size=1)
    calls = []

    class Counting(runs.Semantic):
        def forward(self, batch, step):
            calls.append(batch.names)
            return super().forward(batch, step)

    result = train(config, tmp_path / "run", device="cpu", make_module=Counting)
    # Of 6 images 3 have no clicks and one cannot be read: 4 empty batches in each of 3 epochs.
    assert result["empty_batches"] == 12
    assert result["steps"] == 18
    assert list(result["broken_images"]) == ["000006.png"]
    assert sorted(calls) == [("000004.png",)] * 3 + [("000005.png",)] * 3
    strict = with_data(config, skip_broken=False, workers=1)
    with pytest.raises(DataError, match=r"^[^\n]*000006\.png: expected a picture[^\n]*$"):
        train(strict, tmp_path / "strict", device="cpu", make_module=Counting)


def test_an_epoch_without_anything_to_learn_from_is_no_success(root, tmp_path, capsys):
    """All pictures broken and left out, or no clicks at all."""
    source = replace(runs.source("train"), images="images")
    shutil.copytree(root / "images/train", tmp_path / "images")
    for picture in (tmp_path / "images").iterdir():
        picture.write_bytes(picture.read_bytes()[:50])
    shutil.copytree(root / "annotations", tmp_path / "annotations")
    config = with_data(runs.config(tmp_path), train=source, skip_broken=True)
    save_config(tmp_path / "run.yaml", config)
    assert (
        main(
            ["train", str(tmp_path / "run.yaml"), "--out", str(tmp_path / "run"), "--device", "cpu"]
        )
        == 2
    )
    last = capsys.readouterr().err.splitlines()[-1]
    assert "epoch 1: nothing to learn from in any of 6 images; 6 cannot be read, as " in last
    assert not (tmp_path / "run/result.json").exists()
    assert not (tmp_path / "run/checkpoints").exists()

    labels = sample_points(read_panoptic(root / source.annotations))
    empty = [(record, []) for record, _ in labels.images]
    write_points(tmp_path / "points.json", replace(labels, images=empty))
    shutil.copytree(root / "images/train", tmp_path / "whole")
    source = replace(source, images="whole", annotations=None, points="points.json")
    config = with_data(config, train=source, skip_without_things=False)
    with pytest.raises(TrainingError, match=r"in any of 6 images$"):
        train(config, tmp_path / "again", device="cpu", make_module=runs.Semantic)


def test_accumulated_gradients_are_those_of_the_whole_batch(root, tmp_path):
    """Of a loss that is a mean over images, in one step of plain descent."""

    class Mean(runs.Semantic):
        def __init__(self, config):
            super().__init__(config)
            self.double()
            shake(self)  # sampling starts at whole cells, where slopes differ left and right

        def forward(self, batch, step):
            self.network.eval()  # no dropout, which would differ; logits are 0 in the padding
            logits = self.network.decode_semantics(
                self.network.encode(batch.images.double(), batch.image_size)
            ).logits[-1]
            return {"size": logits.square().sum((1, 2, 3)).mean()}, None

    def gradient(accumulation):
        config = with_schedule(
            runs.config(root), batch_size=6, accumulation=accumulation, clip_norm=1e9
        )
        run = Run(config, tmp_path / "x", launch("cpu", None), Mean)
        data = run._load()
        kept = {}
        run.optimizer.step = lambda: kept.update(
            (name, p.grad.clone())
            for name, p in run.module.named_parameters()
            if p.grad is not None
        )
        run._step([next(data) for _ in range(accumulation)])
        return kept

    whole, parts = gradient(1), gradient(3)
    assert whole.keys() == parts.keys()
    for name, grad in whole.items():
        # Rounding of float64 in sums of another order, through some 60 layers.
        scale = grad.abs().max().clamp(min=1e-6)
        torch.testing.assert_close(parts[name] / scale, grad / scale, atol=1e-8, rtol=0)


def test_parameter_groups_and_rates(root):
    config = runs.config(root)
    module = runs.Semantic(config)
    optimizer = make_optimizer(module, config.schedule)
    names = {parameter: name for name, parameter in module.named_parameters()}
    rates = {}
    for epoch, rate in ((0, 1e-4), (1, 1e-5), (2, 1e-5)):
        assert set_learning_rate(optimizer, config.schedule, epoch) == pytest.approx(rate)
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                rates[names[parameter]] = group["lr"] / rate
    slow = {name for name, rate in rates.items() if rate == pytest.approx(0.1)}
    assert rates.keys() == {n for n, p in module.named_parameters() if p.requires_grad}
    assert any("sampling_offsets" in name for name in slow)
    assert any("reference_points" in name for name in slow)
    for name in rates:
        expected = (
            name.startswith("network.backbone.")
            or "sampling_offsets" in name
            or "reference_points" in name
        )
        assert (name in slow) == expected
    assert all(group["weight_decay"] == 1e-4 for group in optimizer.param_groups)


def test_averages():
    module = nn.Linear(2, 1)
    first = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    average = Average(module, 0.75)
    with torch.no_grad():
        module.weight += 4
    average.update(module)
    torch.testing.assert_close(average.state["weight"], first["weight"] + 1)
    own = module.weight.clone()
    with average.swapped_in(module):
        assert torch.equal(module.weight, average.state["weight"])
    assert torch.equal(module.weight, own)


def test_bfloat16_runs(root, tmp_path):
    config = with_schedule(runs.config(root), epochs=1, precision="bfloat16")
    result = train(config, tmp_path, device="cpu")
    assert math.isfinite(result["losses"]["loss"])


def test_wrong_set_ups(root, tmp_path, monkeypatch):
    config = runs.config(root)
    with pytest.raises(DataError, match="expected 2 processes, got 1; start them with: torchrun"):
        train(config, tmp_path, device="cpu", processes=2)
    wrong = replace(config, network=replace(config.network, num_stuff=3))
    with pytest.raises(DataError, match="network of 6 thing and 4 stuff classes, got num_things=6"):
        train(wrong, tmp_path, device="cpu", make_module=runs.Semantic)
    four = SimpleNamespace(
        num_processes=4,
        process_index=0,
        is_main_process=True,
        device=torch.device("cpu"),
        prepare=lambda module: module,
    )
    monkeypatch.setattr("point2mask.train.train.launch", lambda device, processes: four)
    with pytest.raises(DataError, match="schedule: batch_size must be a multiple of processes x"):
        train(config, tmp_path, device="cpu", make_module=runs.Semantic)
