"""Several processes: one result, and the losses that a single process would have."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import runs
import torch
from networks import shake
from published_networks import Golden, golden_folder, golden_network
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from point2mask import checkpoint
from point2mask.data import DataError, read_panoptic, sample_points, write_points
from point2mask.losses import SegformerLossConfig, published_losses
from point2mask.models import make_network
from point2mask.pseudo_masks import PointBatch, SupervisionConfig
from point2mask.train.build import build_module
from point2mask.train.errors import Stopped
from point2mask.train.launch import launch
from point2mask.train.module import TrainingModule
from point2mask.train.train import train

# Architectures, and the beginnings of the losses' names that they lack.
ARCHITECTURES = ("panoptic_segformer", "mask2former", "maskdino")
TESTS = Path(__file__).resolve().parents[1]
# Runs a function of this file in one of two processes.
SCRIPT = """
import sys, torch
sys.path[:0] = sys.argv[1:3]
import test_processes
torch.set_num_threads(1)
getattr(test_processes, sys.argv[3])(*sys.argv[4:])
from point2mask.train.launch import leave_group
leave_group()
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    runs.write_data(root)
    return root


def in_two_processes(function, *arguments):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc_per_node", "2", "--no-python", sys.executable, "-c", SCRIPT]
    command += [str(TESTS), str(TESTS / "train"), function.__name__, *map(str, arguments)]
    process = subprocess.run(
        command,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert process.returncode == 0, process.stderr


def short(root):
    """Two steps of four images in two parts a process, with averages and validation."""
    config = runs.config(Path(root))
    return replace(
        config,
        schedule=replace(config.schedule, epochs=1, batch_size=4, accumulation=2, ema_decay=0.5),
        data=replace(config.data, val=runs.source("val")),
    )


def train_and_compare(root, out):
    """Weights are equal in both processes, random numbers are not."""
    kept = []

    def make(config):
        kept.append(build_module(config))
        return kept[-1]

    result = train(short(root), out, device="cpu", processes=2, make_module=make)
    assert result["processes"] == 2, result
    own = torch.cat([p.detach().flatten() for p in kept[0].parameters()])
    both = [torch.empty_like(own) for _ in range(2)]
    torch.distributed.all_gather(both, own)
    assert torch.equal(*both)
    random = [torch.empty(4) for _ in range(2)]
    torch.distributed.all_gather(random, torch.rand(4))
    assert not torch.equal(*random)


@pytest.mark.slow
def test_two_processes(root, tmp_path):
    """Equal weights, different dropout, one result; and no resuming with another number."""
    in_two_processes(train_and_compare, root, tmp_path)
    result = json.loads((tmp_path / "result.json").read_text())
    assert (result["processes"], result["steps"]) == (2, 2)
    folder = tmp_path / "checkpoints/step_00000002"
    assert {p.name for p in folder.glob("random_*.json")} == {"random_0.json", "random_1.json"}
    with pytest.raises(DataError, match="expected processes as before, 2, got 1"):
        train(short(root), tmp_path, device="cpu", resume=True)


def learn_from_shares(root, out):
    config = short(root)
    supervision = replace(config.supervision, own_masks_from=1)
    train(replace(config, supervision=supervision), out, device="cpu", processes=2)


@pytest.mark.slow
def test_two_processes_grow_their_shares_of_the_masks(root, tmp_path):
    in_two_processes(learn_from_shares, root, tmp_path)
    assert len(read_panoptic(tmp_path / "masks/panoptic.json").images) == 6
    result = json.loads((tmp_path / "result.json").read_text())
    assert (result["processes"], result["steps"]) == (2, 2)


def test_one_gpu_is_for_one_process(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(DataError, match="expected cuda or cpu for 2 processes, got cuda:1"):
        launch("cuda:1", None)


def stop_one(root, out):
    """SIGTERM comes to one process alone, in the second of three steps; both leave after it."""
    config = short(root)
    config = replace(config, schedule=replace(config.schedule, epochs=3, batch_size=8))

    class Stopping(TrainingModule):
        def forward(self, batch, step):
            if step == 1 and torch.distributed.get_rank() == 1:
                os.kill(os.getpid(), signal.SIGTERM)
            return super().forward(batch, step)

    def make(config):
        return Stopping(make_network(config.network), config.loss, config.supervision)

    try:
        train(config, out, device="cpu", processes=2, make_module=make)
    except Stopped as error:
        rank = torch.distributed.get_rank()
        (Path(out) / f"stopped_{rank}").write_text(str(error))


def go_on(root, out, resume):
    """The same three steps, not stopped."""
    config = short(root)
    config = replace(config, schedule=replace(config.schedule, epochs=3, batch_size=8))
    train(config, out, device="cpu", processes=2, resume=resume == "True")


@pytest.mark.slow
def test_a_signal_to_one_process_stops_both(root, tmp_path):
    """And the run goes on, to the weights of one that was not stopped."""
    in_two_processes(stop_one, root, tmp_path)
    for rank in range(2):
        assert "stopped by SIGTERM at step 2 of 3" in (tmp_path / f"stopped_{rank}").read_text()
    (folder,) = checkpoint.checkpoints(tmp_path / "checkpoints")[-1:]
    assert folder.name == "step_00000002"
    checkpoint.check_digests(folder)
    in_two_processes(go_on, root, tmp_path, True)
    in_two_processes(go_on, root, tmp_path / "whole", False)
    ends = [out / "checkpoints/step_00000003" for out in (tmp_path, tmp_path / "whole")]
    for name in (checkpoint.MODEL, checkpoint.AVERAGE):
        again, whole = (checkpoint.load_tensors(end / name) for end in ends)
        assert again.keys() == whole.keys()
        assert all(torch.equal(again[key], whole[key]) for key in whole)


class Double(TrainingModule):
    """The method in float64, at a place where slopes do not differ left and right."""

    def __init__(self, config):
        network = shake(make_network(config.network), config.seed)
        super().__init__(network, config.loss, config.supervision)
        self.double()

    def forward(self, batch, step):
        return super().forward(replace(batch, images=batch.images.double()), step)


def without_clicks(root, config):
    """Half of the images have none: of two a step, one, both or neither; and a click branch."""
    labels = sample_points(read_panoptic(root / "annotations/panoptic_train.json"), 1, 0)
    for number, (record, _) in enumerate(labels.images[::2]):
        labels.images[2 * number] = (record, [])
    write_points(root / "half.json", labels)
    train = replace(config.data.train, points="half.json")
    return replace(
        config,
        data=replace(config.data, train=train, skip_without_things=False),
        network=replace(config.network, click_layers=1),
        schedule=replace(config.schedule, batch_size=2),
    )


def curve(root, out, architecture, clicks):
    """Two epochs by transport, every loss in full and told of.

    From points, some of which have areas, four images a step; or of which some images have none.
    """
    root = Path(root)
    config = runs.of(architecture, runs.with_areas(root, runs.config(root)))
    if architecture == "panoptic_segformer":
        sigmoid = replace(config.network, dropout=0.0, mask_activation="sigmoid")
        config = replace(config, network=sigmoid)
    config = replace(
        config,
        loss=replace(config.loss, warmup_iterations=0),
        supervision=SupervisionConfig(transport_warmup=0),
        schedule=replace(config.schedule, epochs=2, batch_size=4, learning_rate=1e-3),
        report=replace(config.report, log_steps=1, pictures=0),
    )
    if clicks == "half":
        config = without_clicks(root, config)
    train(config, out, device="cpu", make_module=Double)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("architecture", "clicks"),
    [("panoptic_segformer", "all"), *((architecture, "half") for architecture in ARCHITECTURES)],
)
def test_two_processes_have_the_loss_curve_of_one(architecture, clicks, root, tmp_path, threads):
    """Of the same images a step, to the rounding of what is told.

    In float64, sums in another order differ by some 1e-15, which a few steps do not carry far. What
    is told is float32, here rounded once for one process, and for two in each and in their sum: by
    3 x 2^-24 = 1.8e-7 at most, as no loss is negative.
    """
    in_two_processes(curve, root, tmp_path / "two", architecture, clicks)
    with threads(1):
        curve(root, tmp_path / "one", architecture, clicks)
    curves = []
    for name in ("one", "two"):
        told = EventAccumulator(str(tmp_path / name / "tensorboard")).Reload()
        curves.append({tag: [x.value for x in told.Scalars(tag)] for tag in told.Tags()["scalars"]})
        curves[-1].pop("time/seconds_a_step")
    one, two = curves
    names = published_losses(architecture).names()
    if clicks == "all":
        names = [name for name in names if not name.startswith("click_")]
    assert one.keys() == two.keys() >= {f"train/{name}" for name in (*names, "gradient_norm")}
    assert len(set(one["train/loss"])) >= 4, "the network must move"
    for tag, values in one.items():
        assert values == pytest.approx(two[tag], rel=2e-7, abs=0), tag


# Clicks that are kept of the first and of the second golden image: of things, of stuff.
KEPT = {
    "many": ((3, 2), (1, 1)),
    "one thing in all": ((1, 2), (0, 1)),
    "stuff alone": ((0, 1), (0, 1)),
    "an image without stuff": ((2, 0), (2, 1)),
}


def published_losses_of(data_root, image, things, stuff):
    """Losses by name of a golden image with some of its clicks; and how many classes of stuff."""
    golden = Golden.read(golden_folder(Path(data_root), "golden"))
    with pytest.MonkeyPatch.context() as patch:
        network = golden_network(Path(data_root), patch, published=True)
    batch, one = golden.batch, slice(image, image + 1)
    category = batch.points.category[image]
    is_thing = (category >= 0) & (category < 3)
    rows = [*is_thing.nonzero()[:things, 0], *(category >= 3).nonzero()[:stuff, 0]]
    batch = replace(
        batch,
        images=batch.images[one],
        image_size=batch.image_size[one],
        points=PointBatch(batch.points.xy[one, rows], batch.points.category[one, rows]),
        names=batch.names[one],
    )
    supervision = SupervisionConfig(transport_warmup=12000, published=True)
    module = TrainingModule(network, SegformerLossConfig(published=True), supervision).eval()
    with torch.no_grad():
        losses, masks = module(batch, 13000)
    seen = len(masks.semantic[masks.semantic >= 3].unique())
    return {name: float(value) for name, value in losses.items()}, seen


def published_of_a_process(data_root, out):
    """All cases, of one image a process."""
    launch("cpu", 2)
    rank = torch.distributed.get_rank()
    found = {case: published_losses_of(data_root, rank, *KEPT[case][rank])[0] for case in KEPT}
    (Path(out) / f"{rank}.json").write_text(json.dumps(found))


@pytest.mark.slow
@pytest.mark.data
def test_published_losses_share_the_number_of_things_alone(data_root, tmp_path, threads):
    """As mmdet: things are divided by their mean over the processes, at least 1; stuff, labels and
    tags by those of a process. The factors follow from the losses of an image in a process of its
    own; there is a share of things or stuff in all but the contrast and the boundary."""
    in_two_processes(published_of_a_process, data_root, tmp_path)
    for case, kept in KEPT.items():
        mean = max(sum(things for things, _ in kept) / 2, 1)
        for rank, (things, stuff) in enumerate(kept):
            with threads(1):
                alone, seen = published_losses_of(data_root, rank, things, stuff)
            found = json.loads((tmp_path / f"{rank}.json").read_text())[case]
            own = max(things, 1)
            shared = (own + seen) / (mean + seen)
            for name, value in alone.items():
                factor = 1.0
                if name.startswith(("thing_", "stuff_")):
                    factor = shared
                elif name.startswith("semantic_"):
                    factor = shared * mean / own
                assert found[name] == pytest.approx(value * factor, rel=1e-5), (case, rank, name)
