"""Where a process works: there, or nowhere."""

import pytest
import torch
from accelerate.state import AcceleratorState

from point2mask.data.errors import DataError
from point2mask.train.launch import launch


@pytest.fixture(autouse=True)
def no_state():
    """accelerate remembers the device of its first object."""
    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.mark.parametrize("device", ["cuda", "cuda:0"])
def test_a_device_that_is_not_there_is_refused(device, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(DataError, match=f"^expected to work on {device}, but .* took cpu$"):
        launch(device, None)


def test_the_cpu_is_there():
    assert launch("cpu", None).device == torch.device("cpu")
