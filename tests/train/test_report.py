"""What a run tells, where it cannot be written."""

import errno

import pytest

from point2mask.train.report import RunReport


def test_a_full_disk_names_the_folder_of_tensorboard(tmp_path, monkeypatch):
    pytest.importorskip("tensorboard", reason="needs point2mask[train]")
    report = RunReport(tmp_path, main=True, start=0, total=1)

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(report._board, "add_scalar", full)
    with pytest.raises(OSError, match="No space left") as error:
        report.scalars(1, 1, {"loss": 0.5, "gradient_norm": 1.0, "learning_rate": 1e-3})
    assert error.value.filename == str(tmp_path / "tensorboard")
    report.close()
