"""What the torch bindings make of bad arguments, whatever the operator."""

import inspect

import numpy as np
import pytest
import torch
from torch import Tensor

from point2mask import ops


def test_each_function_has_code_of_its_own():
    """torch.compile compiles one piece of code eight times at most."""
    functions = [getattr(ops, name) for name in ops.__all__]
    codes = {id(f.__code__): f.__name__ for f in functions if inspect.isfunction(f)}
    assert len(codes) > 8
    assert len(codes) == sum(map(inspect.isfunction, functions))


def test_errors_in_threads_come_out_clean(threads, capfd):
    cost = torch.ones(16, 8, 40, 40)
    cost[3, 0] = cost[12, 0] = -1
    expected = "geodesic_distance: edge_cost must not be negative or NaN, got -1.000000 in image 3"
    for count in (1, 2):
        with threads(count), pytest.raises(ValueError, match="in image 3") as caught:
            ops.geodesic_distance(cost, torch.zeros(16, 1, 1, dtype=torch.int32))
        assert str(caught.value) == expected
    assert capfd.readouterr().err == ""


def test_errors_of_the_torch_bindings_name_no_source_file():
    with pytest.raises(ValueError, match=r"^mask_statistics: labels must be int32, got bfloat16$"):
        ops.mask_statistics(torch.zeros(1, 2, 2, dtype=torch.bfloat16), 1)
    with pytest.raises(ValueError, match=r"^mask_statistics: targets must not be negative, got -1"):
        ops.mask_statistics(torch.zeros(1, 2, 2, dtype=torch.int32), -1)


@pytest.mark.parametrize("name", [n for n in ops.__all__ if inspect.isfunction(getattr(ops, n))])
def test_arrays_in_place_of_tensors_are_named(name):
    """Not by torch, whose message has all values of the array."""
    function = getattr(ops, name)
    parameters = inspect.signature(function).parameters
    tensors = [key for key, parameter in parameters.items() if parameter.annotation is Tensor]
    assert tensors
    for tensor in tensors:
        arguments = dict.fromkeys(parameters, 1.0) | {key: torch.ones(1) for key in tensors}
        with pytest.raises(TypeError) as error:
            function(**arguments | {tensor: np.ones((2, 1000))})
        said = f"{name}: {tensor} must be a torch.Tensor, got numpy.ndarray; torch.from_numpy makes"
        assert str(error.value) == f"{said} one"
        with pytest.raises(
            TypeError, match=f"{name}: {tensor} must be a torch.Tensor, got builtins"
        ):
            function(**arguments | {tensor: None})
