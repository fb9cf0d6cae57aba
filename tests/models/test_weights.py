"""Files of weights from anyone: one line for what they are not, before room is made for them."""

import io
import pickle
import resource
import zipfile

import pytest
import timm
import torch
from commands import fails
from runs import config, write_data
from safetensors.torch import save
from torch import nn

from point2mask.models.weights import plain_tensors, read_weights
from point2mask.train.config import save_config


def saved(content, **options):
    file = io.BytesIO()
    torch.save(content, file, **options)
    return file.getvalue()


GOOD = saved({"state_dict": {"a": torch.arange(300.0)}})


def deflated(content, size):
    """A checkpoint of torch whose entries are compressed, with a storage of so many zeros."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(file, "w", 8) as new:
        for entry in old.infolist():
            data = entry.filename.endswith("data/0")
            new.writestr(entry.filename, bytes(size) if data else old.read(entry))
    return file.getvalue()


BROKEN = {
    "empty": b"",
    "text": b"hello",
    "zeros": bytes(100_000),
    "cut": GOOD[: len(GOOD) // 2],
    "flipped": GOOD[:200] + bytes([GOOD[200] ^ 255]) + GOOD[201:],
    "a pickle": pickle.dumps({"a": [1, 2]}),
    "deep": b"\x80\x02" + b"(" * 10_000 + b"t" * 10_000 + b".",
    "an archive": b"PK\5\6" + bytes(18),
    "a page": b"<html>sign in</html>",
    "a module": saved(nn.Linear(1, 1)),
    "compressed": deflated(GOOD, 2**28),
    "a list": saved([1]),
    "a tensor": saved(torch.ones(3)),
    "no tensors": saved({}),
    "numbers": saved({"a": 1}),
    "numbers for names": saved({1: torch.ones(1)}),
    "no numbers": saved({"a": torch.full((3,), torch.nan)}),
    "a view without end": saved({"a": torch.ones(1).expand(10**6, 10**6)}),
    "sparse": saved({"a": torch.eye(3).to_sparse()}),
    "floats of a byte": saved({"a": torch.ones(3).to(torch.float8_e4m3fn)}),
    "complex": saved({"a": torch.ones(3, dtype=torch.complex64)}),
    "nothing but shapes": saved({"a": torch.ones(3, device="meta")}),
    "of the old kind, cut": saved({"a": torch.ones(9)}, _use_new_zipfile_serialization=False)[:-9],
}


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_files_that_are_no_weights(name, suffix, tmp_path):
    path = tmp_path / f"weights{suffix}"
    path.write_bytes(BROKEN[name])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ValueError, match=r"^\S+weights\.\w+: ('a': )?expected ") as error:
        read_weights(path)
    assert str(error.value).startswith(str(path))
    assert str(error.value).isprintable()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # KiB


def test_weights_of_both_kinds(tmp_path):
    tensors = {"a": torch.arange(3.0), "count": torch.tensor(7)}
    for name, content in (
        ("a.safetensors", save(tensors)),
        ("b.pth", saved(tensors)),
        ("c.pth", saved({"state_dict": tensors, "epoch": 3})),
        ("d.pth", saved(tensors, _use_new_zipfile_serialization=False)),
    ):
        (tmp_path / name).write_bytes(content)
        found = read_weights(tmp_path / name)
        assert found.keys() == tensors.keys()
        assert all(torch.equal(found[key], value) for key, value in tensors.items())
        assert plain_tensors(found, name) == found


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"hello", "expected tensors as .safetensors, or a checkpoint of torch"),
        (
            saved(timm.create_model("resnet18").state_dict()),
            "expected the weights of tf_efficientnet_lite0, got others",
        ),
    ],
    ids=["text", "of another network"],
)
def test_the_command_names_key_and_file(content, message, tmp_path, capsys):
    write_data(tmp_path, train=2, val=1)
    (tmp_path / "weights.pth").write_bytes(content)
    save_config(tmp_path / "run.yaml", config(tmp_path))
    key = f"network.backbone.pretrained={tmp_path / 'weights.pth'}"
    words = ["train", tmp_path / "run.yaml", key, "--out", tmp_path / "run", "--device", "cpu"]
    said = fails(capsys, *words)
    assert f"network.backbone.pretrained: {tmp_path / 'weights.pth'}" in said
    assert message in said
    assert not (tmp_path / "run").exists()
