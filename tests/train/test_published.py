"""Golden data of the published code: outputs, panoptic maps, pseudo-masks and losses."""

import pytest
import torch
from published_networks import Golden, golden_folder, golden_network

from point2mask.losses import SegformerLossConfig
from point2mask.models import MergeConfig, predict
from point2mask.pseudo_masks import SupervisionConfig
from point2mask.train.module import TrainingModule

pytestmark = pytest.mark.data
# Losses that are mends of the published ones, and differ where there is something to mend.
MENDED = {"contrast", "boundary"}


@pytest.fixture
def golden(data_root):
    return Golden.read(golden_folder(data_root, "golden"))


@pytest.fixture
def network(data_root, monkeypatch):
    return golden_network(data_root, monkeypatch)


def assert_near(found, expected, tolerance=1e-5):
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)


@torch.no_grad()
def check_outputs(network, golden):
    expected = {k.removeprefix("out."): v for k, v in golden.tensors.items()}
    batch = golden.batch
    output = network(network.normalise(batch.images), batch.image_size)
    encoded, locations = output.encoded, output.locations
    first = [torch.arange(expected["things"].shape[2])] * len(batch.images)
    things = network.decode_things(encoded, locations.queries, first)
    assert_near(encoded.mask_memory, expected["memory"])
    assert_near(encoded.position[:1, : encoded.geometry.mask_cells], expected["memory_pos"])
    assert_near(locations.class_logits, expected["cls"])
    assert_near(locations.boxes, expected["box"])
    assert_near(output.boundary_logits, expected["boundary"])
    assert_near(output.features[:1], expected["feature"])
    assert_near(things.masks, expected["things"])
    assert_near(output.stuff.masks, expected["stuff"])
    assert_near(output.stuff.class_logits, expected["stuff_cls"])
    assert_near(output.semantics.logits, expected["sem"])
    assert_near(output.semantics.presence_logits, expected["sem_cls"])


def check_maps(network, golden):
    """Every pixel of the panoptic and semantic maps at another size."""
    batch = golden.batch
    images = network.normalise(batch.images)
    sizes = [tuple(golden.tensors[f"panoptic.{b}"].shape) for b in range(len(images))]
    found = predict(
        network, images, batch.image_size, sizes, MergeConfig(max_things=20), semantic=True
    )
    for b, prediction in enumerate(found):
        labels = torch.full((len(prediction.segments) + 1,), 5)
        for segment in prediction.segments:
            labels[segment.id] = segment.label
        classes = labels[prediction.segment_map.long()]
        expected = golden.tensors[f"panoptic.{b}"]
        assert torch.equal(classes, expected % 1000)
        pairs = torch.stack((prediction.segment_map.long(), expected // 1000)).flatten(1)
        assert pairs.unique(dim=1).shape[1] == len(expected.unique())  # one id, one segment
        assert torch.equal(prediction.semantic, golden.tensors[f"semantic.{b}"])


@torch.no_grad()
def check_step(network, golden, step, losses, but=()):
    """Pseudo-masks in every pixel, and losses."""
    supervision = SupervisionConfig(transport_warmup=12000, published=losses.published)
    module = TrainingModule(network, losses, supervision).eval()
    found, masks = module(golden.batch, step)
    category = golden.batch.points.category
    for b in range(len(category)):
        expected = golden.tensors[f"step{step}.instance.{b}"]
        assert torch.equal(masks.instance[b].long(), expected.long())
        semantics = golden.tensors[f"step{step}.semantics.{b}"].long()
        assert torch.equal(masks.semantic[b].long(), semantics.where(semantics != 255, -1))
        things = (category[b] >= 0) & (category[b] < 3)
        assert torch.equal(masks.box[b][things], golden.tensors[f"step{step}.boxes.{b}"].float())
    wanted = golden.losses[str(step)]
    assert found.keys() == wanted.keys()
    for name in found.keys() - but:
        assert float(found[name]) == pytest.approx(wanted[name], rel=1e-5), name


def test_outputs(network, golden):
    check_outputs(network, golden)


def test_panoptic_maps(network, golden):
    check_maps(network, golden)


@pytest.mark.parametrize("step", [5000, 13000])
def test_a_step_of_both_phases(network, golden, step):
    check_step(network, golden, step, SegformerLossConfig(), but=MENDED)


@pytest.mark.parametrize("step", [5000, 13000])
@pytest.mark.parametrize("folder", ["golden", "golden_150x200"])
def test_published_mode(folder, step, data_root, monkeypatch):
    """Also at a size that is no multiple of 64, where the grids differ."""
    golden = Golden.read(golden_folder(data_root, folder))
    network = golden_network(data_root, monkeypatch, published=True)
    if step == 5000:
        check_outputs(network, golden)
        check_maps(network, golden)
    check_step(network, golden, step, SegformerLossConfig(published=True))
