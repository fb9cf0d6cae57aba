"""``--device``: refused before any work where torch cannot use it."""

import pytest
from commands import fails


@pytest.mark.parametrize("command", [("train",), ("sweep", "--table", "beta")])
def test_a_device_is_refused_before_any_work(capsys, tmp_path, command):
    given = [*command, "shapes_tiny", "--out", tmp_path / "out", "--device"]
    assert "--device: expected cpu, cuda or cuda:N, got 'tpu'" in fails(capsys, *given, "tpu")
    assert "--device cuda:99: this machine has" in fails(capsys, *given, "cuda:99")
    assert not (tmp_path / "out").exists()
