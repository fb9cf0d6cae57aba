"""``--device``: refused before any work where torch cannot use it."""

import pytest
from commands import fails

from point2mask.cli import build_parser
from point2mask.cli.command import UsageError
from point2mask.cli.device import device_of


@pytest.mark.parametrize("command", [("train",), ("sweep", "--table", "beta")])
def test_a_device_is_refused_before_any_work(capsys, tmp_path, command):
    given = [*command, "shapes_tiny", "--out", tmp_path / "out", "--device"]
    assert "--device: expected cpu, cuda or cuda:N, got 'tpu'" in fails(capsys, *given, "tpu")
    assert "--device: expected cpu, cuda or cuda:N, got 'cpu:1'" in fails(capsys, *given, "cpu:1")
    assert "--device cuda:99: this machine has" in fails(capsys, *given, "cuda:99")
    assert not (tmp_path / "out").exists()


def test_a_task_on_ray_has_one_gpu(capsys):
    words = ["label", "--images", "a", "--points", "b", "--out", "c", "--checkpoint", "d"]
    args = build_parser().parse_args([*words, "--ray", "--device", "cuda:1"])
    with pytest.raises(UsageError, match="a task sees one GPU alone, expected cuda"):
        device_of(args)
