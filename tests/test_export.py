"""An exported network: equal to the network it was made of, for one size, and by the command."""

import json

import pytest
import runs
import torch

import point2mask.ops  # noqa: F401  (registers the operator that a program calls)
from point2mask.cli import main
from point2mask.data.augment import AugmentConfig
from point2mask.hub import save_pretrained
from point2mask.models import MergeConfig, PanopticNetwork
from point2mask.models.export import export_network

SIZE = (45, 70)  # a multiple of no stride
MEAN, STD = (torch.tensor(v)[:, None, None] for v in ((0.4, 0.5, 0.6), (0.2, 0.3, 0.25)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    predictor = runs.predictor(folder, AugmentConfig(), MergeConfig())
    predictor.network.backbone.mean.copy_(MEAN)
    predictor.network.backbone.std.copy_(STD)
    save_pretrained(predictor, folder / "model")
    return predictor, folder / "model"


def eager(network, pictures):
    """The outputs of a program, by the network's own way through a batch."""
    with torch.no_grad():
        output = network((pictures - MEAN) / STD, torch.tensor([pictures.shape[-2:]]))
        queries = output.locations.queries
        masks = network.decode_things(output.encoded, queries, [torch.arange(queries.shape[1])])
    return {
        "thing_logits": output.locations.class_logits[-1],
        "boxes": output.locations.boxes[-1],
        "thing_masks": masks.masks[-1],
        "stuff_logits": output.stuff.class_logits[-1],
        "stuff_masks": output.stuff.masks[-1],
    }


def test_the_command_writes_the_network(folder, tmp_path, capsys):
    predictor, model = folder
    path = tmp_path / "new" / "network.pt2"
    assert main(["export", str(model), "--out", str(path), "--size", "45x70", "--json"]) == 0
    out, err = capsys.readouterr()
    size = path.stat().st_size
    expected = {"program": str(path), "height": 45, "width": 70, "bytes": size}
    assert json.loads(out) == expected
    assert err == f"network for pictures of 45 x 70 pixels, {size / 1e6:.1f} MB: {path}\n"
    assert [file.name for file in path.parent.iterdir()] == ["network.pt2"]

    extra = {"classes.json": ""}
    program = torch.export.load(path, extra_files=extra).module()
    classes = json.loads(extra["classes.json"])
    things = predictor.network.config.num_things
    assert [c["isthing"] for c in classes] == [True] * things + [False] * (len(classes) - things)
    assert {c["id"] for c in classes} == set(predictor.categories)

    pictures = torch.rand(1, 3, *SIZE, generator=torch.Generator().manual_seed(1))
    outputs, wanted = program(pictures), eager(predictor.network, pictures)
    assert outputs.keys() == wanted.keys()
    for name, value in wanted.items():
        torch.testing.assert_close(
            outputs[name], value, msg=lambda text, name=name: f"{name}: {text}"
        )
    for kind in ("thing", "stuff"):
        best = [x[f"{kind}_masks"].argmax(1) for x in (outputs, wanted)]
        assert torch.equal(*best)
        assert len(best[0].unique()) > 1

    for shape in [(1, 3, 64, 70), (1, 3, 45, 64), (2, 3, 45, 70)]:
        with pytest.raises(AssertionError, match=r"Guard failed: images\.size\(\)"):
            program(torch.rand(shape))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out", "a.pt2", "--size", "480"], "expected a size such as 480x640, got '480'"),
        (["--out", "a.pt2", "--size", "0x8"], "expected a size such as 480x640, got '0x8'"),
        (["--out", "a.onnx", "--size", "8x8"], "expected a name that ends in .pt2, got 'a.onnx'"),
        (["--out", "a.pt2", "--size", "8x8"], "expected a checkpoint, or the folder of a run"),
    ],
)
def test_what_the_command_refuses(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    try:
        code = main(["export", "empty", *arguments])
    except SystemExit as stop:
        code = stop.code
    assert code == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1
    assert not (tmp_path / "a.pt2").exists()


def test_networks_that_cannot_be_exported(folder):
    network = PanopticNetwork(folder[0].network.config)
    with pytest.raises(ValueError, match="network must be in evaluation mode"):
        export_network(network.train(), SIZE)
    with pytest.raises(ValueError, match="size must be at least 1 x 1, got 0 x 8"):
        export_network(network.eval(), (0, 8))
