"""The device of a test: ``cuda``, and ``cpu`` so that the bodies also run where there is no GPU."""

import pytest
import torch

from point2mask import engine


def skip_without_gpu() -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    if not engine.cuda_architectures:
        pytest.skip("point2mask was built without CUDA kernels")


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.cuda)])
def device(request: pytest.FixtureRequest) -> str:
    if request.param == "cuda":
        skip_without_gpu()
    return str(request.param)


@pytest.fixture
def gpu() -> str:
    """For what only a GPU can show."""
    skip_without_gpu()
    return "cuda"
